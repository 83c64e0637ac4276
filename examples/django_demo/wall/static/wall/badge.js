// The badge in the head of every page: what carries it, and whether it does.

export const NAMES = {
  auto: "Auto",
  websocket: "WebSocket",
  eventstream: "Event stream",
  longpoll: "Long poll",
  shortpoll: "Short poll",
}
export const STATES = { connecting: "Connecting", online: "Live", offline: "Offline", ended: "Ended" }

export function badge(rt) {
  rt.on("status", ({ state, transport }) => {
    document.getElementById("badge").dataset.state = state
    document.getElementById("badge-transport").textContent = NAMES[transport] ?? STATES[state]
    document.getElementById("badge-state").textContent = transport ? "live" : ""
  })
}
