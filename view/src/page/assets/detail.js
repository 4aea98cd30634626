// The panel with all that is known of the selected unit.

import { change } from "./actions.js";
import { get } from "./api.js";
import { attribute, byId, el, facts, keyed, table, text, textOrHidden } from "./dom.js";
import { log } from "./log.js";
import { unselect } from "./selection.js";
import { badge, many, rate, shortHost, signed, took, whole } from "./text.js";

/** Where the panel lies over all else; the same width is in style.css. */
const NARROW = matchMedia("(max-width: 62rem)");

export function detail() {
  const root = byId("detail");
  let panel = null;
  let opener = null;
  let picture = null;

  const draw = () => {
    if (panel && picture) panel.update(picture);
    attribute(document.body, "class", panel && "has-detail");
    for (const id of ["top", "main"]) byId(id).inert = Boolean(panel) && NARROW.matches;
  };
  const open = (key, focus) => {
    if (!root.contains(document.activeElement)) opener = document.activeElement;
    panel = unitPanel(key);
    root.replaceChildren(panel.node);
    root.hidden = false;
    root.scrollTop = 0;
    draw();
    if (focus) byId("detail-title").focus({ preventScroll: true });
  };
  const close = (key) => {
    panel = null;
    root.hidden = true;
    root.replaceChildren();
    draw();
    // What opened it may be gone, and a page that was opened with its panel has none.
    const box = document.querySelector(`[data-unit="${CSS.escape(key)}"]`);
    (opener?.isConnected && opener !== document.body ? opener : box)?.focus();
  };

  NARROW.addEventListener("change", draw);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && panel && !document.querySelector("dialog")) unselect();
  });
  return {
    /** Shows a unit, or none for null. */
    show(key, focus) {
      if (key === (panel?.key ?? null)) return;
      if (key === null) close(panel.key);
      else open(key, focus);
    },
    update(newest) {
      picture = newest;
      draw();
    },
    refresh: () => panel?.refresh(),
  };
}

function unitPanel(key) {
  const [app, unit] = key.split("/");
  const state = badge();
  const reason = el("p", { class: "reason" });
  const about = facts();
  const scale = scaleView(app, unit);
  const instances = instancesView();
  const calls = callsView();
  const more = moreView(app, unit);
  const lines = log(app, unit);
  const node = el("div", {},
    el("header", { class: "row" },
      el("h2", { id: "detail-title", tabindex: "-1" }, key),
      el("button", { type: "button", class: "close", "aria-label": "Close", click: unselect }, "×")),
    el("p", {}, state.node), reason, about.node, scale.node, instances.node, calls.node, lines.node, more.node);

  const update = ({ apps, changes }) => {
    const all = apps.find(({ status }) => status.app === app);
    const known = all?.status.units.find((one) => one.unit === unit);
    state.update(known?.state ?? "not ready");
    textOrHidden(reason, known ? known.reason : "There is no such unit now.");
    scale.update(known && changes && all.scalable.includes(unit) ? [known] : []);
    instances.update(known?.instances ?? []);
    calls.update(known && all.calls[unit]);
    if (!known) return;
    about.update([
      ["kind", known.kind],
      [known.kind === "provider" ? "provider" : "image", known.what],
      ["ready", `${known.ready} of ${known.wanted} wanted`],
      ["revision", known.revision],
    ]);
  };
  const refresh = async () => {
    await more.refresh();
    await lines.refresh();
  };
  return { key, node, update, refresh };
}

/** How many copies are wanted. What has been typed stays while figures come in. */
function scaleView(app, unit) {
  const node = el("div");
  const update = keyed(node, () => "scale", ({ wanted }) => {
    const number = el("input", { type: "number", min: "0", step: "1", required: true, value: wanted });
    const submit = (event) => {
      event.preventDefault();
      const replicas = number.valueAsNumber;
      change({
        question: `Scale ${app}/${unit} to ${replicas}?`,
        what: `${many(replicas, "copy", "copies")} will be wanted, wherever it may run. That is a new revision.`,
        order: { do: "scale", app, unit, replicas },
      });
    };
    const button = el("button", { "data-do": "scale" }, "Scale…");
    return { node: el("form", { class: "row", submit }, el("label", {}, "Copies ", number), button), update: () => {} };
  });
  return { node, update };
}

function instancesView() {
  const list = el("ul", { class: "instances" });
  const none = el("p", { class: "quiet" }, "none");
  const update = keyed(list, ({ instance }) => instance, instanceView);
  return {
    node: el("section", {}, el("h3", {}, "Instances"), none, list),
    update(instances) {
      none.hidden = instances.length > 0;
      update(instances);
    },
  };
}

function instanceView({ host }) {
  const state = badge();
  const about = el("span", { class: "quiet" });
  const reason = el("p", { class: "reason" });
  const faults = el("p", { class: "quiet" });
  const head = el("p", {}, el("code", { title: host }, shortHost(host)), " ", state.node, " ", about);
  const update = (instance) => {
    state.update(instance.state);
    const { revision, address } = instance;
    text(about, address ? `revision ${revision} · at ${address}` : `revision ${revision}`);
    textOrHidden(reason, instance.reason);
    textOrHidden(faults, faultsOf(instance.faults));
  };
  return { node: el("li", {}, head, reason, faults), update };
}

/** `1 trap in 200 calls; last: unreachable`; nothing where nothing went wrong. */
function faultsOf({ calls, last, ...counts }) {
  const names = [["traps", "trap"], ["timeouts", "timeout"], ["refused", "refusal"], ["errors", "error"]];
  const some = names.filter(([field]) => counts[field] > 0).map(([field, name]) => many(counts[field], name));
  if (some.length === 0) return calls > 0 && `no faults in ${many(calls, "call")}`;
  return `${some.join(", ")} in ${many(calls, "call")}${last ? `; last: ${last}` : ""}`;
}

function callsView() {
  const figures = facts();
  const none = el("p", { class: "quiet" }, "none has been counted");
  return {
    node: el("section", {}, el("h3", {}, "Calls"), none, figures.node),
    update(calls) {
      none.hidden = Boolean(calls);
      figures.update(calls ? callFacts(calls) : []);
    },
  };
}

const callFacts = (calls) => [
  ["per second", rate(calls.per_second)],
  ["p50", took(calls.p50_us)],
  ["p99", took(calls.p99_us)],
  ["failed per second", rate(calls.failed_per_second)],
  ["total", `${whole(calls.calls)}, ${whole(calls.failed)} failed`],
  ["in flight", whole(calls.in_flight)],
  ["starts", whole(calls.starts)],
];

/** Why it is on the hosts where it is, and its part of the manifest; secrets are there by their names alone. */
function moreView(app, unit) {
  const why = table("Why it is or is not on each host", ["Host", "Planned", "State", "Why"]);
  const spec = el("pre", { tabindex: "0", "aria-label": "Spec" });
  const note = el("p", { class: "quiet" }, "asking…");
  const refresh = async () => {
    const answer = await get("unit", { app, unit }).catch((failure) => ({ failure }));
    if (answer.failure) return textOrHidden(note, `neither placement nor spec: ${answer.failure.message}`);
    textOrHidden(note, null);
    why.update(answer.why.hosts.map(whyRow));
    text(spec, JSON.stringify(answer.spec, null, 2));
  };
  const node = el("section", {}, el("h3", {}, "Placement"), note, why.node, el("h3", {}, "Spec"), spec);
  return { node, refresh };
}

const whyRow = ({ host, planned, state, why }) =>
  [shortHost(host), planned ? "yes" : "no", state === null ? "–" : { text: signed(state), state }, why];
