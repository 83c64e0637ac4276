// The page, made realtime. What is not about realtime is in the other files: wall.js draws the photos, panel.js the
// meter and the log, upload.js sends the forms.
import { connect } from "/rt/client.js"
import { badge } from "./badge.js"
import { notices } from "./notices.js"
import { Panel } from "./panel.js"
import { sendForms } from "./upload.js"
import { Wall } from "./wall.js"

const wall = new Wall(document.getElementById("wall"))
const { position } = wall.element.dataset
const panel = new Panel(position)

// Connect; by itself the client takes the best transport that works here.
const rt = connect({ transport: panel.transport })
badge(rt)
notices(rt)
rt.on("status", status => panel.status(status))
panel.onTransport = name => rt.use(name) // another transport, in mid-stream: nothing is lost, nothing comes twice

// What comes after the position that the server read before it rendered this page.
const feed = rt.subscribe("photos", photo => {
  panel.received(photo, feed.position)
  wall.add(photo)
}, { position })

// We were away for longer than the channel remembers: the server sends the list as it is now, and goes on from there.
feed.on("snapshot", (photos, { position }) => {
  panel.gap(position)
  wall.replace(photos)
  panel.note("the list is here, going on")
})

sendForms({ shared: photo => wall.add(photo, { atOnce: true }) })
