// Places boxes and arrows in layers from left to right. It knows nothing of the page.
//
// Each box is one layer after the furthest of those that lead to it; what only takes (stores) is at the right. An
// arrow over several layers gets a lane in each between, so that it passes beside the boxes. Boxes are then ordered and
// placed by where their neighbours are.

export const COLUMN = 172;
const GAP = 176;
const ROW_GAP = 24;
const LANE = 34;
const MARGIN = 26;
const SWEEPS = 8;
/** What labels keep between each other: two lines. */
const LABEL_HEIGHT = 30;

/**
 * `boxes` are `{ id, height, last }`, where `last` wants the right side; `links` are `{ id, from, to }`. The answer has
 * `width` and `height`, by id the boxes' `{ x, y, width, height }`, and the links' `{ path, head, label }`.
 */
export function layOut(boxes, links) {
  const nodes = new Map(boxes.map((box) => [box.id, { ...box, width: COLUMN, before: [], after: [] }]));
  const arcs = withoutCycles(nodes, links.filter(({ from, to }) => from !== to));
  assignLayers(nodes, arcs);
  const layers = intoLayers(nodes, arcs);
  order(layers);
  const size = assignPlaces(layers);
  const lines = new Map(arcs.map((arc) => [arc.id, line(arc)]));
  for (const { id, from, to } of links) if (from === to) lines.set(id, loop(nodes.get(from)));
  spreadLabels([...lines.values()]);
  const placed = [...nodes].map(([id, { x, y, width, height }]) => [id, { x, y, width, height }]);
  return { ...size, boxes: new Map(placed), links: lines };
}

/** Links as arcs between nodes. One that closes a cycle counts as if it led the other way. */
function withoutCycles(nodes, links) {
  const leaving = Map.groupBy(links, ({ from }) => from);
  const state = new Map();
  const arcs = [];
  const visit = (id) => {
    state.set(id, "open");
    for (const link of leaving.get(id) ?? []) {
      if (!state.has(link.to)) visit(link.to);
      const backwards = state.get(link.to) === "open";
      const ends = [nodes.get(link.from), nodes.get(link.to)];
      const [from, to] = backwards ? ends.reverse() : ends;
      arcs.push({ id: link.id, from, to, backwards });
    }
    state.set(id, "done");
  };
  // First those that nothing leads to: what they begin is the way that it is told.
  const reached = new Set(links.map(({ to }) => to));
  const ids = [...nodes.keys()];
  for (const id of [...ids.filter((id) => !reached.has(id)), ...ids]) if (!state.has(id)) visit(id);
  return arcs;
}

function assignLayers(nodes, arcs) {
  const leading = Map.groupBy(arcs, ({ to }) => to);
  const layerOf = (node) => {
    node.layer ??= Math.max(-1, ...(leading.get(node) ?? []).map(({ from }) => layerOf(from))) + 1;
    return node.layer;
  };
  const last = Math.max(0, ...[...nodes.values()].map(layerOf));
  const leads = new Set(arcs.map(({ from }) => from));
  for (const node of nodes.values()) if (node.last && leading.has(node) && !leads.has(node)) node.layer = last;
}

/** The nodes of each layer, with the lanes of arcs that pass it, and who is beside whom. */
function intoLayers(nodes, arcs) {
  const count = 1 + Math.max(0, ...[...nodes.values()].map(({ layer }) => layer));
  const layers = Array.from({ length: count }, () => []);
  for (const node of nodes.values()) layers[node.layer].push(node);
  for (const arc of arcs) {
    arc.stops = [arc.from];
    for (let layer = arc.from.layer + 1; layer < arc.to.layer; layer += 1) {
      const lane = { lane: true, layer, width: COLUMN, height: LANE, before: [], after: [] };
      layers[layer].push(lane);
      arc.stops.push(lane);
    }
    arc.stops.push(arc.to);
    for (const [left, right] of pairs(arc.stops)) {
      left.after.push({ node: right, arc });
      right.before.push({ node: left, arc });
    }
  }
  return layers;
}

/** Sorts each layer by where the neighbours are, now those before and now those after, so that few arcs cross. */
function order(layers) {
  const rank = (layer) => layer.forEach((node, index) => { node.rank = index; });
  layers.forEach(rank);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 === 0 ? "before" : "after";
    for (const layer of side === "before" ? layers : layers.toReversed()) {
      for (const node of layer) node.wanted = mean(node[side].map((end) => end.node.rank)) ?? node.rank;
      layer.sort((a, b) => a.wanted - b.wanted);
      rank(layer);
    }
  }
}

/** Gives each node its `x` and `y`: at the height of its neighbours as far as those of its layer leave room. */
function assignPlaces(layers) {
  layers.forEach((layer, index) => layer.forEach((node) => { node.x = MARGIN + index * (COLUMN + GAP); }));
  layers.forEach((layer) => settle(layer, layer.map(() => 0)));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 === 0 ? "before" : "after";
    for (const layer of side === "before" ? layers : layers.toReversed()) {
      const wanted = layer.map((node) => mean(node[side].map((end) => middle(end.node))) ?? middle(node));
      settle(layer, wanted.map((y, index) => y - layer[index].height / 2));
    }
  }
  const all = layers.flat();
  const top = Math.min(...all.map(({ y }) => y)) - MARGIN;
  for (const node of all) node.y -= top;
  return {
    width: layers.length * (COLUMN + GAP) - GAP + 2 * MARGIN,
    height: Math.max(0, ...all.map(({ y, height }) => y + height)) + MARGIN,
  };
}

/** Moves nodes as near as may be to where they want to be, in their order and without one on the other. */
function settle(nodes, wanted, gap = ROW_GAP) {
  const room = nodes.map(({ height = 0 }) => height + gap);
  const down = [...wanted];
  for (let i = 1; i < nodes.length; i += 1) down[i] = Math.max(down[i], down[i - 1] + room[i - 1]);
  const up = [...wanted];
  for (let i = nodes.length - 2; i >= 0; i -= 1) up[i] = Math.min(up[i], up[i + 1] - room[i]);
  // Both leave room between nodes, and so does what is between the two.
  nodes.forEach((node, i) => { node.y = (down[i] + up[i]) / 2; });
}

/** The curve of an arc over its stops, its arrow's head, and where its label belongs. */
function line(arc) {
  const { stops, backwards } = arc;
  const last = stops.length - 1;
  const places = stops.map((stop, index) => ({
    left: { x: stop.x, y: index === last ? port(stop, "before", arc) : middle(stop) },
    right: { x: stop.x + stop.width, y: index === 0 ? port(stop, "after", arc) : middle(stop) },
  }));
  const start = places[0].right;
  const end = places[last].left;
  let path = `M${start.x} ${start.y}`;
  for (const [a, b] of pairs(places)) {
    const bend = (a.right.x + b.left.x) / 2;
    path += `L${a.right.x} ${a.right.y}C${bend} ${a.right.y} ${bend} ${b.left.y} ${b.left.x} ${b.left.y}`;
  }
  return { path, head: backwards ? { ...start, turn: 180 } : { ...end, turn: 0 }, label: labelPlace(arc, start, end) };
}

/** A label belongs where its arc is most alone: in its lane, or else at the end that it shares with fewer others. */
function labelPlace({ stops }, start, end) {
  const [from, next] = stops;
  if (next.lane) return { x: next.x + next.width / 2, y: middle(next), anchor: "middle" };
  return from.after.length > next.before.length
    ? { x: end.x - 14, y: end.y, anchor: "end" }
    : { x: start.x + 14, y: start.y, anchor: "start" };
}

/** Where an arc meets the side of a box: those of one side stand below each other, as their other ends do. */
function port(node, side, arc) {
  const ends = node[side].toSorted((a, b) => middle(a.node) - middle(b.node));
  const step = Math.min(14, (node.height * 0.7) / ends.length);
  return middle(node) + (ends.findIndex((end) => end.arc === arc) - (ends.length - 1) / 2) * step;
}

/** A link from a box to itself. */
function loop({ x, y, width }) {
  const [left, right] = [x + width - 44, x + width - 16];
  return {
    path: `M${left} ${y}C${left - 6} ${y - 26} ${right + 6} ${y - 26} ${right} ${y}`,
    head: { x: right, y, turn: 100 },
    label: { x: left - 10, y: y - 9, anchor: "end" },
  };
}

/** Moves labels that begin or end below each other up or down until none is on another. */
function spreadLabels(lines) {
  for (const column of Map.groupBy(lines, ({ label }) => `${label.x} ${label.anchor}`).values()) {
    column.sort((a, b) => a.label.y - b.label.y);
    settle(column.map(({ label }) => label), column.map(({ label }) => label.y), LABEL_HEIGHT);
  }
}

const middle = ({ y, height }) => y + height / 2;
const mean = (values) => (values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
const pairs = (list) => list.slice(1).map((item, index) => [list[index], item]);
