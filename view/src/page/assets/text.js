// How figures, times and states are said.

import { attribute, el, text } from "./dom.js";

/** A sign for each state, so that none is told by its colour alone. */
const SIGNS = {
  ready: "✓", alive: "✓", complete: "✓",
  starting: "◐", progressing: "◐",
  degraded: "▲", "not ready": "▲", cordoned: "▲", leaving: "▲", draining: "▲", paused: "▲",
  failed: "✕", lost: "✕",
};

/** `✓ ready` */
export const signed = (state) => `${SIGNS[state] ?? "•"} ${state}`;

/** A state with its sign, and what else there is to say of it. */
export function badge() {
  const node = el("span", { class: "badge" });
  const update = (state, more) => {
    text(node, more ? `${signed(state)}: ${more}` : signed(state));
    attribute(node, "data-state", state);
  };
  return { node, update };
}

/** A number of calls in a second: `0.25`, `12.3`, `1,235`. */
export const rate = (value) =>
  value.toLocaleString("en", { maximumFractionDigits: value < 1 ? 2 : value < 100 ? 1 : 0 });

export const whole = (value) => value.toLocaleString("en");

/** A time that a call took: `450 µs`, `2.1 ms`, `153 ms`, `1.2 s`. */
export function took(micros) {
  if (micros === null || micros === undefined) return "–";
  if (micros < 1000) return `${Math.round(micros)} µs`;
  const [value, unit] = micros < 999_500 ? [micros / 1000, "ms"] : [micros / 1e6, "s"];
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
}

/** How long something has been there, by its two greatest units: `2 d 3 h`. */
export function lasted(seconds) {
  let left = seconds;
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]].map(([length, unit]) => {
    const count = Math.floor(left / length);
    left %= length;
    return { count, said: `${count} ${unit}` };
  });
  // Without any, this is -1, and the seconds alone are left.
  const first = parts.findIndex(({ count }) => count > 0);
  return parts.slice(first).slice(0, 2).map(({ said }) => said).join(" ");
}

/** The time of day here. */
export function clock(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.valueOf()) ? iso : time.toLocaleTimeString("en-GB");
}

/** `1 host`, `2 hosts` */
export const many = (count, one, more = `${one}s`) => `${whole(count)} ${count === 1 ? one : more}`;

/** A host's key is 56 characters; the first eight tell them apart. */
export const shortHost = (id) => id.slice(0, 8);
