// Changes to many captions at once. Each says first how many captions it changes.

import { byId } from "./dom.js";

export function plural(count, noun) {
  return count === 1 ? `1 ${noun}` : `${count.toLocaleString()} ${noun}s`;
}

// Asks a question in a dialog, and returns whether the answer is yes.
export function ask(title, text, yes) {
  const dialog = byId("asking");
  byId("asking-title").textContent = title;
  byId("asking-text").textContent = text;
  byId("asking-yes").textContent = yes;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

const OPTIONS = ["find", "with", "same-case", "whole-words", "only-shown"];

// Search and replace: `samples` and `shown` return those to search.
export class Replacing {
  constructor(model, shown) {
    this.model = model;
    this.shown = shown;
    for (const id of OPTIONS) byId(id).addEventListener("input", () => this.#count());
    byId("replacing").addEventListener("close", () => {
      if (byId("replacing").returnValue === "apply") this.model.change(this.#edits());
    });
  }

  open() {
    byId("replacing").returnValue = "cancel";
    byId("replacing").showModal();
    byId("find").select();
    this.#count();
  }

  #pattern() {
    const text = byId("find").value;
    if (!text) return null;
    const plain = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const word = byId("whole-words").checked ? `(?<![\\p{L}\\p{N}_])${plain}(?![\\p{L}\\p{N}_])` : plain;
    return new RegExp(word, byId("same-case").checked ? "gu" : "giu");
  }

  #scope() {
    return byId("only-shown").checked ? this.shown() : this.model.samples;
  }

  #edits() {
    const pattern = this.#pattern(), text = byId("with").value;
    return pattern ? this.#scope().map((one) => [one, one.text.replace(pattern, () => text)]) : [];
  }

  #count() {
    const pattern = this.#pattern();
    const found = pattern ? this.#scope().map((one) => [...one.text.matchAll(pattern)].length).filter(Boolean) : [];
    const places = found.reduce((sum, one) => sum + one, 0);
    byId("count").textContent = pattern ? `${plural(places, "place")} in ${plural(found.length, "caption")}` : "";
    byId("apply").disabled = !places;
    byId("apply").textContent = places ? `Replace in ${plural(found.length, "caption")}` : "Replace";
  }
}
