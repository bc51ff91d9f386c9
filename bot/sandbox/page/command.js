// The command form: one field per option, with choices, suggestions and files.

import { send } from "./api.js";
import { optionsOf } from "./components.js";
import { el } from "./dom.js";
import { FileField } from "./files.js";
import { ListBox } from "./listbox.js";
import { where } from "./state.js";

const INTEGER = 4;
const BOOLEAN = 5;
const NUMBER = 10;
const FILE = 11;
const SELECT_OF = { 6: 5, 7: 8, 8: 6, 9: 7 }; // option type -> select with the same choices
const SUGGEST_MS = 120;
const FEW = 3; // show up to this many optional fields at once

export class CommandForm {
  constructor(command, { run, cancel }) {
    this.command = command;
    this.cancel = cancel;
    this.fields = command.options.map((option) => new Field(option, this));
    this.trouble = el("p", { class: "trouble", role: "alert" });
    this.more = el("button", { class: "link more", type: "button", onclick: () => this.#showAll() });
    this.submit = el("button", { class: "button primary", type: "submit" }, "Run");
    this.node = el(
      "form", { class: "command", "aria-label": `/${command.name}`, noValidate: true },
      el("div", { class: "command-head" }, el("b", {}, `/${command.name}`), el("span", {}, command.description),
        el("button", { class: "icon", type: "button", "aria-label": "Cancel", onclick: cancel }, "×")),
      el("div", { class: "options" }, this.fields.map((field) => field.node)),
      this.more,
      this.trouble,
      el("div", { class: "row end" }, el("small", {}, "Enter to run · Tab for the next option · Esc to cancel"), this.submit),
    );
    this.#hideOptional();
    this.node.addEventListener("submit", (event) => { event.preventDefault(); this.#run(run); });
    this.node.addEventListener("keydown", (event) => { if (event.key === "Escape") cancel(); });
  }

  focus() {
    const open = this.fields.find((field) => field.option.required && field.isEmpty) ?? this.fields[0];
    (open?.control ?? this.submit).focus();
  }

  fill(given) {
    for (const field of this.fields) if (field.option.name in given) field.set(given[field.option.name]);
  }

  // Long forms show required fields first; a button reveals the rest.
  #hideOptional() {
    const optional = this.fields.filter((field) => !field.option.required);
    this.more.hidden = optional.length <= FEW;
    this.more.textContent = `Show ${optional.length} more options`;
    if (!this.more.hidden) for (const field of optional) field.node.hidden = true;
  }

  #showAll() {
    const first = this.fields.find((field) => field.node.hidden);
    for (const field of this.fields) field.node.hidden = false;
    this.more.hidden = true;
    first?.control.focus();
  }

  // Assigns dropped files to file options; returns whether any took one.
  attach(files) {
    const free = this.fields.filter((field) => field.files && !field.files.isFull);
    const last = this.fields.filter((field) => field.files).at(-1);
    const takers = free.length ? free : [last].filter(Boolean);
    takers.forEach((field, index) => { if (files[index]) field.files.add([files[index]]); });
    return takers.length > 0;
  }

  values() {
    const filled = this.fields.filter((field) => !field.files && !field.isEmpty);
    return Object.fromEntries(filled.map((field) => [field.option.name, field.value]));
  }

  async #run(run) {
    this.submit.disabled = true;
    this.trouble.textContent = "";
    const files = this.fields.flatMap((field) => (field.files?.files ?? []).map((file) => [field.option.name, file]));
    try {
      await run(this.command.name, this.values(), files);
    } catch (error) { this.trouble.textContent = error.message; }
    this.submit.disabled = false;
  }
}

// discord.py fills a missing description with dots; hide them.
function described({ description, min_value: low, max_value: high }) {
  const range = low === undefined && high === undefined ? "" : `${low ?? "…"} to ${high ?? "…"}`;
  return [/^(…|\.*)$/.test(description ?? "") ? "" : description, range].filter(Boolean).join(" · ");
}

class Field {
  #value = "";
  #timer = 0;
  #asked = 0;

  constructor(option, form) {
    this.option = option;
    this.form = form;
    if (option.type === FILE) this.#makeFile();
    else this.#makeInput();
    const id = this.control.id;
    this.node = el(
      "div", { class: `option ${option.required ? "required" : ""}` },
      el("label", { for: id }, option.name, option.required && el("span", { class: "needed", title: "required" }, " *")),
      this.body, el("small", { id: `${id}-help` }, described(option)),
    );
    this.control.setAttribute("aria-describedby", `${id}-help`);
  }

  #makeFile() {
    // Move on once a file is chosen, so that Enter does not reopen the picker.
    this.files = new FileField({ label: "Choose or drop a file", onchange: () => { if (this.files.isFull) this.#next(); } });
    this.control = this.files.button;
    this.control.id = `option-${this.option.name}`;
    this.control.setAttribute("aria-label", `${this.option.name}: choose or drop a file`);
    this.body = this.files.node;
  }

  #makeInput() {
    const isNumber = this.option.type === INTEGER || this.option.type === NUMBER;
    this.control = el("input", {
      id: `option-${this.option.name}`, type: "text", autocomplete: "off", spellcheck: false,
      inputMode: isNumber ? "decimal" : "text", "aria-required": String(Boolean(this.option.required)),
    });
    this.list = new ListBox(this.control, { id: `list-${this.option.name}`, label: this.option.name, pick: (item) => this.#pick(item) });
    this.body = el("span", { class: "combo" }, this.control, this.list.node);
    this.control.addEventListener("input", () => { this.#value = this.control.value; this.#suggest(); });
    this.control.addEventListener("focus", () => this.#suggest());
    this.control.addEventListener("keydown", (event) => this.#key(event));
  }

  get isEmpty() {
    return this.files ? !this.files.files.length : !this.control.value.trim();
  }

  get value() {
    return this.#value;
  }

  set(text) {
    if (this.files) return;
    this.node.hidden = false;
    this.control.value = text;
    this.#value = text;
  }

  #key(event) {
    if (this.list.key(event)) {
      if (event.key === "Tab") this.#next();
    }
  }

  #next() {
    const all = this.form.fields.filter((field) => !field.node.hidden).map((field) => field.control);
    (all[all.indexOf(this.control) + 1] ?? this.form.submit).focus();
  }

  #pick({ label, value }) {
    this.control.value = label;
    this.#value = value;
  }

  // Choices are local; suggestions are requested when typing pauses, and stale replies are ignored.
  #suggest() {
    const typed = this.control.value.toLowerCase();
    const known = this.#known();
    if (known) {
      const exact = known.some((item) => item.label.toLowerCase() === typed);
      return this.list.show(known.filter((item) => exact || item.label.toLowerCase().includes(typed)));
    }
    if (!this.option.autocomplete) return undefined;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), SUGGEST_MS);
    return undefined;
  }

  #known() {
    const { type, choices } = this.option;
    if (choices?.length) return choices.map(({ name, value }) => ({ label: name, value }));
    if (type === BOOLEAN) return ["True", "False"].map((label) => ({ label, value: label.toLowerCase() }));
    if (type in SELECT_OF) return optionsOf({ type: SELECT_OF[type] });
    return null;
  }

  async #ask() {
    const ask = (this.#asked += 1);
    const fields = { ...where(), name: this.form.command.name, option: this.option.name, typed: this.control.value, options: this.form.values() };
    try {
      const { choices } = await send("autocomplete", fields);
      if (ask === this.#asked) this.list.show(choices.map(({ name, value }) => ({ label: name, value })), "No suggestions");
    } catch (error) { this.form.trouble.textContent = error.message; }
  }
}
