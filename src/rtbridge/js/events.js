/**
 * The smallest event emitter: listeners by name. A listener that throws is reported like any uncaught error and
 * disturbs nobody else, least of all the cursor.
 */

export function makeEvents() {
    /** @type {Map<string, Set<(...values: any[]) => void>>} */
    const listeners = new Map();
    return {
        /**
         * @param {string} type
         * @param {(...values: any[]) => void} listener
         * @returns {() => void} stops listening
         */
        on(type, listener) {
            const own = listeners.get(type) ?? new Set();
            listeners.set(type, own.add(listener));
            return () => void own.delete(listener);
        },
        /**
         * @param {string} type
         * @param {...any} values
         */
        emit(type, ...values) {
            for (const listener of [...(listeners.get(type) ?? [])]) {
                try {
                    listener(...values);
                } catch (error) {
                    queueMicrotask(() => { throw error; });
                }
            }
        },
    };
}
