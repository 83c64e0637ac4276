// A group's page: it begins with two snapshots, goes on with what is published, and shows our own comments at once.
import { connect } from "/rt/client.js"
import { badge } from "../wall/badge.js"
import { notices } from "../wall/notices.js"
import { Posts } from "./posts.js"

const { group, me } = document.getElementById("group").dataset
const transport = new URLSearchParams(location.search).get("transport") ?? "auto" // to try another one
const rt = connect({ transport, offline: true })
badge(rt)
notices(rt, group)

const posts = new Posts()
const group_id = Number(group)

// Photos: the first ones come as a snapshot, and again after a gap. Later ones wait behind a button until somebody wants them.
const photos = rt.subscribe(`groups/${group}/photos`, photo => posts.announce(photo, { mine: photo.author === me }))
photos.on("snapshot", newest => posts.replace(newest))
photos.on("end", () => posts.end("You are not in this group any more."))

// Who is looking.
photos.on("presence", ({ people }) => posts.people(people.map(({ info }) => info.name)))

// Comments: our own is there before the server knows of it, replaced by what it publishes, taken back if it says no.
const comments = rt.subscribe(`groups/${group}/comments`, (comment, { cause }) => posts.comment(comment, cause))
comments.on("snapshot", all => posts.replaceComments(all))
comments.on("provisional", (comment, { cause }) => posts.comment({ ...comment, pending: true }, cause))
comments.on("rollback", (comment, { cause, error }) => posts.takeBack(comment, cause, error))

posts.onSay = (photo_id, text) => {
  const call = { group_id, photo_id, text }
  // Said in a tunnel, it is kept for an hour, also if the page is closed.
  rt.call("groups.comment", call, { optimistic: [comments, { photo_id, author: me, text }], offline: 3600 }).catch(() => {})
}

// Typing: nothing is kept, and nobody is told again.
let last = 0
posts.onTyping = photo_id => {
  if (Date.now() - last < 2000) return
  last = Date.now()
  rt.call("groups.typing", { group_id, photo_id }, { timeout: 2 }).catch(() => {})
}
rt.subscribe(`groups/${group}/typing`, ({ photo_id, author }) => author === me || posts.typing(photo_id, author))

const problem = document.getElementById("problem")
document.getElementById("invite").addEventListener("submit", async event => {
  event.preventDefault()
  const { name } = event.target.elements
  try {
    problem.textContent = `${await rt.call("groups.invite", { group_id, name: name.value })} is in.`
    event.target.reset()
  } catch (error) {
    problem.textContent = error.message
  }
})

// The form works without this script, too; with it the page stays.
document.getElementById("draw").addEventListener("submit", event => {
  event.preventDefault()
  fetch(event.target.action, { method: "POST", body: new FormData(event.target), redirect: "manual" })
})
