// What lets one watch: the meter, the log, and the switch of transports.

import { NAMES, STATES } from "./badge.js"

const LINES = 200

const byId = id => document.getElementById(id)

export class Panel {
  onTransport = () => {}
  carrier = "" // the transport in use
  many = 0
  lost = 0

  constructor(position) {
    this.last = split(position) // the position of the last photo
    const kept = localStorage.getItem("transport")
    this.transport = Object.hasOwn(NAMES, kept) ? kept : "auto"
    for (const input of document.querySelectorAll("#transports input")) {
      input.checked = input.value === this.transport
      input.addEventListener("change", () => {
        localStorage.setItem("transport", input.value)
        this.note(`switching to ${NAMES[input.value]}`)
        this.onTransport(input.value)
      })
    }
    // On a small screen the cards are closed at first.
    const wide = matchMedia("(width >= 60rem)")
    const fit = () => {
      byId("live").open = wide.matches
      byId("share").open = wide.matches || "keepOpen" in byId("share").dataset
    }
    wide.addEventListener("change", fit)
    fit()
    for (const card of [byId("live"), byId("share")]) {
      card.querySelector("summary").addEventListener("click", event => wide.matches && event.preventDefault())
    }
  }

  status({ state, transport }) {
    for (const input of document.querySelectorAll("#transports input")) {
      input.parentElement.classList.toggle("in-use", input.value === transport)
    }
    this.carrier = NAMES[transport] ?? ""
    this.note(transport ? `now over ${this.carrier}` : STATES[state].toLowerCase())
  }

  received(photo, position) {
    // The browser's clock against the server's: right on one machine, roughly right elsewhere.
    const delay = Math.max(0, Date.now() - photo.created * 1000)
    this.many += 1
    const offset = this.countLost(position)
    byId("received").textContent = this.many
    byId("delay").textContent = inWords(delay)
    byId("missed").textContent = this.lost
    byId("short").textContent = `${this.many} received, ${inWords(delay)}`
    const line = this.line(`#${offset}`, `photo ${photo.id}, ${inWords(delay)}`, this.carrier)
    line.dataset.offset = offset
    line.dataset.photo = photo.id
  }

  // Offsets have no holes, so that looking at them shows whether anything was lost or came twice.
  countLost(position) {
    const { epoch, offset } = split(position)
    this.lost += epoch === this.last.epoch ? Math.abs(offset - this.last.offset - 1) : 1
    this.last = { epoch, offset }
    return offset
  }

  // What a gap swallowed is not missed: the list comes anew.
  gap(position) {
    this.last = split(position)
    this.note("gap: the list comes anew").classList.add("alarm")
  }

  note(text) {
    const item = this.line(text)
    item.className = "note"
    return item
  }

  // The newest on top.
  line(...parts) {
    const log = byId("log")
    const item = document.createElement("li")
    parts.forEach((part, index) => {
      const span = document.createElement("span")
      span.textContent = part
      if (index === 2) span.className = "by"
      item.append(span)
    })
    log.prepend(item)
    if (log.childElementCount > LINES) log.lastElementChild.remove()
    return item
  }
}

function split(position) {
  const dot = position.lastIndexOf(".")
  return { epoch: position.slice(0, dot), offset: Number(position.slice(dot + 1)) }
}

function inWords(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.round(ms / 60_000)} min`
}
