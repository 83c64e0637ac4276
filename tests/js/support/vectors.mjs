/** The test vectors that every implementation of the protocol shares. See tests/vectors/README.md. */
import { readFileSync } from "node:fs";

/** @param {string} name */
export const vectors = name => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8"));

/** @param {string} digits */
export const unhex = digits => Uint8Array.from(digits.match(/../g) ?? [], pair => parseInt(pair, 16));

/** The value of a vector: {"@bytes": hex} stands for bytes. */
export function meant(value) {
    if (Array.isArray(value)) return value.map(meant);
    if (!value || typeof value !== "object") return value;
    if ("@bytes" in value) return unhex(value["@bytes"]);
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, meant(child)]));
}

/** @param {{text?: string, hex?: string, repeat?: [string, number][]}} long */
export const spelled = ({ text, hex, repeat }) => text ?? hex ?? repeat.map(([piece, times]) => piece.repeat(times)).join("");
