// The live picture of an app: its units as boxes, its links as arrows.

import { attribute, keyed, svg, text } from "./dom.js";
import { COLUMN, layOut } from "./layout.js";
import { place, select } from "./selection.js";
import { rate, signed, took } from "./text.js";

const BOX_HEIGHT = 64;
const ELSEWHERE_HEIGHT = 34;
const PADDING = 14;

/** How the calls of a link go now, or how they may where none has been made out. */
export const waysOf = (link) => [...new Set(link.ways.map(({ way }) => way))].sort().join("+") || link.transport;

export function picture() {
  const groups = { lines: svg("g"), boxes: svg("g"), labels: svg("g") };
  const node = svg("svg", { role: "group", class: "picture" }, ...Object.values(groups));
  const updateLines = keyed(groups.lines, ({ id }) => id, lineView);
  const boxView = (box) => (box.unit ? unitView(box, node) : elsewhereView(box));
  const updateBoxes = keyed(groups.boxes, ({ id, unit }) => `${id} ${unit?.kind}`, boxView);
  const updateLabels = keyed(groups.labels, ({ id }) => id, labelView);
  let placed = { shape: null };

  const update = (app, selected) => {
    const drawn = whatToDraw(app);
    const shape = JSON.stringify([drawn.boxes.map(({ id, last }) => [id, last]), drawn.lines.map(({ id }) => id)]);
    // Places depend on names and kinds alone: figures change at every poll, and nothing shall move for that.
    if (placed.shape !== shape) placed = { shape, ...layOut(drawn.boxes, drawn.lines) };
    attribute(node, "viewBox", `0 0 ${placed.width} ${placed.height}`);
    attribute(node, "width", placed.width);
    attribute(node, "height", placed.height);
    attribute(node, "aria-label", `Units of ${app.status.app} and their links`);
    const lines = drawn.lines.map((line) => ({ ...placed.links.get(line.id), ...line }));
    updateLines(lines);
    updateBoxes(drawn.boxes.map((box) => ({ ...placed.boxes.get(box.id), ...box, selected: box.id === selected })));
    updateLabels(lines);
  };
  return { node, update };
}

/** The boxes and the lines of an app. Links between the same two units share a line. */
function whatToDraw(app) {
  const own = app.status.units.map((unit) => {
    const id = `${app.status.app}/${unit.unit}`;
    return { id, unit, height: BOX_HEIGHT, last: unit.kind === "provider" };
  });
  const known = new Set(own.map(({ id }) => id));
  const ends = new Set(app.links.flatMap(({ from, to }) => [from, to]));
  const elsewhere = [...ends].filter((id) => !known.has(id))
    .map((id) => ({ id, height: ELSEWHERE_HEIGHT, last: true }));
  const lines = [...Map.groupBy(app.links, ({ from, to }) => `${from}>${to}`)].map(([id, links]) => lineOf(id, links));
  return { boxes: [...own, ...elsewhere], lines };
}

function lineOf(id, links) {
  const ways = [...new Set(links.flatMap((link) => waysOf(link).split("+")))];
  // Where none has left the process there is nothing to tell: those inside it are not counted by link.
  const calls = together(links.map((link) => link.calls).filter((calls) => calls?.total > 0));
  return { id, links, from: links[0].from, to: links[0].to, ways, calls };
}

function unitView({ id, unit }, whole) {
  const parts = { name: label("name"), what: label("what"), state: label("state"), ready: label("ready") };
  const tooltip = svg("title");
  const outline = svg("path", { class: "outline", d: outlineOf(unit.kind) });
  const trace = (on) => () => traceLinks(whole, on ? id : null);
  const box = svg("g", {
    role: "button", tabindex: "0", class: "unit", "data-unit": id, "data-kind": unit.kind, "aria-controls": "detail",
    click: () => select(id), keydown: onPress(() => select(id)),
    mouseenter: trace(true), mouseleave: trace(false), focus: trace(true), blur: trace(false),
  }, outline, svg("path", { class: "edge", d: "M5 17V47" }), ...apart(parts));
  const update = ({ unit: { unit: name, kind, what, state, ready, wanted, reason }, x, y, width, selected }) => {
    const written = [name, kind === "provider" ? what : kind, signed(state), `${ready}/${wanted}`];
    attribute(box, "transform", `translate(${x} ${y})`);
    attribute(box, "data-state", state);
    attribute(box, "aria-expanded", String(selected));
    attribute(box, "aria-label", written.join(" "));
    text(tooltip, [written.join(" "), reason].filter(Boolean).join("\n"));
    const room = width - 2 * PADDING;
    write(parts.name, written[0], PADDING, 23, room);
    write(parts.what, written[1], PADDING, 39, room);
    write(parts.state, written[2], PADDING, 55, room);
    write(parts.ready, written[3], width - PADDING, 55, room);
  };
  // The tooltip is outside, as it would be read as a part of what the button says.
  return { node: svg("g", {}, tooltip, box), update };
}

/** A unit of another app: a link to it. */
function elsewhereView({ id }) {
  const name = label("what");
  const outline = svg("rect", { class: "outline elsewhere", rx: 3 });
  const link = { class: "elsewhere-unit", href: place(id), "aria-label": `${id}, of another app` };
  const node = svg("a", link, svg("title", {}, id), outline, name);
  const update = ({ x, y, width, height }) => {
    attribute(node, "transform", `translate(${x} ${y})`);
    attribute(outline, "width", width);
    attribute(outline, "height", height);
    write(name, id, PADDING, 21, width - 2 * PADDING);
  };
  return { node, update };
}

/** An arrow. Screen readers get the table below instead. */
function lineView({ id }) {
  const path = svg("path", { class: "line" });
  const end = svg("path", { class: "head", d: "M0 0L-9 -4.5V4.5Z" });
  const tooltip = svg("title");
  const node = svg("g", { class: "link", "data-link": id, "aria-hidden": "true" }, tooltip, path, end);
  const update = (line) => {
    attribute(node, "data-way", ["none", "lattice", "fused", "local"].find((way) => line.ways.includes(way)));
    attribute(node, "data-busy", line.calls?.per_second > 0);
    attribute(path, "d", line.path);
    attribute(end, "transform", `translate(${line.head.x} ${line.head.y}) rotate(${line.head.turn})`);
    const each = line.links.map((link) => `${link.from} → ${link.to}: ${link.link}, ${waysOf(link)}`);
    const counted = line.calls ? [figures(line.calls), failures(line.calls)] : [];
    text(tooltip, [...each, ...counted].filter(Boolean).join("\n"));
  };
  return { node, update };
}

/** What is written at an arrow. It is above all arrows, as those may pass under it. */
function labelView({ id }) {
  const parts = { via: label("via"), figures: label("figures"), failing: label("failing") };
  const node = svg("g", { class: "link", "data-label": id, "aria-hidden": "true" }, ...apart(parts));
  const update = ({ links, ways, calls, label: { x, y, anchor } }) => {
    attribute(node, "text-anchor", anchor);
    const what = links.length === 1 ? links[0].link : `${links.length} links`;
    write(parts.via, what, x, y - 4, 146, ` · ${ways.join("+")}`);
    write(parts.figures, calls ? figures(calls) : "", x, y + 11, 160);
    write(parts.failing, calls ? failures(calls) : "", x, y + 23, 160);
  };
  return { node, update };
}

/** The calls of several links: their rates added, and the slowest of their times. */
function together(all) {
  if (all.length === 0) return null;
  const sum = (name) => all.reduce((total, calls) => total + calls[name], 0);
  const worst = (name) => Math.max(...all.map((calls) => calls[name] ?? -1));
  const known = (value) => (value < 0 ? null : value);
  return {
    per_second: sum("per_second"), failed_per_second: sum("failed_per_second"),
    p50_us: known(worst("p50_us")), p99_us: known(worst("p99_us")),
  };
}

const figures = ({ per_second, p50_us, p99_us }) => `${rate(per_second)}/s · ${took(p50_us)} / ${took(p99_us)}`;

const failures = ({ failed_per_second: failed }) => (failed > 0 ? `✕ ${rate(failed)}/s failed` : "");

/** Fades what does not lead to or from a unit, while that is pointed at or has the focus. */
function traceLinks(whole, unit) {
  whole.classList.toggle("tracing", unit !== null);
  for (const link of whole.querySelectorAll(".link")) {
    const ends = (link.dataset.link ?? link.dataset.label).split(">");
    link.classList.toggle("near", ends.includes(unit));
  }
}

/** Components have round corners, providers cut ones. */
function outlineOf(kind) {
  const [w, h, c] = [COLUMN, BOX_HEIGHT, 12];
  return kind === "provider"
    ? `M${c} 0H${w - c}L${w} ${c}V${h - c}L${w - c} ${h}H${c}L0 ${h - c}V${c}Z`
    : `M${c} 0H${w - c}Q${w} 0 ${w} ${c}V${h - c}Q${w} ${h} ${w - c} ${h}H${c}Q0 ${h} 0 ${h - c}V${c}Q0 0 ${c} 0Z`;
}

function onPress(action) {
  return (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    action();
  };
}

const label = (kind) => svg("text", { class: kind });

/** With spaces between, which are not drawn: without them the texts are one word for who hears them. */
const apart = (parts) => Object.values(parts).flatMap((part) => [part, " "]);

/** Writes at a place; what is too wide is cut, but not its ending. */
function write(node, wanted, x, y, width, ending = "") {
  attribute(node, "x", x);
  attribute(node, "y", y);
  if (node.dataset.whole === wanted + ending) return;
  node.dataset.whole = wanted + ending;
  text(node, wanted + ending);
  for (let kept = wanted.length - 1; kept > 0 && node.getComputedTextLength() > width; kept -= 1) {
    text(node, `${wanted.slice(0, kept)}…${ending}`);
  }
}
