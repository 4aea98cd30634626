// Makes elements and keeps them in step with what is known. Whatever comes from the lattice becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Attributes that are functions listen to the event of that name. */
export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

/** An element of an SVG. */
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

export const byId = (id) => document.getElementById(id);

function fill(node, attributes = {}, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else attribute(node, name, value);
  }
  node.append(...children);
  return node;
}

/** Sets a text, and touches nothing where it stays: a selection and what a screen reader reads would be lost. */
export function text(node, value) {
  const wanted = String(value ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Sets an attribute, or takes it away for null and false. */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Shows a text, or hides the element where there is none. */
export function textOrHidden(node, value) {
  text(node, value);
  node.hidden = !value;
}

/**
 * Keeps an element's children in step with items: one view (`{ node, update }`) for each key. Views are used again and
 * not moved without need, so that focus and scrolling stay where they are.
 */
export function keyed(parent, keyOf, make) {
  const views = new Map();
  return (items) => {
    const wanted = new Map(items.map((item, index) => [keyOf(item, index), item]));
    for (const [key, view] of views) {
      if (wanted.has(key)) continue;
      view.node.remove();
      views.delete(key);
    }
    let next = parent.firstChild;
    for (const [key, item] of wanted) {
      if (!views.has(key)) views.set(key, make(item));
      const view = views.get(key);
      if (view.node === next) next = next.nextSibling;
      else parent.insertBefore(view.node, next);
      view.update(item);
    }
  };
}

/** A list of pairs of a term and a text; pairs without a text are left out. */
export function facts() {
  const node = el("dl", { class: "facts" });
  const update = keyed(node, ([term]) => term, ([term]) => {
    const value = el("dd");
    return { node: el("div", {}, el("dt", {}, term), value), update: ([, wanted]) => text(value, wanted) };
  });
  return { node, update: (pairs) => update(pairs.filter(([, value]) => value !== null && value !== undefined)) };
}

/** A table that scrolls in a box of its own. A cell is a text, or `{ text, state }` for one that is coloured, too. */
export function table(label, columns) {
  const body = el("tbody");
  const head = el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)));
  const whole = el("table", { "aria-label": label }, el("thead", {}, head), body);
  const node = el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": label }, whole);
  return { node, update: keyed(body, (_, index) => index, () => tableRow(columns.length)) };
}

function tableRow(width) {
  const cells = Array.from({ length: width }, () => el("td"));
  const update = (values) => cells.forEach((cell, index) => {
    const value = values[index];
    text(cell, value?.text ?? value);
    attribute(cell, "data-state", value?.state);
  });
  return { node: el("tr", {}, ...cells), update };
}
