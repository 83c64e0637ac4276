// ws: every message on /pub goes to all who connected to /sub.
const { WebSocketServer } = require("ws")
const http = require("http")

const server = http.createServer()
const wss = new WebSocketServer({ server, perMessageDeflate: false })
const subscribers = new Set()
wss.on("connection", (socket, request) => {
  if (request.url.startsWith("/sub")) {
    subscribers.add(socket)
    socket.on("close", () => subscribers.delete(socket))
  } else {
    socket.on("message", data => {
      const text = data.toString()
      for (const subscriber of subscribers) subscriber.send(text)
    })
  }
  socket.on("error", () => socket.terminate())
})
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 })
