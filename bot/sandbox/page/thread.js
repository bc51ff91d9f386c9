// The dialog that starts a thread; it suggests a name from the message.

import { Refusal, send } from "./api.js";
import { titleOf } from "./components.js";
import { byId, el } from "./dom.js";
import { where } from "./state.js";

const LONGEST = 100;

function suggestion(message) {
  const text = titleOf(message);
  return text.replace(/<[^>]*>|[*_`~|#]/g, "").trim().split("\n")[0].slice(0, LONGEST);
}

export function startThread(message, openThread) {
  const dialog = byId("modal");
  const name = el("input", { type: "text", maxLength: LONGEST, required: true, value: suggestion(message) });
  const trouble = el("p", { class: "trouble", role: "alert" });
  const form = el(
    "form", { method: "dialog" },
    el("h2", { id: "modal-title" }, "Start a thread"),
    el("label", { class: "field" }, el("span", { class: "label" }, "Name"), name),
    trouble,
    el("div", { class: "row end" },
      el("button", { class: "button secondary", type: "button", onclick: () => dialog.close() }, "Cancel"),
      el("button", { class: "button primary", type: "submit" }, "Start")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const thread = await send("thread", { ...where(), message: message.id, name: name.value });
      dialog.close();
      openThread(thread.id);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      trouble.textContent = error.message;
    }
  });
  dialog.replaceChildren(form);
  dialog.showModal();
  name.select();
}
