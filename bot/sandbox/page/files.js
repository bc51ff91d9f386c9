// A file input: choose, drop, list, remove.

import { bytes, el } from "./dom.js";

export class FileField {
  files = [];

  constructor({ most = 1, label = "Choose a file", onchange = () => {} }) {
    this.most = most;
    this.onchange = onchange;
    this.input = el("input", { type: "file", multiple: most > 1, class: "hidden-file", tabIndex: -1, "aria-hidden": "true" });
    this.input.addEventListener("change", () => { this.add([...this.input.files]); this.input.value = ""; });
    this.list = el("span", { class: "chosen" });
    this.button = el("button", { type: "button", class: "choose", onclick: () => this.input.click() }, label);
    this.node = el("span", { class: "file-field" }, this.button, this.list, this.input);
    this.node.addEventListener("dragover", (event) => event.preventDefault());
    this.node.addEventListener("drop", (event) => {
      event.preventDefault();
      this.add([...event.dataTransfer.files]);
    });
  }

  get isFull() {
    return this.files.length >= this.most;
  }

  add(files) {
    this.files = [...this.files, ...files].slice(-this.most);
    this.draw();
  }

  clear() {
    this.files = [];
    this.draw();
  }

  draw() {
    this.list.replaceChildren(...this.files.map((file) => el(
      "span", { class: "chip" }, file.name, el("small", {}, bytes(file.size)),
      el("button", { type: "button", "aria-label": `Remove ${file.name}`, onclick: () => this.#remove(file) }, "×"),
    )));
    this.onchange();
  }

  #remove(file) {
    this.files = this.files.filter((one) => one !== file);
    this.draw();
    this.button.focus();
  }
}
