// The list of samples. Each row is built once, and drawn again only if its sample has changed.

import { byId, el } from "./dom.js";
import { lacks } from "./model.js";

export const FILTERS = {
  all: ["All", () => true],
  lacking: ["No caption", lacks],
  changed: ["Changed", (one) => one.text !== one.base],
  noted: ["With findings", (one) => remarksOn(one).length > 0],
  proposed: ["Proposals", (one) => Boolean(one.proposal)],
  conflicts: ["Conflicts", (one) => one.theirs !== null],
};

export function remarksOn(one) {
  return [...(one.judged?.remarks ?? []), ...one.remarks].filter(({ severity }) => severity !== "info");
}

export class List {
  #rows = new Map();
  #shown = [];

  constructor(open) {
    this.open = open;
    byId("filter").replaceChildren(...Object.entries(FILTERS).map(([value, [label]]) => el("option", { value }, label)));
  }

  get shown() { return this.#shown; }

  show(samples) {
    const names = new Set(samples.map(({ name }) => name));
    for (const name of this.#rows.keys()) if (!names.has(name)) this.#rows.delete(name);
    for (const one of samples) if (!this.#rows.has(one.name)) this.#rows.set(one.name, this.#row(one));
    byId("list").replaceChildren(...samples.map(({ name }) => this.#rows.get(name).item));
    this.draw(samples);
    this.filter(samples);
  }

  draw(samples) {
    for (const one of samples) {
      const { first, marks } = this.#rows.get(one.name);
      const text = one.text.slice(0, 120) || "No caption yet";
      if (first.textContent !== text) first.textContent = text;
      first.classList.toggle("empty", !one.text);
      const found = marksOf(one), drawn = found.map(([word]) => word).join();
      if (marks.dataset.drawn !== drawn) {
        marks.dataset.drawn = drawn;
        marks.replaceChildren(...found.map(([word, kind]) => el("span", { class: `mark ${kind}` }, word)));
      }
    }
  }

  filter(samples) {
    const [, fits] = FILTERS[byId("filter").value];
    const words = byId("search").value.trim().toLocaleLowerCase();
    const has = (one) => !words || `${one.name}\n${one.source}\n${one.text}`.toLocaleLowerCase().includes(words);
    this.#shown = samples.filter((one) => fits(one) && has(one));
    const shown = new Set(this.#shown);
    for (const one of samples) this.#rows.get(one.name).item.hidden = !shown.has(one);
    byId("none").hidden = this.#shown.length > 0;
    this.count(samples);
  }

  count(samples) {
    for (const option of byId("filter").options) {
      const [label, fits] = FILTERS[option.value];
      const text = `${label} (${samples.filter(fits).length})`;
      if (option.textContent !== text) option.textContent = text;
    }
  }

  mark(one) {
    byId("list").querySelector("[aria-current]")?.removeAttribute("aria-current");
    const row = one && this.#rows.get(one.name);
    row?.button.setAttribute("aria-current", "true");
    row?.item.scrollIntoView({ block: "nearest" });
  }

  #row(one) {
    const first = el("span", { class: "first" }), marks = el("span", { class: "marks" });
    const button = el(
      "button", { type: "button", onclick: () => this.open(one.name) },
      // In this order: an image that has an address before it is lazy loads at once.
      el("img", { loading: "lazy", decoding: "async", alt: "", width: 80, height: 50, src: one.thumbnail }),
      el("span", { class: "words" }, el("span", { class: "name" }, short(one.name), one.kind === "video" && el("span", { class: "unseen" }, " clip")), first, marks),
    );
    return { item: el("li", {}, button), button, first, marks };
  }
}

export const short = (name) => name.replace(/^(images|videos)\//, "");

function marksOf(one) {
  const marks = [];
  if (one.theirs !== null) marks.push(["conflict", "bad"]);
  if (lacks(one)) marks.push(["no caption", "bad"]);
  else if (remarksOn(one).length) marks.push(["finding", "notice"]);
  if (one.text !== one.base) marks.push([one.isAccepted ? "accepted, unsaved" : "changed", "new"]);
  if (one.proposal && one.text !== one.proposal.text) marks.push(["proposal", "new"]);
  return marks;
}
