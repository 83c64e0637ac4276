/** Time that moves only when a test says so. */

/** Let everything that is ready to run, run. */
export async function settle() {
    for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve));
}

export class Clock {
    #now = 1_000_000;
    #timers = new Map();
    #last = 0;

    now = () => this.#now;
    setTimeout = (callback, ms = 0) => {
        this.#timers.set(++this.#last, { callback, at: this.#now + Math.max(0, ms) });
        return this.#last;
    };
    clearTimeout = timer => void this.#timers.delete(timer);

    /** Move on, running each timer at its time. */
    async advance(ms) {
        const end = this.#now + ms;
        await settle();
        for (;;) {
            let next;
            for (const [id, timer] of this.#timers) if (timer.at <= end && !(next && next.timer.at <= timer.at)) next = { id, timer };
            if (!next) break;
            this.#timers.delete(next.id);
            this.#now = Math.max(this.#now, next.timer.at);
            next.timer.callback();
            await settle();
        }
        this.#now = end;
    }

    /** The machine sleeps: time passes, timers do not run. */
    sleep(ms) {
        this.#now += ms;
    }
}
