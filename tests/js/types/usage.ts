/** How an app uses the client, as far as the compiler is concerned. Nothing here runs. */
import { CallError, connect } from "../../../src/rtbridge/js/client.js";

interface Photo { id: number }

const rt = connect({ transport: ["websocket", "longpoll"], codec: "msgpack", url: "/rt/" });
connect();
const feed = rt.subscribe<Photo>("photos", (photo, { offset, cause }) => console.log(photo.id, offset + 1, cause?.length), { recent: 20 });
const off: () => void = feed.on("publication", photo => console.log(photo.id));
feed.on("gap", ({ position }) => position.length);
feed.on("end", ({ code, reason, channel }) => [code, reason, channel]);
off();
feed.unsubscribe();
rt.on("status", ({ state, transport }) => state === "online" && transport === "websocket");
rt.use("auto");
const saved: Promise<Photo> = rt.call<Photo>("photos.add", { title: "wow" }, { timeout: 5, signal: AbortSignal.timeout(1000) });
saved.catch(error => error instanceof CallError && error.fields[0].field);
const [id, transport, position]: (string | undefined)[] = [rt.clientId, rt.transport, feed.position];
console.log(id, transport, position);
// @ts-expect-error
feed.on("message", () => {});
// @ts-expect-error
rt.use("carrier pigeon");
// @ts-expect-error
connect({ codec: "xml" });
