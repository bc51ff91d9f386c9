// The message log: ordering, grouping by author, scrolling.

import { day, el } from "./dom.js";
import { drawMessage } from "./message.js";

const GROUP_MS = 7 * 60 * 1000;

export class Log {
  #messages = new Map();

  constructor(root, newest, actions) {
    this.root = root;
    this.newest = newest;
    this.actions = actions;
    newest.addEventListener("click", () => this.#toEnd());
    root.addEventListener("scroll", () => { if (this.#isAtEnd()) newest.hidden = true; });
    root.addEventListener("keydown", (event) => this.#move(event));
    // Stay at the end when the composer grows.
    let wasAtEnd = true;
    root.addEventListener("scroll", () => { wasAtEnd = this.#isAtEnd(); });
    new ResizeObserver(() => { if (wasAtEnd) this.#toEnd(); }).observe(root);
  }

  show(messages) {
    this.#messages = new Map(messages.map((message) => [message.id, message]));
    this.#draw();
    this.#toEnd();
  }

  // The text a screen reader announces for a new message.
  textOf(id) {
    const node = this.#node(id);
    return node ? `${node.getAttribute("aria-label")}: ${node.querySelector(".body").innerText.slice(0, 300)}` : "";
  }

  put(message) {
    const wasAtEnd = this.#isAtEnd();
    const old = this.#node(message.id);
    // Do not redraw under an open select or menu; redraw when it loses focus.
    if (old?.matches(":has(select:focus), :has(details[open])")) {
      this.#messages.set(message.id, message);
      old.addEventListener("focusout", () => setTimeout(() => this.#putLatest(message.id)), { once: true });
      return;
    }
    this.#messages.set(message.id, message);
    if (old) {
      const focused = old.contains(document.activeElement) ? document.activeElement.dataset.customId : null;
      const fresh = this.#drawOne(message);
      old.replaceWith(fresh);
      if (focused) fresh.querySelector(`[data-custom-id="${CSS.escape(focused)}"]`)?.focus();
    } else {
      this.#separate(message);
      this.root.append(this.#drawOne(message));
    }
    if (wasAtEnd) this.#toEnd();
    else if (!old) this.newest.hidden = false;
  }

  #putLatest(id) {
    const latest = this.#messages.get(id);
    if (latest) this.put(latest);
  }

  remove(id) {
    this.#messages.delete(id);
    this.#draw();
  }

  #draw() {
    this.root.replaceChildren();
    if (!this.#messages.size) this.root.append(welcome());
    for (const message of this.#messages.values()) {
      this.#separate(message);
      this.root.append(this.#drawOne(message));
    }
  }

  #separate(message) {
    this.root.querySelector(".welcome")?.remove();
    const before = this.#before(message.id);
    if (!before || day(before.timestamp) !== day(message.timestamp)) {
      this.root.append(el("div", { class: "day", role: "separator" }, el("span", {}, day(message.timestamp))));
    }
  }

  #drawOne(message) {
    const before = this.#before(message.id);
    const isGrouped = before && before.author.id === message.author.id
      && !message.interaction && !message.message_reference
      && (before.flags & 64) === (message.flags & 64)
      && day(before.timestamp) === day(message.timestamp)
      && new Date(message.timestamp) - new Date(before.timestamp) < GROUP_MS;
    const hide = () => this.remove(message.id);
    const find = (id) => this.#messages.get(id);
    const go = (id) => { this.#node(id)?.scrollIntoView({ block: "start" }); this.#node(id)?.focus(); };
    return drawMessage(message, { ...this.actions, isGrouped, hide, find, go });
  }

  #before(id) {
    const ids = [...this.#messages.keys()];
    return this.#messages.get(ids[ids.indexOf(id) - 1]);
  }

  #node(id) {
    return this.root.querySelector(`[data-message="${id}"]`);
  }

  #isAtEnd() {
    return this.root.scrollHeight - this.root.scrollTop - this.root.clientHeight < 80;
  }

  #toEnd() {
    this.newest.hidden = true;
    this.root.scrollTop = this.root.scrollHeight;
    // Images that load later make the log longer.
    for (const media of this.root.querySelectorAll("img, video")) {
      media.addEventListener(media.tagName === "IMG" ? "load" : "loadedmetadata", () => {
        this.root.scrollTop = this.root.scrollHeight;
      }, { once: true });
    }
  }

  // Arrow keys move between messages; Escape returns to the composer.
  #move(event) {
    if (event.key === "Escape") return this.actions.write();
    if (!["ArrowUp", "ArrowDown"].includes(event.key) || event.target.matches("select, input")) return;
    const all = [...this.root.querySelectorAll(".message")];
    const here = all.indexOf(document.activeElement.closest(".message"));
    const next = here < 0 ? all.at(-1) : all[here + (event.key === "ArrowUp" ? -1 : 1)];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

function welcome() {
  return el(
    "div", { class: "welcome" },
    el("h2", {}, "Nothing here yet"),
    el("p", {}, "Type ", el("kbd", {}, "/"), " to see what the bot can do, or drop a file to attach it."),
  );
}
