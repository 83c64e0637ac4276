/** Calls that outlive their page: kept, sent once by whoever comes after, expiring clearly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { settle, world } from "./support/world.mjs";

/** The browser's part, shared by all pages: what is kept, and which pages live. */
function disk() {
    const kept = new Map();
    const alive = new Set();
    const page = () => {
        const mine = [];
        return {
            openVault: async () => ({
                all: async () => [...kept.values()].map(each => structuredClone(each)),
                put: async each => void kept.set(each.call_id, structuredClone(each)),
                remove: async id => void kept.delete(id),
                own: async owner => !alive.has(owner) && !!alive.add(owner) && !!mine.push(owner),
            }),
            die: () => mine.forEach(owner => alive.delete(owner)),
        };
    };
    return { kept, page };
}

function begin() {
    const all = world();
    const { kept, page } = disk();
    const ran = [];
    all.server.channel("notes");
    all.server.handlers.set("save", ({ text }, call_id) => {
        ran.push(text);
        all.server.publish("notes", text, call_id);
        return "saved " + text;
    });
    /** A page load; `die` is its end without a word. */
    const load = async () => {
        const { openVault, die } = page();
        let dead = false;
        const gone = name => (...values) => dead ? undefined : all.environment[name](...values);
        class Socket extends all.environment.WebSocket {
            send(text) { if (!dead) super.send(text); }
        }
        const rt = all.connect({
            transport: "websocket", offline: true,
            environment: { openVault, WebSocket: Socket, setTimeout: (callback, ms) => all.environment.setTimeout(() => dead || callback(), ms), fetch: gone("fetch") },
        });
        const told = [];
        rt.on("kept", ({ name, params, cause, result }) => {
            const each = { name, params, cause };
            told.push(each);
            result.then(value => { each.value = value; }, error => { each.error = error; });
        });
        await settle();
        return {
            rt, told,
            die() {
                die();
                dead = true;
                all.server.dropConnections(1006, ["websocket"]);
            },
        };
    };
    return { ...all, kept, ran, load };
}

const silently = promise => void promise.catch(() => {});

test("answered: nothing is left", async () => {
    const { advance, kept, load } = begin();
    const { rt } = await load();
    const done = rt.call("save", { text: "one" }, { offline: 600 });
    await settle();
    assert.equal(kept.size, 1);
    await advance(1000);
    assert.equal(await done, "saved one");
    await settle();
    assert.equal(kept.size, 0);
});

test("made offline, sent by the page after, once", async () => {
    const { advance, kept, load, ran, server } = begin();
    const first = await load();
    await advance(1000);
    const { clientId } = first.rt;
    server.down = true;
    server.dropConnections();
    for (const text of ["one", "two"]) silently(first.rt.call("save", { text }, { offline: 3600 }));
    await advance(60000);
    first.die();
    const second = await load();
    await advance(1000);
    assert.deepEqual(second.told.map(({ params }) => params.text).sort(), ["one", "two"]);
    server.down = false;
    await advance(60000);
    assert.equal(second.rt.clientId, clientId);
    assert.deepEqual(ran.sort(), ["one", "two"]);
    assert.deepEqual(second.told.map(({ value }) => value).sort(), ["saved one", "saved two"]);
    await settle();
    assert.equal(kept.size, 0);
});

test("sent, and its reply was lost: the page after gets it, and it ran once", async () => {
    const { advance, load, ran, server } = begin();
    const first = await load();
    await advance(1000);
    silently(first.rt.call("save", { text: "one" }, { offline: 3600 }));
    await settle();
    await advance(15); // there, but not back
    assert.deepEqual(ran, ["one"]);
    first.die();
    await advance(1000);
    const second = await load();
    await advance(1000);
    assert.equal(second.told[0].value, "saved one");
    assert.deepEqual(ran, ["one"]);
});

test("a server that has no room for it, or no bus, is asked again", async () => {
    const { advance, load, ran, server } = begin();
    const { rt } = await load();
    await advance(1000);
    const answers = { one: [{ code: 201, retry_after: 10 }, { code: 200 }], two: [{ code: 201 }] };
    server.refuse = ({ type, params }) => type === "call" ? answers[params.text].shift() : undefined;
    const done = rt.call("save", { text: "one" }, { offline: 600 });
    const hasty = rt.call("save", { text: "two" });
    silently(hasty);
    await advance(14000);
    await assert.rejects(hasty, { code: 201 });
    assert.deepEqual(ran, []);
    await advance(3000);
    assert.equal(await done, "saved one");
    assert.deepEqual(ran, ["one"]);
});

test("while its page lives no other sends it", async () => {
    const { advance, load, ran, server } = begin();
    const first = await load();
    await advance(1000);
    server.down = true;
    server.dropConnections();
    silently(first.rt.call("save", { text: "one" }, { offline: 3600 }));
    const second = await load();
    server.down = false;
    await advance(60000);
    assert.deepEqual([second.told, ran], [[], ["one"]]);
    assert.notEqual(first.rt.clientId, second.rt.clientId);
});

test("another user does not send it", async () => {
    const { advance, kept, load, ran, server } = begin();
    const first = await load();
    await advance(1000);
    server.down = true;
    server.dropConnections();
    silently(first.rt.call("save", { text: "one" }, { offline: 3600 }));
    await settle();
    first.die();
    server.down = false;
    const resume = server.session;
    server.session = function () { return resume.call(this, undefined); }; // other credentials
    const second = await load();
    await advance(1000);
    assert.equal(second.told[0].error.code, 200);
    assert.match(second.told[0].error.message, /not sent/);
    await settle();
    assert.deepEqual([ran, kept.size], [[], 0]);
});

test("a call that was sent is sent again only while the server remembers its reply", async () => {
    const { advance, load, ran, server } = begin();
    const first = await load();
    await advance(1000);
    const lost = first.rt.call("save", { text: "one" }, { offline: 3600 });
    silently(lost);
    await settle();
    await advance(15);
    server.down = true;
    server.dropConnections();
    await advance(241000);
    await assert.rejects(lost, { code: 300 });
    server.down = false;
    await advance(60000);
    assert.deepEqual(ran, ["one"]);
});

test("the same after a reload", async () => {
    const { advance, clock, load, ran } = begin();
    const first = await load();
    await advance(1000);
    silently(first.rt.call("save", { text: "one" }, { offline: 3600 }));
    await settle();
    await advance(15);
    first.die();
    clock.sleep(241000);
    const second = await load();
    await advance(1000);
    assert.equal(second.told[0].error.code, 300);
    assert.deepEqual(ran, ["one"]);
});

test("a machine that slept does not send what is too old", async () => {
    const { advance, clock, load, ran, server, fire } = begin();
    const { rt } = await load();
    await advance(1000);
    server.down = true;
    server.dropConnections();
    const late = rt.call("save", { text: "one" }, { offline: 60 });
    silently(late);
    await advance(1000);
    clock.sleep(3600000);
    server.down = false;
    fire("online");
    await advance(5000);
    await assert.rejects(late, { code: 200 });
    assert.deepEqual(ran, []);
});

test("what was shown is shown again after the reload, and replaced", async () => {
    const { advance, load, server } = begin();
    const first = await load();
    const feed = first.rt.subscribe("notes");
    await advance(1000);
    server.down = true;
    server.dropConnections();
    silently(first.rt.call("save", { text: "one" }, { offline: 3600, optimistic: [feed, "one"] }));
    await settle();
    first.die();
    const second = await load();
    const log = [];
    const again = second.rt.subscribe("notes", (text, { replaces }) => log.push([text, replaces]));
    again.on("provisional", text => log.push([text, "provisional"]));
    await advance(1000);
    server.down = false;
    await advance(60000);
    assert.deepEqual(log, [["one", "provisional"], ["one", true]]);
});

test("where nothing can be kept, it waits in the page", async context => {
    context.mock.method(console, "warn", () => {});
    const { connect, advance, server } = begin();
    const rt = connect({ offline: true, environment: { openVault: () => Promise.reject(new Error("private mode")) } });
    server.down = true;
    const done = rt.call("save", { text: "one" }, { offline: 600 });
    await settle();
    await advance(60000);
    server.down = false;
    await advance(60000);
    assert.equal(await done, "saved one");
});

test("it has to be asked for when connecting", async () => {
    const { connect, advance } = world();
    const rt = connect();
    await assert.rejects(rt.call("save", {}, { offline: 600 }), TypeError);
    await advance(100);
    rt.close();
});
