// The composer: messages with files, and slash commands.

import { send } from "./api.js";
import { CommandForm } from "./command.js";
import { byId, el } from "./dom.js";
import { FileField } from "./files.js";
import { ListBox } from "./listbox.js";
import { insertMention, mentionsFor, withMentions } from "./mentions.js";
import { channelName, displayName, state, where } from "./state.js";

const CHAT_INPUT = 1;
const GROUPS = [1, 2]; // option types: sub-command, sub-command group

// All runnable commands by full name, e.g. "dataset add".
function runnable() {
  const found = [];
  const visit = (name, node) => {
    const nested = (node.options ?? []).filter((option) => GROUPS.includes(option.type));
    if (nested.length) for (const one of nested) visit(`${name} ${one.name}`, one);
    else found.push({ name, description: node.description, options: node.options ?? [] });
  };
  for (const command of state.commands) if (command.type === CHAT_INPUT) visit(command.name, command);
  return found.sort((a, b) => a.name.localeCompare(b.name));
}

export class Composer {
  #form = null;

  constructor(root, { sent }) {
    this.root = root;
    this.sent = sent;
    this.files = new FileField({ most: 10, label: "+", onchange: () => this.#fit() });
    this.files.button.setAttribute("aria-label", "Attach files");
    this.files.button.title = "Attach files";
    this.box = el("textarea", { rows: 1, "aria-label": "Message", disabled: true });
    this.trouble = el("p", { class: "trouble", role: "alert" });
    this.pending = el("div", { class: "pending", "aria-live": "polite" });
    this.list = new ListBox(this.box, { id: "commands", label: "Suggestions", pick: (item) => this.#take(item) });
    this.slot = el("div", { class: "slot" });
    this.plain = el("div", { class: "plain" }, this.files.button, this.box, this.files.input, el("button", { class: "send", type: "button", "aria-label": "Send", onclick: () => this.#post() }, "➤"));
    root.append(this.pending, this.trouble, this.list.node, this.slot, this.files.list, this.plain);
    this.box.addEventListener("input", () => { this.#fit(); this.#suggest(); });
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) this.attach([...event.clipboardData.files]);
    });
  }

  focus() {
    if (window.matchMedia("(pointer: fine)").matches) (this.#form ?? this.box).focus();
  }

  refresh() {
    const name = `${state.channel.parent_id || state.channel.recipients ? "" : "#"}${channelName(state.channel)}`;
    const hint = window.innerWidth > 720 ? ` as ${displayName(state.user)} – type / for commands` : "";
    this.box.disabled = false; // the target channel is known now
    this.box.placeholder = `Message ${name}${hint}`;
    const place = `${state.user.id} ${state.channel.id}`;
    if (place !== this.place) {
      this.place = place;
      this.pending.replaceChildren();
      this.#close();
    }
    this.#suggest();
  }

  attach(files) {
    if (!this.#form?.attach(files)) this.files.add(files);
    this.focus();
  }

  #fit() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight, 180)}px`;
    this.root.classList.toggle("has-files", this.files.files.length > 0);
  }

  #suggest() {
    this.trouble.textContent = "";
    const text = this.box.value;
    if (!text.startsWith("/")) return this.list.show(mentionsFor(this.box) ?? []);
    const given = Object.fromEntries([...text.matchAll(/ ([\w-]+):(?:"([^"]*)"|(\S+))/g)].map(([, name, quoted, plain]) => [name, quoted ?? plain]));
    const typed = text.slice(1).replace(/ [\w-]+:.*$/, "").trim().toLowerCase();
    const items = runnable()
      .filter(({ name }) => name.includes(typed))
      .sort((a, b) => Number(b.name.startsWith(typed)) - Number(a.name.startsWith(typed)))
      .map((command) => ({ label: `/${command.name}`, detail: command.description, command, given }));
    this.list.show(items, "No matching commands");
  }

  #take(item) {
    if (item.command) this.#open(item.command, item.given);
    else insertMention(this.box, item);
  }

  #key(event) {
    if (event.isComposing || this.list.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#post();
    } else if (event.key === "ArrowUp" && !this.box.value) {
      event.preventDefault();
      [...byId("log").querySelectorAll(".message")].at(-1)?.focus();
    }
  }

  async #post() {
    const content = this.box.value.trim();
    if (!content && !this.files.files.length) return;
    if (content.startsWith("/")) {
      this.trouble.textContent = "Unknown command. Type / to see all commands.";
      return;
    }
    try {
      await send("post", { ...where(), content: withMentions(content) }, this.files.files.map((file) => ["files", file]));
      this.#clear();
    } catch (error) { this.trouble.textContent = error.message; }
  }

  #clear() {
    this.box.value = "";
    this.files.clear();
    this.trouble.textContent = "";
    this.list.hide();
    this.#fit();
  }

  #open(command, given) {
    const files = this.files.files;
    this.#clear();
    this.#form = new CommandForm(command, { run: (...call) => this.#run(...call), cancel: () => this.#close(true) });
    this.#form.fill(given);
    if (files.length) this.#form.attach(files);
    this.slot.replaceChildren(this.#form.node);
    this.root.classList.add("commanding");
    this.#form.focus();
  }

  #close(refocus = false) {
    this.#form = null;
    this.slot.replaceChildren();
    this.root.classList.remove("commanding");
    if (refocus) this.box.focus();
  }

  async #run(name, options, files) {
    const waiting = el("p", {}, el("span", { class: "dots", "aria-hidden": "true" }), `Sending /${name}…`);
    this.pending.append(waiting);
    try {
      const answer = send("command", { ...where(), name, options }, files);
      const form = this.#form;
      const outcome = await answer;
      if (this.#form === form) this.#close(true);
      if (outcome.status === "failed") this.#failed(name);
      this.sent(outcome);
    } finally { waiting.remove(); }
  }

  #failed(name) {
    const note = el(
      "p", { class: "failed", role: "alert" }, el("b", {}, `/${name}`), " The application did not respond. ",
      el("button", { class: "link", onclick: () => note.remove() }, "Dismiss"),
    );
    this.pending.append(note);
  }
}
