// A suggestion list for an input, following the ARIA combobox pattern.

import { el } from "./dom.js";

export class ListBox {
  #items = [];
  #active = 0;

  constructor(input, { id, label, pick }) {
    this.input = input;
    this.pick = pick;
    this.id = id;
    this.node = el("ul", { class: "listbox", role: "listbox", id, "aria-label": label, hidden: true });
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-controls", id);
    input.setAttribute("aria-expanded", "false");
    input.setAttribute("aria-autocomplete", "list");
    input.addEventListener("blur", () => this.hide());
  }

  get isOpen() {
    return !this.node.hidden;
  }

  show(items, empty = "") {
    this.#items = items;
    this.#active = 0;
    if (document.activeElement !== this.input || (!items.length && !empty)) return this.hide();
    this.node.replaceChildren(...items.map((item, index) => this.#row(item, index)));
    if (!items.length) this.node.append(el("li", { class: "empty" }, empty));
    this.node.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#mark(0);
  }

  hide() {
    this.node.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  // Returns whether the list handled the key.
  key(event) {
    if (!this.isOpen) return false;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && this.#items.length) {
      this.#mark((this.#active + steps[event.key] + this.#items.length) % this.#items.length);
    } else if ((event.key === "Enter" || event.key === "Tab") && this.#items.length && !event.shiftKey) {
      this.#choose(this.#active);
    } else if (event.key === "Escape") this.hide();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #row(item, index) {
    return el(
      "li",
      // pointerdown, not click: the input must keep the focus.
      { role: "option", id: `${this.id}-${index}`, onpointerdown: (event) => { event.preventDefault(); this.#choose(index); } },
      el("span", { class: "option-label" }, item.label), item.detail && el("span", { class: "option-detail" }, item.detail),
    );
  }

  #mark(index) {
    this.#active = index;
    const rows = [...this.node.querySelectorAll("[role=option]")];
    rows.forEach((row, at) => row.setAttribute("aria-selected", String(at === index)));
    rows[index]?.scrollIntoView({ block: "nearest" });
    if (rows[index]) this.input.setAttribute("aria-activedescendant", rows[index].id);
  }

  #choose(index) {
    const item = this.#items[index];
    this.hide();
    this.pick(item);
  }
}
