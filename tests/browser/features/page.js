// Writes down whatever happens, for the tests to look at.
import { connect } from "/rt/client.js"

const transport = new URLSearchParams(location.search).get("transport") ?? "auto"
const rt = connect({ transport, offline: true })

/** By channel: what its feed was told, in order. */
const told = {}
const feeds = {}

function follow(name, options) {
    const log = told[name] ??= []
    const feed = feeds[name] = rt.subscribe(name, (data, meta) => log.push({ event: "publication", data, ...meta }), options)
    feed.on("provisional", (data, { cause }) => log.push({ event: "provisional", data, cause }))
    feed.on("rollback", (data, { cause, error }) => log.push({ event: "rollback", data, cause, why: error?.message }))
    feed.on("gap", () => log.push({ event: "gap" }))
    feed.on("end", ({ reason }) => log.push({ event: "end", reason }))
    return feed
}

const letters = []
const kept = []
const present = { people: undefined, log: [] }

follow("comments", { presence: { transport } }).on("snapshot", data => told.comments.push({ event: "snapshot", data }))
feeds.comments.on("presence", ({ people }) => { present.people = people.map(({ info, data, tabs }) => `${info.name} ${data.transport} ${tabs}`).sort() })
feeds.comments.on("join", ({ info }) => present.log.push(`${info.name} came`))
feeds.comments.on("leave", ({ info }) => present.log.push(`${info.name} went`))
follow("price")
follow("typing")
rt.on("message", data => letters.push(data))
rt.on("invitation", ({ channel, position }) => follow(channel, { position }))
rt.on("kept", ({ params, result }) => {
    const each = { params }
    kept.push(each)
    result.then(data => { each.data = data }, ({ code }) => { each.code = code })
})
rt.handle("answer", ({ question }) => `${question}? Yes.`)

/** Comment, shown at once; resolves to what became of it. */
function comment(text, options) {
    return rt.call("comment", { text }, { optimistic: [feeds.comments, { text }], ...options }).then(() => "ok", ({ message }) => message)
}

/** The texts of the comments that have come. */
const texts = () => told.comments.filter(({ event }) => event === "publication").map(({ data }) => data.text)

/** Comments that are neither here nor taken back. */
function open() {
    const over = new Set(told.comments.filter(({ event, replaces }) => replaces || event === "rollback").map(({ cause }) => cause))
    return told.comments.filter(({ event, cause }) => event === "provisional" && !over.has(cause)).length
}

/** How many calls lie in the browser's database. */
async function lying() {
    const [{ name }] = await indexedDB.databases()
    const done = request => new Promise(resolve => { request.onsuccess = () => resolve(request.result) })
    const database = await done(indexedDB.open(name))
    const { length } = await done(database.transaction("calls").objectStore("calls").getAll())
    database.close()
    return length
}

Object.assign(window, { rt, told, feeds, letters, kept, present, follow, comment, texts, open, lying })
