/**
 * Which transport carries the session, and what happens when one fails. Retry, backoff and the choice of transport
 * are owned here, once, above all transports.
 *
 *     websocket > eventstream > longpoll > shortpoll
 *
 * There is at most one `current` link, the best that had its hello answered. Beside it there may be others that try to
 * become it; whatever arrives over any of them is merged. A rung that fails twice in a row while something else works
 * rests for a while. When nothing works at all, no rung is to blame: back off and begin at the best again.
 *
 * @import {Driver, Environment, Link, Message, Port, Problem, Rung} from "./types.js"
 * @import {Session} from "./session.js"
 */
import { nextStep } from "./codes.js";
import { backoff } from "./environment.js";
import { makeLink } from "./link.js";

/** @type {Rung[]} best first */
export const RUNGS = ["websocket", "eventstream", "longpoll", "shortpoll"];

/** A connection that is not open after this long gets a poll beside it. */
const RACE = 400;
/** A rung that failed is tried again after about this long. */
const REST = 60000;
/** A link that lived so long was no failure. */
const HEALTHY = 5000;
/** How often we look around. */
const TICK = 5000;
/** The page must have been asleep if a tick comes this late. */
const ASLEEP = 15000;
/** What worked is remembered for a day. */
const REMEMBER = 86400000;

/**
 * @param {Environment} env
 * @param {Session} session
 * @param {Rung[]} chosen
 * @param {string} memory key in storage
 * @param {(rung: Rung, port: Port) => Driver} drive
 * @param {(failing: boolean) => void} changed
 * @param {(problem: Problem) => void} finished the server does not want us back
 */
export function makeLadder(env, session, chosen, memory, drive, changed, finished) {
    /** @type {Set<Link>} */
    const links = new Set();
    /** @type {Link | undefined} */
    let current;
    /** What this server can do. */
    let offers = RUNGS;
    /** Failures in a row. @type {Partial<Record<Rung, number>>} */
    let failures = {};
    /** Until when a rung is not to be tried. @type {Partial<Record<Rung, number>>} */
    let resting = {};
    /** How often everything has failed. */
    let attempt = 0;
    /** The server wants us not to come back before. */
    let notBefore = 0;
    /** @type {unknown} */
    let retry;
    /** @type {unknown} */
    let race;
    /** @type {unknown} */
    let ticking;
    let lastTick = env.now();
    let over = false;

    const allowed = () => {
        const rungs = RUNGS.filter(rung => chosen.includes(rung) && offers.includes(rung)
            && (rung !== "websocket" || env.WebSocket) && (rung !== "eventstream" || env.streams));
        return rungs[0] ? rungs : /** @type {Rung[]} */ (["shortpoll"]);
    };

    /**
     * Better ones have less, those not allowed the most.
     * @param {Rung} rung
     */
    const depth = rung => (allowed().indexOf(rung) + 9) % 9;

    /** @param {Rung} rung */
    const rest = rung => { resting[rung] = env.now() + REST * (0.75 + env.random() / 2); };

    /** Those of them that may be tried now. */
    const fit = () => {
        const rungs = allowed().filter(rung => !(/** @type {number} */ (resting[rung]) > env.now()));
        return rungs[0] ? rungs : (resting = {}, allowed());
    };

    const best = () => fit()[0];

    /** @param {Rung | undefined} rung */
    const open = rung => {
        if (over || !rung || [...links].some(link => link.rung === rung)) return;
        const link = makeLink(rung, env, session, port => drive(rung, port), greeted, ended);
        links.add(link);
        link.start();
    };

    /** Try what is best, and after a moment something safer beside it. */
    const climb = () => {
        env.clearTimeout(retry);
        env.clearTimeout(race);
        const token = session.bring();
        if (token) return void token.then(() => over || climb(), unreachable);
        race = env.setTimeout(fallBack, RACE);
        open(best());
    };

    /** The site gives no token now. */
    const unreachable = () => {
        if (!over) retry = env.setTimeout(climb, backoff(env, attempt++));
        changed(attempt > 3);
    };

    const fallBack = () => {
        env.clearTimeout(race);
        race = undefined;
        const [first, ...lower] = fit();
        if (!current && !/poll/.test(first)) open(lower.find(rung => /poll/.test(rung)) ?? lower[0]);
    };

    /** @param {Link} link */
    const retire = link => {
        links.delete(link);
        link.stop();
    };

    /**
     * A hello was answered.
     * @param {Link} link
     * @param {Message} terms
     */
    const greeted = (link, terms) => {
        if (link.greeted) return;
        link.greeted = true;
        offers = terms.offers ?? offers;
        if (current && depth(current.rung) <= depth(link.rung)) return retire(link);
        current = link;
        // What is better may still come.
        for (const other of links) if (other !== link && depth(other.rung) >= depth(link.rung)) retire(other);
        session.flush(link);
        changed(false);
    };

    /**
     * A link is over.
     * @param {Link} link
     * @param {Problem} problem
     */
    const ended = (link, { code, retryAfter = 0, ...problem }) => {
        const { rung } = link;
        const step = nextStep(code);
        const healthy = link.greeted && env.now() - link.since > HEALTHY;
        links.delete(link);
        if (current === link) current = undefined;
        // 102 and 112: this page's client is of another version, or its origin is refused. Neither mends itself.
        if (step === "stop" || code === 102 || code === 112) return finished({ code, ...problem });
        if (step === "renew") session.forget();
        if (healthy) attempt = 0;
        // A server that has no room, or no bus, says so on every rung.
        failures[rung] = healthy || code === 200 || code === 201 ? 0 : (failures[rung] ?? 0) + 1;
        // No blame when nothing else works either: then it is the network or the server.
        if (step === "lower" || code === 204 || failures[rung] > 1 && (current || link.greeted)) {
            failures[rung] = 0;
            rest(rung);
            if (current) open(best());
        }
        session.release(link);
        notBefore = env.now() + retryAfter * 1000;
        if (retryAfter) env.clearTimeout(race);
        else if (!links.size && race) fallBack();
        if (!links.size) retry = env.setTimeout(climb, retryAfter * 1000 || backoff(env, attempt++));
        changed(attempt > 3);
    };

    /** Settled on what is best: the next page begins with it. */
    const remember = () => {
        try {
            env.storage?.setItem(memory, current?.rung + " " + (env.now() + REMEMBER));
        } catch {
            // Full, or forbidden.
        }
    };

    const recall = () => {
        try {
            const [rung, until] = ("" + env.storage?.getItem(memory)).split(" ");
            if (+until > env.now()) RUNGS.slice(0, RUNGS.indexOf(/** @type {Rung} */ (rung))).forEach(rest);
        } catch {
            // Forbidden.
        }
    };

    const tick = () => {
        const now = env.now();
        const asleep = now - lastTick > ASLEEP && !env.hidden();
        lastTick = now;
        for (const link of links) if (now > link.deadline) link.end();
        if (asleep) probe();
        if (current) {
            open(best());
            if (chosen[1] && current.rung === best()) remember();
        }
        env.clearTimeout(ticking);
        if (!over) ticking = env.setTimeout(tick, TICK);
    };

    /** Nothing that is open is of any use. */
    const restart = () => {
        if (over || env.now() < notBefore) return;
        for (const link of links) {
            retire(link);
            session.release(link);
        }
        current = undefined;
        attempt = 0;
        climb();
    };

    /** The world may have changed while we did not look. */
    const probe = () => {
        if (!current) return restart();
        current.probe();
        env.setTimeout(tick, 3100);
    };

    return {
        get current() { return current; },
        probe,
        restart,

        start() {
            recall();
            climb();
            tick();
        },

        /** Something was subscribed, unsubscribed or called. */
        sync() {
            for (const link of links) link.sync();
            if (current) session.flush(current);
        },

        /** @param {Rung[]} rungs */
        use(rungs) {
            chosen = rungs;
            failures = {};
            resting = {};
            if (!current) return restart();
            for (const link of links) if (link !== current) retire(link);
            open(best());
        },

        stop() {
            over = true;
            for (const timer of [retry, race, ticking]) env.clearTimeout(timer);
            links.forEach(retire);
            current = undefined;
        },
    };
}
