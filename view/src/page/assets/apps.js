// The apps: how each is, its picture, its rollout, and its links as a table.

import { control } from "./actions.js";
import { attribute, byId, el, keyed, table, text, textOrHidden } from "./dom.js";
import { picture, waysOf } from "./picture.js";
import { badge, many, rate, took, whole } from "./text.js";

export function apps() {
  const update = keyed(byId("app-list"), ({ status }) => status.app, appView);
  return ({ apps: all, changes }, selected) => {
    byId("no-apps").hidden = all.length > 0;
    update(all.map((app) => ({ ...app, changes, selected })));
  };
}

function appView({ status: { app: name } }) {
  const state = badge();
  const revision = el("span", { class: "quiet" });
  const controls = el("span", { class: "controls" });
  const rollout = rolloutView();
  const drawn = picture();
  const links = linksView(name);
  const node = el("article", { class: "card app", "data-app": name, "aria-label": `App ${name}` },
    el("header", {}, el("h3", {}, name), state.node, revision, controls),
    rollout.node,
    el("div", { class: "scroll" }, drawn.node),
    links.node);
  const updateControls = keyed(controls, (change) => change, (change) => appControl(change, name));
  const update = (app) => {
    state.update(app.status.ready ? "ready" : "not ready");
    text(revision, `revision ${app.status.revision}`);
    updateControls(app.changes ? controlsOf(app.status) : []);
    rollout.update(app.status);
    drawn.update(app, app.selected);
    links.update(app.links);
  };
  return { node, update };
}

/** Those that the server would not refuse now. */
function controlsOf({ revision, rollout }) {
  const rolling = { progressing: ["pause"], paused: ["resume"], failed: ["resume"] }[rollout.state] ?? [];
  return revision > 1 ? [...rolling, "rollback"] : rolling;
}

const CONTROLS = {
  rollback: ["Roll back", "It becomes again what it was in the revision before. That is a new revision."],
  pause: ["Pause", "No further host gets the new revision until it is resumed. Copies that have it keep it."],
  resume: ["Resume", "The rollout goes on, also with what has failed."],
};

function appControl(name, app) {
  const [label, what] = CONTROLS[name];
  const node = control(name, `${label}…`, () => ({ question: `${label} ${app}?`, what, order: { do: name, app } }));
  attribute(node, "aria-label", `${label} ${app}`);
  return { node, update: () => {} };
}

/** How far the newest revision has come. */
function rolloutView() {
  const state = badge();
  const sentence = el("span");
  const reason = el("p", { class: "reason" });
  const bar = el("progress", { "aria-label": "Instances of the newest revision" });
  const share = el("span");
  const progress = el("p", { class: "progress" }, bar, share);
  const revisions = el("ul", { class: "revisions", "aria-label": "Instances by revision" });
  const updateRevisions = keyed(revisions, ({ unit }) => unit, lineView);
  const head = el("p", {}, "rollout", state.node, sentence);
  const node = el("div", { class: "rollout" }, head, progress, reason, revisions);
  const update = ({ revision, rollout, units }) => {
    attribute(node, "data-rollout", rollout.state);
    state.update(rollout.state);
    text(sentence, sentenceOf(revision, rollout));
    textOrHidden(reason, rollout.reason);
    progress.hidden = rollout.state === "complete";
    const wanted = sum(units, (unit) => unit.wanted);
    const there = sum(units, (unit) => Math.min(unit.wanted, renewed(unit)));
    attribute(bar, "max", Math.max(1, wanted));
    attribute(bar, "value", there);
    text(share, `${there} of ${wanted} instances are ready in their newest revision`);
    updateRevisions(units.filter((unit) => isMoving(unit, revision, rollout)));
  };
  return { node, update };
}

function sentenceOf(revision, { state, complete }) {
  if (state === "complete") return `revision ${revision} has run everywhere`;
  return complete === null ? `revision ${revision}; none has run everywhere yet` : `revision ${complete} → ${revision}`;
}

const sum = (list, value) => list.reduce((total, item) => total + value(item), 0);

const renewed = (unit) =>
  unit.instances.filter(({ revision, state }) => revision === unit.revision && state === "ready").length;

/** Whether a unit has a part in the rollout: it has changed in this revision, or has instances of one before. */
function isMoving(unit, revision, rollout) {
  const changed = rollout.state !== "complete" && unit.revision === revision;
  return changed || unit.instances.some((instance) => instance.revision !== unit.revision);
}

/** `cart: 2 instances of revision 4, 6 of revision 3` */
function lineView() {
  const node = el("li");
  const update = ({ unit, instances }) => {
    const counts = [...Map.groupBy(instances, ({ revision }) => revision)].sort(([a], [b]) => b - a)
      .map(([revision, all]) => `${many(all.length, "instance")} of revision ${revision}`);
    text(node, `${unit}: ${counts.join(", ") || "no instance yet"}`);
  };
  return { node, update };
}

/** The links in words and figures, for whom the picture is too small or cannot be seen. */
function linksView(app) {
  const summary = el("summary");
  const rows = table(`Links of ${app}`, ["From", "Link", "To", "Way", "Calls/s", "p50", "p99", "Failed/s", "Total"]);
  const node = el("details", { open: matchMedia("(max-width: 40rem)").matches }, summary, rows.node);
  const update = (links) => {
    node.hidden = links.length === 0;
    text(summary, `${many(links.length, "link")} as a table`);
    rows.update(links.map(linkRow));
  };
  return { node, update };
}

function linkRow(link) {
  const { calls } = link;
  const figures = calls === null ? ["–", "–", "–", "–", "–"]
    : [rate(calls.per_second), took(calls.p50_us), took(calls.p99_us), failedCell(calls), whole(calls.total)];
  const what = link.name === null ? link.link : `${link.link} (${link.name})`;
  return [link.from, what, link.to, waysOf(link), ...figures];
}

const failedCell = ({ failed_per_second: failed }) =>
  (failed > 0 ? { text: `✕ ${rate(failed)}`, state: "failed" } : rate(failed));
