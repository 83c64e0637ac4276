// The ladder's page: wishes for visitors, and shows what they cost.
import { connect } from "/rt/client.js"
import { badge } from "../wall/badge.js"
import { notices } from "../wall/notices.js"

const byId = id => document.getElementById(id)
const rt = connect()
badge(rt)
notices(rt)

const minute = []

// `keep="latest"`: a page that was away for an hour wants to know how it is now, not how it was.
rt.subscribe("ladder/meters", meters => {
  byId("requests").textContent = meters.requests
  byId("queries").textContent = meters.queries
  byId("delay").textContent = meters.delay ? inWords(meters.delay) : "–"
  minute.push(meters)
  if (minute.length > 60) minute.shift()
  const most = Math.max(10, ...minute.map(({ requests, queries }) => Math.max(requests, queries)))
  const line = what => minute.map((each, at) => `${at ? "L" : "M"}${at} ${98 - each[what] / most * 90}`).join("")
  const [requests, queries] = byId("curve").children
  requests.setAttribute("d", line("requests"))
  queries.setAttribute("d", line("queries"))
})

const inWords = seconds => seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`

async function wish() {
  const rung = document.querySelector("#rungs :checked").value
  const many = Number(byId("visitors").value)
  byId("many").textContent = many
  try {
    await rt.call("ladder.visitors", { rung, many })
    byId("problem").textContent = ""
  } catch (error) {
    byId("problem").textContent = error.message
  }
}

byId("visitors").addEventListener("input", () => { byId("many").textContent = byId("visitors").value })
byId("visitors").addEventListener("change", wish)
byId("rungs").addEventListener("change", wish)
