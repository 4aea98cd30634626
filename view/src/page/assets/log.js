// The live log of a unit, the newest line at the bottom.

import { get } from "./api.js";
import { el, textOrHidden } from "./dom.js";
import { clock, shortHost } from "./text.js";

const KEPT = 1000;
const LEVELS = ["trace", "debug", "info", "warn", "error"];

export function log(app, unit) {
  const lines = el("div", {
    id: "detail-log", class: "log", tabindex: "0", "data-least": LEVELS[0],
    // Not announced line by line: it would never end.
    role: "log", "aria-live": "off", "aria-label": `Log of ${app}/${unit}`,
  });
  const note = el("p", { class: "quiet" }, "asking…");
  const filter = el("select", { change: () => follow(lines, () => { lines.dataset.least = filter.value; }) },
    ...LEVELS.map((level) => el("option", { value: level }, level === "error" ? level : `${level} and worse`)));
  const head = el("div", { class: "row" }, el("h3", {}, "Log"), el("label", {}, "Level ", filter));
  let cursor;
  const refresh = async () => {
    const answer = await get("log", { app, unit, cursor }).catch((failure) => ({ failure }));
    if (answer.failure) return textOrHidden(note, `no log: ${answer.failure.message}`);
    cursor = answer.cursor;
    follow(lines, () => add(lines, answer.lines));
    textOrHidden(note, lines.children.length === 0 && "nothing has been written yet");
  };
  return { node: el("section", {}, head, note, lines), refresh };
}

function add(lines, more) {
  lines.append(...more.slice(-KEPT).map(lineView));
  while (lines.children.length > KEPT) lines.firstChild.remove();
}

/** Keeps to the end after a change, unless somebody has scrolled up to read. */
function follow(box, change) {
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 16;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function lineView({ at, host, level, source, text: written }) {
  const from = `${shortHost(host)} ${source}`;
  return el("p", { "data-level": level, title: `${at} ${host} ${source}` },
    el("time", { datetime: at }, clock(at)), " ", el("b", {}, level), " ", el("i", {}, from), " ", written);
}
