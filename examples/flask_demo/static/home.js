// The list: each card follows the price of its lot.
import { countDown, flash, money, page, rt, secondsTo } from "./site.js";

const tags = { open: "", leading: "You lead", outbid: "Outbid", won: "Yours", sold: "Sold", unsold: "Not sold" };
const bidOn = new Set(page.bid_on);
const lots = new Map(page.lots.map(lot => [lot.id, lot]));
const card = lot => document.querySelector(`[data-lot="${lot.id}"]`);

function standing({ id, highest, ends_at }) {
    const mine = highest?.paddle === page.paddle;
    if (secondsTo(ends_at) > 0) return mine ? "leading" : bidOn.has(id) ? "outbid" : "open";
    return !highest ? "unsold" : mine ? "won" : "sold";
}

function show(lot) {
    const element = card(lot);
    const { highest, start } = lot;
    flash(element.querySelector("[data-price]"), money(highest?.amount ?? start));
    element.querySelector("[data-count]").textContent =
        highest ? `${highest.count} bid${highest.count === 1 ? "" : "s"}` : "starting price";
    element.dataset.standing = standing(lot);
    element.querySelector("[data-tag]").textContent = tags[standing(lot)];
}

function showTotals() {
    const all = [...lots.values()];
    const sum = what => all.reduce((total, { highest }) => total + (highest?.[what] ?? 0), 0);
    document.getElementById("open-lots").textContent = all.filter(lot => secondsTo(lot.ends_at) > 0).length;
    document.getElementById("bid-count").textContent = sum("count");
    document.getElementById("turnover").textContent = money(sum("amount"));
}

function arrived(bid) {
    const lot = lots.get(bid.lot_id);
    if (bid.paddle === page.paddle) bidOn.add(bid.lot_id);
    if (bid.count <= (lot.highest?.count ?? 0)) return; // known already, or overtaken
    lot.highest = bid;
    show(lot);
    showTotals();
    const latest = document.getElementById("latest");
    latest.hidden = false;
    latest.textContent = "";
    latest.append(bid.bidder, " bids ", Object.assign(document.createElement("b"), { textContent: money(bid.amount) }), ` on ${lot.title}`);
    flash(latest, latest.textContent + " ");
}

// From the position at which the page was made: what was bid since then comes first.
for (const lot of lots.values()) rt.subscribe(`prices/${lot.id}`, arrived, { position: page.positions[lot.id] });

countDown(element => {
    show(lots.get(Number(element.closest("[data-lot]").dataset.lot)));
    showTotals();
});
