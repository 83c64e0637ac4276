// A lot's page: it follows the bids, and makes them without leaving the page.
import { countDown, flash, money, page, rt, secondsTo } from "./site.js";

const $ = id => document.getElementById(id);
const form = $("bid");
const { bidder, amount } = form.elements;
let { lot, bids } = page; // bids: highest first
const hoped = new Map(); // our bids that the auctioneer has not answered yet, by the call that makes them
const bidOn = new Set(page.bid_on);
let asking = false;

// --- following --------------------------------------------------------------------------------------------------------

// From the position at which the page was made: nothing can fall between the page and its news.
const feed = rt.subscribe(`lots/${lot.id}`, arrived, { position: page.position, presence: { name: bidder.value } });
feed.on("gap", fetchAnew);

function arrived(bid, { cause }) {
    if (hoped.delete(cause)) bid.cause = cause; // its row is there already
    if (bids.some(known => known.id === bid.id)) return; // in the page already
    bids = [...bids, bid].sort((a, b) => b.amount - a.amount).slice(0, 50);
    lot.highest = bids[0];
    show();
}

/** More was missed than the channel remembers: take the lot as it is now; the feed goes on from there. */
async function fetchAnew() {
    try {
        const response = await fetch(`/lots/${lot.id}.json`);
        if (!response.ok) throw new Error(response.statusText);
        ({ lot, bids } = await response.json());
        show();
    } catch {
        setTimeout(fetchAnew, 1000);
    }
}

// Our own bid stands there at once. The auctioneer's word takes its place, or takes it back.
feed.on("provisional", (bid, { cause }) => {
    hoped.set(cause, { ...bid, cause });
    show();
});
feed.on("rollback", (bid, { cause }) => {
    hoped.delete(cause);
    show();
});

// Who is in the room.
feed.on("presence", ({ people, count }) => {
    const names = people.map(({ user, data }) => user === String(page.paddle) ? "you" : data.name || `paddle ${user}`);
    $("room").hidden = false;
    $("room-count").textContent = count === 1 ? "Only you are in the room" : `${count} in the room`;
    $("room-names").replaceChildren(...names.slice(0, 12).map(name => Object.assign(document.createElement("li"), { textContent: name })));
});
bidder.addEventListener("change", () => feed.present({ name: bidder.value }));

// --- bidding ----------------------------------------------------------------------------------------------------------

form.noValidate = true; // the auctioneer answers; below, where the bid is
bidder.value ||= localStorage.getItem("bidder") ?? "";

form.addEventListener("submit", async event => {
    event.preventDefault();
    if (asking) return;
    asking = true;
    $("answer").textContent = "";
    localStorage.setItem("bidder", bidder.value);
    showForm();
    feed.present({ name: bidder.value });
    const bid = { lot_id: lot.id, amount: Number(amount.value), bidder: bidder.value };
    try {
        await rt.call("auction.bid", bid, { optimistic: [feed, { ...bid, paddle: page.paddle, at: Date.now() / 1000 }] });
    } catch (error) {
        $("answer").textContent = why(error);
        (error.fields?.[0]?.field === "bidder" ? bidder : amount).focus();
    }
    asking = false;
    showForm();
});

function why({ code, message, fields }) {
    if (code === 111) return `Sorry, ${message}.`; // Refused: the application's own words
    if (code === 106) return fields[0].field === "bidder" ? "Please say who is bidding." : "A bid is a whole number of euros.";
    if (code === 300) return "The line broke while you were bidding: look below whether your bid is there.";
    return `That did not work: ${message}.`;
}

$("raises").addEventListener("click", ({ target }) => {
    if (target.value) amount.value = target.value;
});

// --- showing ----------------------------------------------------------------------------------------------------------

function standing() {
    const mine = lot.highest?.paddle === page.paddle;
    if (secondsTo(lot.ends_at) > 0) return mine ? "leading" : bidOn.has(lot.id) ? "outbid" : "open";
    return !lot.highest ? "unsold" : mine ? "won" : "sold";
}

function words(how) {
    const { bidder, paddle } = lot.highest ?? {};
    return {
        leading: "You are the highest bidder.",
        outbid: `You were outbid by ${bidder}.`,
        won: "Sold to you. Congratulations.",
        sold: `Sold to ${bidder}, paddle ${paddle}.`,
        unsold: "Nobody wanted it.",
        open: bidder ? `The lead is with ${bidder}.` : "Nobody has bid yet. The first bid leads.",
    }[how];
}

/** What is, and on top of it what we hope for. */
const all = () => [...hoped.values(), ...bids].sort((a, b) => b.amount - a.amount);

function show() {
    if (bids.some(bid => bid.paddle === page.paddle)) bidOn.add(lot.id);
    const { highest, start, ends_at, title } = lot;
    const how = standing();
    const price = all()[0]?.amount ?? start;
    const over = secondsTo(ends_at) <= 0;
    $("lot").dataset.standing = how;
    $("standing").textContent = hoped.size ? "Your bid is on its way…" : words(how);
    $("price").classList.toggle("hoped", price !== (highest?.amount ?? start));
    $("price-label").textContent = over ? (highest ? "Hammer price" : "Not sold") : highest ? "Price now" : "Starting price";
    $("time-label").textContent = over ? "The hammer fell" : "Hammer falls in";
    flash($("price"), money(price));
    document.title = `${money(price)} · ${title} · Lot & Found`;
    $("bid-count").textContent = highest?.count ?? 0;
    $("no-bids").hidden = all().length > 0;
    form.hidden = over;
    showBids();
    showClimb();
    showForm();
}

/** The list, touching only what is new, so that a new row can slide in. */
function showBids() {
    const list = $("bids");
    const rows = all();
    const wanted = new Set(rows.flatMap(({ id, cause }) => [String(id), cause]));
    for (const row of [...list.children]) if (!wanted.has(row.dataset.bid)) row.remove();
    rows.forEach((bid, index) => {
        const there = list.children[index];
        const same = there?.dataset.bid === String(bid.id) || bid.cause && there?.dataset.bid === bid.cause;
        fill(same ? there : list.insertBefore(newRow(bid), there ?? null), bid);
    });
    while (list.children.length > rows.length) list.lastElementChild.remove();
}

function newRow(bid) {
    const row = $("row").content.firstElementChild.cloneNode(true);
    row.classList.add("new");
    row.classList.toggle("mine", bid.paddle === page.paddle);
    row.querySelector("[data-amount]").textContent = money(bid.amount);
    row.querySelector("[data-bidder]").textContent = bid.bidder;
    row.querySelector("[data-paddle]").textContent = `paddle ${bid.paddle}`;
    row.querySelector("[data-at]").textContent = new Date(bid.at * 1000).toLocaleTimeString("en-GB");
    return row;
}

/** What changes in a row when a bid that we hoped for has come true. */
function fill(row, { id, cause }) {
    row.dataset.bid = id ?? cause;
    row.classList.toggle("hoped", id === undefined);
}

/** The price as a staircase. */
function showClimb() {
    const steps = [...bids].reverse();
    $("climb").toggleAttribute("hidden", steps.length < 3);
    if (steps.length < 3) return;
    const low = steps[0].amount;
    const high = steps.at(-1).amount;
    const x = index => (index / steps.length * 400).toFixed(1);
    const y = amount => (60 - (amount - low) / (high - low) * 54).toFixed(1);
    const line = `M0 ${y(low)}` + steps.map((bid, index) => `V${y(bid.amount)}H${x(index + 1)}`).join("");
    const [area, edge] = $("climb").children;
    area.setAttribute("d", line + "V64H0Z");
    edge.setAttribute("d", line);
}

function showForm() {
    const least = lot.highest ? lot.highest.amount + lot.step : lot.start;
    const leading = standing() === "leading";
    amount.min = least;
    if (!asking && Number(amount.value) < least) amount.value = least;
    $("submit").disabled = asking || leading;
    $("submit").textContent = asking ? "Bidding…" : leading ? "You lead" : "Place bid";
    const raises = [least, least + 2 * lot.step, least + 5 * lot.step];
    $("raises").hidden = leading;
    if ($("raises").dataset.least === String(least)) return;
    $("raises").dataset.least = least;
    $("raises").replaceChildren(...raises.map(value =>
        Object.assign(document.createElement("button"), { type: "button", value, textContent: money(value) })));
}

countDown(show);
show();
