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
feed.on("snapshot", (photos: Photo[], { gap }) => gap && photos.length);
feed.on("provisional", (photo, { cause }) => [photo.id, cause.length]);
feed.on("rollback", (photo, { cause, error }) => [photo.id, cause.length, error?.code]);
feed.on("presence", ({ people, count }) => [count + 1, people.map(({ info, tabs }) => [info.name, tabs + 1])]);
feed.on("join", ({ user }) => user?.length);
feed.present({ typing: true });
rt.subscribe("photos", undefined, { presence: { typing: false } });
rt.on("message", (data, { to }) => to === "user" && data);
rt.on("invitation", ({ channel, position }) => rt.subscribe(channel, undefined, { position }));
rt.handle("pick", ({ from }) => from[0]);
rt.handle("later", async () => {});
const held = connect({ offline: true });
held.on("kept", ({ name, result }) => [name.length, result.then(String)]);
held.call("photos.add", { title: "wow" }, { offline: 3600, optimistic: [feed, { id: 0 }] });
// @ts-expect-error
rt.call("photos.add", {}, { optimistic: feed });
// @ts-expect-error
rt.use("carrier pigeon");
// @ts-expect-error
connect({ codec: "xml" });
