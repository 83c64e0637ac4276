// What both pages share: the connection with its badge, the countdowns, the bots.
import { connect } from "/rt/client.js";

/** What the server wrote into the page. */
export const page = JSON.parse(document.getElementById("data").textContent);
export const money = amount => "€" + new Intl.NumberFormat("en").format(amount);

// --- the connection, and the switch that changes what carries it ---------------------------------------------------

const chosen = sessionStorage.getItem("transport") ?? "auto";
export const rt = connect({ transport: chosen });

const link = document.getElementById("link");
const names = { websocket: "WebSocket", eventstream: "event stream", longpoll: "long poll", shortpoll: "short poll" };

function badge({ state, transport }) {
    link.dataset.state = state;
    document.getElementById("link-text").textContent =
        state === "online" ? `live by ${names[transport]}`
        : state === "ended" ? "ended, please reload"
        : state === "offline" ? "connection lost, trying again"
        : "connecting";
}

rt.on("status", badge);
badge(rt);
link.hidden = false;

for (const choice of link.querySelectorAll("input")) {
    choice.checked = choice.value === chosen;
    choice.addEventListener("change", () => {
        sessionStorage.setItem("transport", choice.value);
        rt.use(choice.value);
    });
}
addEventListener("click", event => { if (!link.contains(event.target)) link.open = false; });
addEventListener("keydown", event => { if (event.key === "Escape") link.open = false; });

// --- time, by the server's clock --------------------------------------------------------------------------------------

const ahead = page.now - Date.now() / 1000;
export const secondsTo = moment => moment - Date.now() / 1000 - ahead;

function until(seconds) {
    if (seconds <= 0) return "ended";
    if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ${String(Math.floor(seconds % 3600 / 60)).padStart(2, "0")} min`;
    return `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

/** Keep every countdown going, and call `ended` once when the first of them has run out, and so on. */
export function countDown(ended) {
    let running = [...document.querySelectorAll("[data-ends]")].filter(element => secondsTo(element.dataset.ends) > 0);
    const tick = () => {
        for (const element of running) {
            const seconds = secondsTo(element.dataset.ends);
            element.textContent = until(seconds);
            element.classList.toggle("soon", seconds > 0 && seconds < 60);
        }
        const over = running.filter(element => secondsTo(element.dataset.ends) <= 0);
        running = running.filter(element => !over.includes(element));
        for (const element of over) ended(element);
    };
    tick();
    setInterval(tick, 500);
}

// --- small things -----------------------------------------------------------------------------------------------------

/** Show a new text where there is one, with a flash that says so. */
export function flash(element, text) {
    if (element.textContent === text) return;
    element.textContent = text;
    element.classList.remove("flash");
    void element.offsetWidth; // so that the animation begins anew
    element.classList.add("flash");
}

const bots = document.getElementById("bots");
bots?.addEventListener("submit", async event => {
    event.preventDefault();
    const button = bots.querySelector("button");
    const name = button.textContent;
    button.disabled = true;
    let seconds = 3;
    try {
        seconds = await rt.call("auction.bots", page.lot ? { lot_id: page.lot.id } : {});
        button.textContent = "The bots are bidding";
    } catch (error) {
        button.textContent = error.message;
    }
    setTimeout(() => {
        button.textContent = name;
        button.disabled = false;
    }, seconds * 1000);
});
