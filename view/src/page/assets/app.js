// The dashboard of a lattice: asks the program that serves it every two seconds and shows what it answers.

import { get } from "./api.js";
import { apps } from "./apps.js";
import { detail } from "./detail.js";
import { attribute, byId, el, keyed, text, textOrHidden } from "./dom.js";
import { events } from "./events.js";
import { hosts, stateOf } from "./hosts.js";
import { forever, wake } from "./loop.js";
import { selected } from "./selection.js";
import { clock, many, signed } from "./text.js";

const PAUSE_MS = 2000;
/** More changes at once than these are counted, not read out. */
const ANNOUNCED = 3;

const views = { apps: apps(), hosts: hosts(), events: events(), detail: detail() };
const updateNotes = keyed(byId("notes"), (note) => note, (note) => ({ node: el("li", {}, note), update: () => {} }));
const updateFigures = keyed(byId("figures"), ({ word }) => word, figureView);
let latest = null;

async function refresh() {
  const answer = await get("picture").catch((failure) => ({ failure }));
  textOrHidden(byId("banner"), answer.failure && noAnswer(answer.failure));
  if (answer.failure) return;
  show(answer);
  await views.events();
  await views.detail.refresh();
}

function noAnswer({ message }) {
  const shown = latest ? "showing what was last known" : "nothing is known yet";
  return `no answer from the program that serves this page: ${message}; ${shown}`;
}

function show(picture) {
  announce(latest, picture);
  latest = picture;
  document.title = `${picture.lattice} – Lattice`;
  text(byId("lattice"), picture.lattice);
  text(byId("mode"), picture.changes ? "changes allowed" : "read-only");
  text(byId("at"), clock(picture.at));
  attribute(byId("at"), "datetime", picture.at);
  textOrHidden(byId("holding"), picture.holding);
  updateNotes(picture.notes);
  updateFigures(figuresOf(picture));
  draw();
}

function draw() {
  if (latest === null) return;
  views.apps(latest, selected());
  views.hosts(latest);
  views.detail.update(latest);
}

function figuresOf(picture) {
  const alive = picture.hosts.filter((host) => host.alive).length;
  const ready = picture.apps.filter(({ status }) => status.ready).length;
  return [
    { word: "alive", value: alive, said: many(alive, "host") },
    { word: "lost", value: picture.hosts.length - alive, said: many(picture.hosts.length - alive, "host") },
    { word: "ready", value: ready, said: many(ready, "app") },
    { word: "not ready", value: picture.apps.length - ready, said: many(picture.apps.length - ready, "app") },
  ];
}

/** `2 hosts ✓ alive`; what is bad is coloured only when there is any. */
function figureView({ word }) {
  const node = el("li");
  const update = ({ value, said }) => {
    const matters = word === "alive" || word === "ready" || value > 0;
    text(node, matters ? `${said} ${signed(word)}` : `${said} ${word}`);
    attribute(node, "data-state", matters && word);
  };
  return { node, update };
}

/** Tells screen readers what has changed its state, and not what has merely been asked again. */
function announce(before, after) {
  if (before === null) return;
  const old = statesOf(before);
  const changed = [...statesOf(after)].filter(([name, state]) => old.get(name) !== state)
    .map(([name, state]) => `${name} is ${state}`);
  if (changed.length === 0) return;
  const rest = changed.splice(ANNOUNCED).length;
  if (rest > 0) changed.push(`and ${many(rest, "other change")}`);
  text(byId("changed"), changed.join("; "));
}

function statesOf({ hosts: all, apps: running }) {
  return new Map([
    ...all.map((host) => [`host ${host.short_id}`, stateOf(host)]),
    ...running.map(({ status }) => [`rollout of ${status.app}`, status.rollout.state]),
    ...running.flatMap(({ status }) => status.units.map(({ unit, state }) => [`${status.app}/${unit}`, state])),
  ]);
}

addEventListener("hashchange", () => {
  // Other anchors, such as that of the skip link, select nothing.
  if (location.hash && !location.hash.startsWith("#/")) return;
  views.detail.show(selected(), true);
  draw();
  wake();
});
views.detail.show(selected(), false);
forever(refresh, PAUSE_MS);
