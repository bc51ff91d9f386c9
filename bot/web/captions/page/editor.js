// The open sample: its picture or clip, and its caption with what is to be said about it.

import { byId, el } from "./dom.js";
import { remarksOn, short } from "./list.js";

const isStill = matchMedia("(prefers-reduced-motion: reduce)");
const ORIGINS = { written: "written here", edited: "edited here", accepted: "an accepted proposal" };

export class Editor {
  one = null;
  #drawnMedia = "";

  constructor(model, { accept, refuse }) {
    this.model = model;
    this.accept = accept;
    this.refuse = refuse;
    const field = byId("caption");
    field.addEventListener("input", () => this.model.change([[this.one, field.value]], { isTyping: true }));
    field.addEventListener("scroll", () => { byId("marked").scrollTop = field.scrollTop; });
  }

  show(one) {
    this.one = one;
    byId("name").textContent = short(one.name);
    byId("facts").textContent = [
      `${one.width} × ${one.height}`, one.seconds && `${one.seconds.toFixed(1)} s`, !one.source.endsWith(short(one.name)) && `uploaded as ${one.source}`,
    ].filter(Boolean).join(" · ");
    if (this.#drawnMedia !== one.media) this.#media(one);
    this.draw();
  }

  draw() {
    const one = this.one, field = byId("caption");
    if (!one) return;
    if (field.value !== one.text) field.value = one.text;
    field.maxLength = this.model.limits.characters;
    this.#mark(one);
    const judged = one.judged;
    byId("tokens").textContent = [
      judged && `about ${judged.tokens} of ${this.model.limits.tokens} tokens (estimate)`,
      one.text === one.base && ORIGINS[one.origin],
    ].filter(Boolean).join(" · ");
    byId("tokens").classList.toggle("bad", judged?.tokens > this.model.limits.tokens);
    const others = one.remarks.filter(({ severity }) => severity === "info");
    byId("found").replaceChildren(...[...remarksOn(one), ...others].map(({ severity, text }) => el("li", { class: severity }, text)));
    this.#conflict(one);
    this.#proposal(one);
  }

  play() {
    const video = byId("media").querySelector("video");
    if (video?.paused) video.play().catch(() => {}); // it may be paused again before it has begun
    else video?.pause();
  }

  // The places of the trigger word are known once the server has judged the text.
  #mark(one) {
    const nodes = [];
    let at = 0;
    for (const [start, end] of one.judged?.trigger ?? []) {
      nodes.push(one.text.slice(at, start), el("mark", {}, one.text.slice(start, end)));
      at = end;
    }
    byId("marked").replaceChildren(...nodes, `${one.text.slice(at)}\n`);
    byId("marked").scrollTop = byId("caption").scrollTop;
  }

  #media(one) {
    this.#drawnMedia = one.media;
    const failed = () => byId("media").replaceChildren(el("p", { class: "small" }, "This file cannot be shown at the moment."));
    const shared = { src: one.media, onerror: failed };
    const node = one.kind === "image"
      ? el("img", { ...shared, alt: `Image ${short(one.name)}` })
      : el("video", { ...shared, poster: one.thumbnail, loop: true, muted: true, controls: true, playsInline: true, autoplay: !isStill.matches, "aria-label": `Clip ${short(one.name)}` });
    byId("media").style.backgroundImage = `url("${one.thumbnail}")`; // until the file has arrived
    byId("media").replaceChildren(node);
  }

  #conflict(one) {
    const box = byId("conflict"), theirs = one.theirs;
    box.hidden = theirs === null;
    if (theirs === null) { box.replaceChildren(); return; }
    const choose = (text) => { this.model.settle(one, text); byId("caption").focus(); };
    box.replaceChildren(
      el("p", {}, el("strong", {}, "Somebody else has changed this caption.")),
      el("div", { class: "sides" },
        el("div", {}, el("h3", {}, "Mine"), el("p", {}, one.text || "No caption")),
        el("div", {}, el("h3", {}, "Theirs"), el("p", {}, theirs || "No caption"))),
      el("div", { class: "row" },
        el("button", { class: "button secondary", onclick: () => choose(one.text) }, "Keep mine"),
        el("button", { class: "button secondary", onclick: () => choose(theirs) }, "Take theirs"),
        el("button", { class: "button secondary", onclick: () => choose([one.text, theirs].filter(Boolean).join("\n")) }, "Edit both")),
    );
  }

  #proposal(one) {
    const box = byId("proposal"), proposal = one.proposal;
    box.hidden = !proposal;
    box.replaceChildren(...(proposal ? [
      el("h3", {}, `Proposal of ${proposal.captioner}`),
      el("p", {}, proposal.text),
      el("div", { class: "row" },
        el("button", { class: "button primary", onclick: () => this.accept(), "aria-keyshortcuts": "Alt+A" }, "Accept"),
        el("button", { class: "button secondary", onclick: () => { this.accept(); byId("caption").focus(); } }, "Edit"),
        el("button", { class: "button secondary", onclick: () => this.refuse(), "aria-keyshortcuts": "Alt+R" }, "Refuse")),
    ] : []));
  }
}
