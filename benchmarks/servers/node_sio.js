// socket.io: the event "pub" of one is emitted to all; WebSocket and polling, without compression.
const { Server } = require("socket.io")
const http = require("http")

const server = http.createServer()
const io = new Server(server, { perMessageDeflate: false, httpCompression: false, serveClient: false })
io.on("connection", socket => socket.on("pub", text => io.emit("m", text)))
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 })
