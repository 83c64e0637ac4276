/**
 * Who is on a channel, put together from what each holder tells of its tabs; see "Presence" in the protocol page.
 * To apply anything twice does no harm.
 *
 * @import {Channel, Person, Telling, Tab} from "./types.js"
 * @import {Session} from "./session.js"
 */

/**
 * @param {Telling[]} [tellings] a snapshot
 */
export function makeRoster(tellings = []) {
    /** @type {Map<string, {tabs: Map<string, Tab>, count: number}>} */
    const holders = new Map();

    /** @param {Telling} telling */
    const apply = ({ holder, ended, count, all, set = {}, gone = [] }) => {
        if (ended) holders.delete(holder);
        else if (count != null) holders.set(holder, { tabs: new Map(), count });
        else if (all) holders.set(holder, { tabs: new Map(Object.entries(all)), count: 0 });
        else {
            const { tabs } = holders.get(holder) ?? { tabs: new Map() };
            for (const name of gone) tabs.delete(name);
            for (const [name, tab] of Object.entries(set)) tabs.set(name, tab);
            holders.set(holder, { tabs, count: holders.get(holder)?.count ?? 0 });
        }
    };

    /** Everybody who is named, by key. */
    const people = () => {
        /** @type {Map<string, Map<string, Tab>>} */
        const found = new Map();
        for (const { tabs } of holders.values()) {
            for (const [name, tab] of tabs) {
                const key = tab.user == null ? "tab:" + name : "user:" + tab.user;
                const own = found.get(key) ?? new Map();
                // Two holders have it while it moves from one to the other.
                if (!(own.get(name)?.at > tab.at)) own.set(name, tab);
                found.set(key, own);
            }
        }
        /** @type {Map<string, Person>} */
        const merged = new Map();
        for (const [key, own] of found) {
            const tabs = [...own].sort(([a, one], [b, two]) => one.at - two.at || (a < b ? -1 : 1)).map(([, tab]) => tab);
            merged.set(key, {
                key,
                user: tabs[0].user,
                info: Object.assign({}, ...tabs.map(tab => tab.info)),
                data: Object.assign({}, ...tabs.map(tab => tab.data)),
                tabs: tabs.length,
            });
        }
        return merged;
    };

    tellings.forEach(apply);
    return {
        apply,
        people,
        /** How many there are; of those who are not named, how many tabs. */
        get count() { return [...holders.values()].reduce((sum, { count }) => sum + count, people().size); },
        /** Whether everybody is named. */
        get complete() { return ![...holders.values()].some(({ count }) => count); },
    };
}

/**
 * Tell a channel's feeds who is on it, from now on.
 * @param {Session} session
 * @param {Channel} channel
 */
export function attend(session, channel) {
    if (channel.callRoll || !channel.feeds.size) return channel.callRoll?.();
    let roster = makeRoster();
    /** Those who were there; nobody is told of as coming before all that are there are known. @type {Map<string, Person> | undefined} */
    let before;
    channel.callRoll = () => {
        if (!before) return;
        const { count, complete } = roster;
        session.tell(channel, "presence", { people: [...before.values()], count, complete });
    };
    const changed = () => {
        const now = roster.people();
        for (const [key, person] of before ?? []) if (!now.has(key)) session.tell(channel, "leave", {}, person);
        for (const [key, person] of before ? now : []) if (!before?.has(key)) session.tell(channel, "join", {}, person);
        before = now;
        channel.callRoll?.();
    };
    const feed = session.subscribe("~presence/" + channel.name, telling => {
        roster.apply(telling);
        changed();
    });
    feed.on("snapshot", tellings => {
        roster = makeRoster(tellings);
        changed();
    });
    feed.on("error", problem => session.tell(channel, "error", problem));
    channel.leave = () => {
        delete channel.callRoll;
        feed.unsubscribe();
    };
}
