// Changes: each is asked for once, in words that say what will happen, and its result is told.

import { post } from "./api.js";
import { byId, el, text } from "./dom.js";
import { wake } from "./loop.js";

/** A button for a change. When it is pressed, `prepare` says what is asked: `{ question, what, order }`. */
export const control = (name, label, prepare) =>
  el("button", { type: "button", "data-do": name, click: () => change(prepare()) }, label);

/** Asks, and has it done when that is wanted. */
export async function change({ question, what, order }) {
  if (!(await confirmed(question, what, order.do))) return;
  say("Asking…");
  const answer = await post(order).catch((failure) => ({ said: `That could not be done: ${failure.message}` }));
  say(answer.said);
  wake();
}

/** A dialog with a question. Closing it in any way but by its button is a no; the focus returns where it was. */
function confirmed(question, what, verb) {
  const no = el("button", { value: "no", autofocus: true }, "Cancel");
  const yes = el("button", { value: "yes", class: "primary", "data-do": "confirm" }, capital(verb));
  const dialog = el("dialog", { "aria-labelledby": "question" },
    el("h2", { id: "question" }, question),
    el("p", {}, what),
    el("form", { method: "dialog" }, no, yes));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
  });
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);

/** Tells a result, until it is dismissed or another one comes. */
function say(message) {
  text(byId("said"), message);
}

byId("heard").addEventListener("click", () => say(""));
