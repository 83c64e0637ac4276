// The page, made realtime. What is not about realtime is in the other files: wall.js draws the photos, panel.js the
// badge, the meter and the log, upload.js sends the forms.
import { connect } from "/rt/client.js"
import { Panel } from "./panel.js"
import { sendForms } from "./upload.js"
import { Wall } from "./wall.js"

const wall = new Wall(document.getElementById("wall"))
const { position, photos } = wall.element.dataset
const panel = new Panel(position)

// Connect; by itself the client takes the best transport that works here.
const rt = connect({ transport: panel.transport })
rt.on("status", status => panel.status(status))
panel.onTransport = name => rt.use(name) // another transport, in mid-stream: nothing is lost, nothing comes twice

// What comes after the position that the server read before it rendered this page.
const feed = rt.subscribe("photos", photo => {
  panel.received(photo, feed.position)
  wall.add(photo)
}, { position })

// We were away for longer than the channel remembers: fetch the list anew. What arrives meanwhile is shown as well.
feed.on("gap", gap => {
  panel.gap(gap.position)
  reload()
})

async function reload() {
  try {
    const answer = await fetch(photos)
    if (!answer.ok) throw new Error(`status ${answer.status}`)
    wall.replace((await answer.json()).photos)
    panel.note("list fetched, going on")
  } catch {
    setTimeout(reload, 1000)
  }
}

sendForms({ shared: photo => wall.add(photo, { atOnce: true }) })
