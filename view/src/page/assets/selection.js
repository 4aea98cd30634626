// Which unit is selected: the address after `#` holds it, so that it can be reloaded, shared, and left by going back.

/** Where a unit is: `#/shop/cart`. */
export function place(key) {
  const [app, unit] = key.split("/");
  return `#/${encodeURIComponent(app)}/${encodeURIComponent(unit)}`;
}

/** `shop/cart`, or null. */
export function selected() {
  const parts = /^#\/([^/]+)\/([^/]+)$/.exec(location.hash);
  try {
    return parts && `${decodeURIComponent(parts[1])}/${decodeURIComponent(parts[2])}`;
  } catch {
    return null;
  }
}

export function select(key) {
  location.hash = place(key);
}

/** An empty hash would scroll to the top, so the address becomes one without any. */
export function unselect() {
  history.pushState(null, "", location.pathname + location.search);
  dispatchEvent(new Event("hashchange"));
}
