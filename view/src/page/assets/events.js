// What has happened, the newest first.

import { get } from "./api.js";
import { attribute, byId, el, text, textOrHidden } from "./dom.js";
import { clock } from "./text.js";

const KEPT = 200;
const BAD = new Set(["host.lost", "rollout.failed", "instance.failed", "instance.degraded"]);

export function events() {
  const list = byId("events");
  const seen = new Set();
  let cursor;
  return async () => {
    const answer = await get("events", { cursor }).catch((failure) => ({ failure }));
    if (answer.failure) return text(byId("events-note"), `no events: ${answer.failure.message}`);
    cursor = answer.cursor;
    for (const event of answer.events.sort((a, b) => a.time.localeCompare(b.time))) {
      if (!seen.has(event.id)) list.prepend(eventView(event));
      seen.add(event.id);
    }
    while (list.children.length > KEPT) list.lastChild.remove();
    textOrHidden(byId("events-note"), list.children.length === 0 && "none yet");
  };
}

function eventView({ type, subject, time, data }) {
  const kind = type.replace(/^lattice\./, "");
  const node = el("li", { "data-event": kind },
    el("time", { datetime: time }, clock(time)),
    el("strong", {}, BAD.has(kind) ? `✕ ${kind}` : kind),
    el("span", {}, `${subjectOf(kind, subject)} `, el("span", { class: "quiet" }, said(data))));
  attribute(node, "class", BAD.has(kind) && "bad");
  return node;
}

const subjectOf = (kind, subject = "") => (/^(host|control)\./.test(kind) ? subject.slice(0, 8) : subject);

/** `revision 3, connection refused`; the instance's own name tells a reader nothing. */
function said(data) {
  const { instance, reason, ...rest } = data ?? {};
  const known = Object.entries(rest).filter(([, value]) => value !== null && typeof value !== "object");
  return [...known.map(([name, value]) => `${name} ${value}`), reason].filter(Boolean).join(", ");
}
