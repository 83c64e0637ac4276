// socket.io with its Redis adapter; `node node_redis.js PORT` serves, `node node_redis.js publish REDIS_PORT` is the
// process beside it that emits, through an adapter of its own, when it is told to: see redis_publisher.py.
const { Server } = require("socket.io")
const { createAdapter } = require("@socket.io/redis-adapter")
const { createClient } = require("redis")
const http = require("http")
const readline = require("readline")

async function connect(port) {
  const pub = createClient({ url: `redis://127.0.0.1:${port}` }), sub = pub.duplicate()
  await Promise.all([pub.connect(), sub.connect()])
  return { pub, sub }
}

async function serve(port) {
  const { pub, sub } = await connect(process.env.REDIS_PORT)
  const server = http.createServer()
  new Server(server, {
    adapter: createAdapter(pub, sub), perMessageDeflate: false, httpCompression: false, serveClient: false
  })
  server.listen({ port, host: "127.0.0.1", backlog: 4096 })
}

async function publish(redisPort) {
  const { pub, sub } = await connect(redisPort)
  const io = new Server({ adapter: createAdapter(pub, sub) })
  console.log("ready")
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await run(io, pub, ...line.split(" ").map(Number))))
  }
  process.exit(0)
}

async function run(io, pub, rate, count) {
  const now = () => Number(process.hrtime.bigint() / 1000n)
  const began = now(), cpu = process.cpuUsage()
  for (let number = 1; number <= count;) {
    const due = rate ? Math.min(count, Math.floor((now() - began) / 1e6 * rate)) : Math.min(count, number + 63)
    for (; number <= due; number++) {
      const text = `~${String(number).padStart(8, "0")}@${String(now()).padStart(16, "0")}`
      io.emit("m", text.padEnd(128, "x"))
    }
    await new Promise(rate ? resolve => setTimeout(resolve, 1) : setImmediate)
  }
  await pub.ping()                                       // behind all that was emitted
  const wall = (now() - began) / 1e6, used = process.cpuUsage(cpu)
  return { count, wall, rate: count / wall, cpu: (used.user + used.system) / 1e6, failed: 0 }
}

if (process.argv[2] === "publish") publish(process.argv[3])
else serve(Number(process.argv[2]))
