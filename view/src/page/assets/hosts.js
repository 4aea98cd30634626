// The hosts, as cards.

import { control } from "./actions.js";
import { attribute, byId, el, facts, keyed, text } from "./dom.js";
import { place } from "./selection.js";
import { badge, lasted, many, signed } from "./text.js";

export function hosts() {
  const update = keyed(byId("hosts"), ({ id }) => id, hostView);
  return (picture) => {
    const running = unitsByHost(picture.apps);
    update(picture.hosts.map((host) => ({ ...host, running: running.get(host.id) ?? [], changes: picture.changes })));
  };
}

export function stateOf(host) {
  if (!host.alive) return "lost";
  if (host.leaving) return "leaving";
  return host.cordon === null ? "alive" : "cordoned";
}

/** Which instances are on each host. */
function unitsByHost(apps) {
  const instances = apps.flatMap(({ status }) => status.units.flatMap((unit) =>
    unit.instances.map((instance) => ({ ...instance, key: `${status.app}/${unit.unit}` }))));
  return Map.groupBy(instances, ({ host }) => host);
}

function hostView(first) {
  const state = badge();
  const release = el("span", { class: "quiet" });
  const figures = facts();
  const runs = el("ul", { class: "chips", "aria-label": "What runs there" });
  const buttons = el("p", { class: "controls" });
  const name = el("code", { title: first.id }, first.short_id);
  const head = el("h3", {}, name, " ", state.node);
  const node = el("li", { class: "card", "data-host": first.id }, head, release, figures.node, runs, buttons);
  const updateRuns = keyed(runs, ({ key, instance }) => `${key} ${instance}`, runView);
  const updateButtons = keyed(buttons, () => "cordon", () => cordonView(first));
  const update = (host) => {
    attribute(node, "data-state", stateOf(host));
    state.update(stateOf(host), host.cordon);
    text(release, `release ${host.release} · ${many(host.units, "unit")}`);
    figures.update([
      ["up for", host.uptime_seconds === null ? null : lasted(host.uptime_seconds)],
      ["labels", listed(host.labels)],
      ["taints", host.taints.join(", ") || null],
      ["capacity", listed(host.capacity)],
    ]);
    updateRuns(host.running);
    updateButtons(host.changes && host.alive ? [host] : []);
  };
  return { node, update };
}

const listed = (pairs) => Object.entries(pairs).map(([name, value]) => `${name}=${value}`).join(", ") || null;

function runView({ key }) {
  const node = el("a", { href: place(key) });
  const update = ({ state }) => {
    text(node, `${signed(state).slice(0, 1)} ${key}`);
    attribute(node, "data-state", state);
    attribute(node, "aria-label", `${key}, ${state}`);
  };
  return { node: el("li", {}, node), update };
}

const CORDON = ["Cordon", "What runs there goes on, and it is given nothing more until it is uncordoned."];
const UNCORDON = ["Uncordon", "It may be given units again."];

/** One button for both ways, so that it keeps the focus when it has been pressed. */
function cordonView({ id, short_id: name }) {
  let [verb, what] = CORDON;
  const ask = () => ({ question: `${verb} ${name}?`, what, order: { do: verb.toLowerCase(), host: id } });
  const node = control("cordon", "", ask);
  const update = ({ cordon }) => {
    [verb, what] = cordon === null ? CORDON : UNCORDON;
    attribute(node, "data-do", verb.toLowerCase());
    text(node, `${verb}…`);
    attribute(node, "aria-label", `${verb} ${name}`);
  };
  return { node, update };
}
