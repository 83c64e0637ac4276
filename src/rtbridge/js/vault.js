/**
 * Where kept calls lie: a database of the browser's (IndexedDB), shared by all pages of the site; and a lock for each
 * page, which the browser takes back when the page ends in whatever way. Both are there on https and on localhost.
 *
 * @import {Vault} from "./types.js"
 */

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
const done = request => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
});

/**
 * @param {string} name
 * @returns {Promise<Vault>}
 */
export async function openVault(name) {
    const { locks } = navigator;
    if (!locks) throw new Error("calls are kept on https and localhost only");
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("calls", { keyPath: "call_id" });
    const database = await done(opening);

    /** @param {IDBTransactionMode} mode */
    const calls = mode => database.transaction("calls", mode).objectStore("calls");
    return {
        all: () => done(calls("readonly").getAll()),
        put: async kept => done(calls("readwrite").put(kept)),
        remove: async call_id => done(calls("readwrite").delete(call_id)),
        own: owner => new Promise((resolve, reject) => {
            locks.request(`${name} ${owner}`, { ifAvailable: true }, lock => {
                resolve(!!lock);
                return lock ? new Promise(() => {}) : undefined; // held for as long as the page lives
            }).catch(reject);
        }),
    };
}
