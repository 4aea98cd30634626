// Asks the program that serves the page.

/** For what is read: the next poll asks again. */
const PATIENCE_MS = 10_000;
/** For a change, which may have to be waited for. */
const PATIENCE_FOR_CHANGES_MS = 60_000;

/** That it did not answer, or what it could not do and, perhaps, what helps. */
class Failure extends Error {
  constructor(message, help) {
    super(help ? `${message} (${help})` : message);
  }
}

export function get(what, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  const query = new URLSearchParams(given).toString();
  return request(`./api/${what}${query && `?${query}`}`, {}, PATIENCE_MS);
}

export function post(order) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order) };
  return request("./api/do", options, PATIENCE_FOR_CHANGES_MS);
}

async function request(url, options, patience) {
  const { response, body } = await answer(url, { ...options, signal: AbortSignal.timeout(patience) }, patience);
  const value = parsed(body);
  if (!response.ok) throw new Failure(value?.error ?? `status ${response.status}`, value?.help);
  if (value === undefined) throw new Failure("what came is not JSON");
  return value;
}

async function answer(url, options, patience) {
  try {
    const response = await fetch(url, options);
    return { response, body: await response.text() };
  } catch (error) {
    throw new Failure(error.name === "TimeoutError" ? `nothing within ${patience / 1000} s` : "it cannot be reached");
  }
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
