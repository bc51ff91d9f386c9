// One message.

import { send } from "./api.js";
import { drawComponents, titleOf } from "./components.js";
import { local } from "./attachment.js";
import { bytes, clock, el } from "./dom.js";
import { drawEmbed } from "./embed.js";
import { markdown } from "./markdown.js";
import { concernsMe, displayName, names, state, where } from "./state.js";
import { startThread } from "./thread.js";

const EPHEMERAL = 1 << 6;
const LOADING = 1 << 7;
const MESSAGE_MENU = 3;
const ANSWER_MS = 15 * 60 * 1000; // a deferred answer can be filled for this long

export function drawMessage(message, actions) {
  const isEphemeral = Boolean(message.flags & EPHEMERAL);
  const classes = ["message"];
  if (actions.isGrouped) classes.push("grouped");
  if (isEphemeral) classes.push("ephemeral");
  if (concernsMe(message)) classes.push("for-me");
  const trouble = el("p", { class: "trouble", role: "alert", hidden: true });
  const fail = (text) => { trouble.textContent = text; trouble.hidden = !text; };
  return el(
    "article",
    { class: classes.join(" "), "data-message": message.id, tabIndex: -1, "aria-label": `${displayName(message.author)}, ${clock(message.timestamp)}` },
    origin(message, actions),
    el("div", { class: "gutter" }, actions.isGrouped ? el("time", { class: "side-time" }, clock(message.timestamp)) : avatar(message.author)),
    el(
      "div", { class: "body" },
      !actions.isGrouped && heading(message),
      content(message),
      message.embeds.map((embed) => drawEmbed(embed, names, local)),
      files(message),
      drawComponents(message, { ...actions, fail }),
      thread(message, actions),
      trouble,
      isEphemeral && notice(actions),
    ),
    tools(message, actions, fail),
  );
}

export function avatar(user) {
  const name = displayName(user);
  const hue = [...user.id].reduce((sum, digit) => sum + Number(digit) * 37, 0) % 6;
  return el("span", { class: `avatar hue-${hue} ${user.bot ? "bot" : ""}`, "aria-hidden": "true" }, user.bot ? "" : name.slice(0, 1));
}

function origin(message, { find, go }) {
  if (message.interaction) {
    const { user, name } = message.interaction;
    const isMenu = state.commands.some((command) => command.type === MESSAGE_MENU && command.name === name);
    return el("p", { class: "origin" }, el("b", {}, displayName(user)), " used ", el("code", {}, (isMenu ? "" : "/") + name));
  }
  if (!message.message_reference) return null;
  const earlier = find(message.message_reference.message_id);
  const title = earlier && titleOf(earlier);
  if (!title) return el("p", { class: "origin" }, "In reply to an earlier message");
  return el("p", { class: "origin" }, "In reply to ", el("button", { class: "link", onclick: () => go(earlier.id) }, title.slice(0, 80)));
}

function heading(message) {
  return el(
    "h3", {},
    el("span", { class: "author" }, displayName(message.author)),
    message.author.bot && el("span", { class: "tag" }, "BOT"),
    el("time", { datetime: message.timestamp, title: new Date(message.timestamp).toLocaleString() }, clock(message.timestamp)),
    message.pinned && el("span", { class: "tag quiet" }, "pinned"),
  );
}

function content(message) {
  if (message.flags & LOADING && Date.now() - new Date(message.timestamp) > ANSWER_MS) {
    return el("p", { class: "trouble" }, "The application did not respond.");
  }
  if (message.flags & LOADING) {
    return el("p", { class: "thinking" }, el("span", { class: "dots", "aria-hidden": "true" }), `${displayName(message.author)} is thinking…`);
  }
  if (!message.content) return null;
  const node = markdown(message.content, names);
  if (message.edited_timestamp) node.append(edited(message));
  return node;
}

function edited(message) {
  return el("span", { class: "edited", title: new Date(message.edited_timestamp).toLocaleString() }, "(edited)");
}

function notice({ hide }) {
  return el("p", { class: "notice" }, "Only you can see this · ", el("button", { class: "link", onclick: hide }, "Dismiss"));
}

function files(message) {
  return message.attachments.length ? el("div", { class: "files" }, message.attachments.map(file)) : null;
}

function file(attachment) {
  const href = local(attachment.url);
  const kind = attachment.content_type ?? "";
  if (kind.startsWith("image/") && kind !== "image/svg+xml") {
    const size = { width: attachment.width, height: attachment.height };
    return el("a", { href, target: "_blank", class: "picture" }, el("img", { src: href, alt: attachment.description ?? attachment.filename, ...size }));
  }
  if (kind.startsWith("video/")) {
    return el("video", { src: href, controls: true, preload: "metadata", "aria-label": attachment.filename });
  }
  if (kind.startsWith("audio/")) return el("audio", { src: href, controls: true });
  return el(
    "a", { href, class: "file", download: attachment.filename },
    el("span", { class: "file-icon", "aria-hidden": "true" }),
    el("span", {}, el("b", {}, attachment.filename), el("small", {}, bytes(attachment.size))),
  );
}

function thread(message, { openThread }) {
  if (!message.thread || isStarter(message)) return null;
  const open = state.guild.threads.find((one) => one.id === message.thread.id) ?? message.thread;
  return el(
    "button", { class: "thread-link", onclick: () => openThread(open.id) },
    el("b", {}, open.name), el("span", {}, "Open thread ›"),
  );
}

// The message the open thread was started on; it belongs to the parent channel.
const isStarter = (message) => message.id === state.channel.id;

function canHaveThread(message) {
  return !message.thread && !(message.flags & EPHEMERAL) && state.guild.channels.some((one) => one.id === message.channel_id);
}

// The message's action menu.
function tools(message, { sent, openThread }, fail) {
  const commands = state.commands.filter((command) => command.type === MESSAGE_MENU);
  const takesThread = canHaveThread(message);
  if (isStarter(message) || message.flags & LOADING || !(takesThread || commands.length)) return null;
  const run = async (command) => {
    details.open = false;
    fail("");
    try {
      const outcome = await send("menu", { ...where(), command: command.name, message: message.id });
      if (outcome.status === "failed") fail("The application did not respond.");
      sent(outcome);
    } catch (error) { fail(error.message); }
  };
  const details = el(
    "details", { class: "tools" },
    el("summary", { "aria-label": "Commands for this message", title: "Commands for this message" }, "⋯"),
    el("div", { class: "menu", role: "menu" }, 
      takesThread && el("button", { role: "menuitem", onclick: () => { details.open = false; startThread(message, openThread); } }, "Start a thread"),
      commands.map((command) => el("button", { role: "menuitem", onclick: () => run(command) }, command.name))),
  );
  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && details.open) {
      details.open = false;
      details.querySelector("summary").focus();
      event.stopPropagation();
    }
  });
  details.addEventListener("focusout", (event) => {
    if (!details.contains(event.relatedTarget)) details.open = false;
  });
  return details;
}
