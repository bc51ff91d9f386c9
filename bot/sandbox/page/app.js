// The page: sidebar, message log, live updates.

import { Refusal, Stream, get } from "./api.js";
import { Composer } from "./composer.js";
import { byId, el } from "./dom.js";
import { Log } from "./log.js";
import { openModal } from "./modal.js";
import { drawSidebar } from "./sidebar.js";
import { allChannels, channelName, choose, concernsMe, loadCommands, loadWorld, people, state, where } from "./state.js";

const composer = new Composer(byId("composer"), { sent });
const log = new Log(byId("log"), byId("newest"), { sent, openThread: open, write: () => composer.focus() });
const stream = new Stream((event) => inTurn(() => hear(event)), showState);
let typingTimer = 0;
let turn = Promise.resolve();

// Runs tasks one at a time, so a message that arrives during a reload is added after it, not lost.
function inTurn(task) {
  turn = turn.then(task).catch((error) => {
    // A refusal here means something was just deleted; its event will follow.
    if (!(error instanceof Refusal)) setTimeout(() => { throw error; });
  });
  return turn;
}

function draw() {
  drawSidebar({ open, switchGuild, switchUser });
  const isThread = state.channel.thread_metadata !== undefined;
  const name = channelName(state.channel);
  byId("title").replaceChildren(el("span", { class: "hash", "aria-hidden": "true" }, isThread ? "↳" : state.channel.recipients ? "@" : "#"), name);
  byId("topic").replaceChildren(isThread ? wayBack() : state.channel.topic ?? "");
  document.title = `${name} · Sandbox chat`;
}

function wayBack() {
  const parent = allChannels().find((channel) => channel.id === state.channel.parent_id);
  return parent ? el("button", { class: "link", onclick: () => open(parent.id) }, `Thread in #${parent.name}`) : "Thread";
}

async function open(channelId) {
  if (!allChannels().some((one) => one.id === channelId)) await loadWorld();
  const channel = allChannels().find((one) => one.id === channelId);
  if (!channel) return;
  choose("channel", channel);
  state.unread.delete(channel.id);
  showMenu(false);
  await inTurn(refresh);
  composer.focus();
}

async function refresh() {
  draw();
  const { messages } = await get("messages", { ...where(), starter: 1 });
  await loadCommands();
  log.show(messages);
  composer.refresh();
}

async function switchGuild(guild) {
  choose("guild", guild);
  choose("channel", guild.channels[0]);
  await inTurn(refresh);
}

function switchUser(id) {
  choose("user", people().find((user) => user.id === id));
  state.unread.clear();
  stream.follow(id);
}

// Called after every interaction; the bot may have opened a modal.
function sent(outcome) {
  if (outcome.modal) openModal(byId("modal"), outcome, sent);
}

async function hear(event) {
  if (event.kind === "ready") {
    showState("live");
    await loadWorld();
    await refresh();
  } else if (event.kind.startsWith("message_")) hearMessage(event);
  else if (event.kind.startsWith("thread_") || event.kind.startsWith("channel_")) {
    const before = state.channel.id;
    await loadWorld();
    if (state.channel.id === before) draw();
    else await refresh(); // the open one was deleted
  } else if (event.kind === "commands") {
    await loadCommands();
    composer.refresh();
  } else if (event.kind === "typing") showTyping(event);
}

async function hearMessage({ kind, message }) {
  if (!allChannels().some((channel) => channel.id === message.channel_id)) await loadWorld();
  const isStarter = message.id === state.channel.id && kind !== "message_create";
  if (message.channel_id === state.channel.id || isStarter) {
    if (kind === "message_delete") log.remove(message.id);
    else log.put(message);
    if (kind === "message_create") {
      byId("typing").textContent = "";
      byId("announce").textContent = log.textOf(message.id);
    }
  } else if (kind === "message_create") {
    const before = state.unread.get(message.channel_id);
    state.unread.set(message.channel_id, before === "mention" || concernsMe(message) ? "mention" : "new");
    draw();
  }
}

function showTyping({ channel_id: channelId, user_id: userId }) {
  if (channelId !== state.channel.id) return;
  const user = state.users.find((one) => one.id === userId);
  byId("typing").textContent = `${user?.global_name ?? user?.username} is typing…`;
  clearTimeout(typingTimer);
  typingTimer = setTimeout(() => { byId("typing").textContent = ""; }, 8000);
}

function showState(name, text = "") {
  document.body.dataset.state = name;
  const texts = { live: "", lost: "Connection lost. Reconnecting…", refused: text };
  byId("status").textContent = texts[name];
}

function followDrops() {
  let depth = 0;
  const main = document.querySelector("main");
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  main.addEventListener("dragenter", (event) => { event.preventDefault(); mark(1); });
  main.addEventListener("dragleave", () => mark(-1));
  main.addEventListener("dragover", (event) => event.preventDefault());
  main.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-depth);
    composer.attach([...event.dataTransfer.files]);
  });
}

function showMenu(isOpen) {
  document.body.classList.toggle("menu-open", isOpen);
  byId("menu").setAttribute("aria-expanded", String(isOpen));
}

byId("menu").addEventListener("click", (event) => {
  event.stopPropagation();
  showMenu(!document.body.classList.contains("menu-open"));
});
document.querySelector("main").addEventListener("click", () => showMenu(false));
document.addEventListener("keydown", (event) => { if (event.key === "Escape") showMenu(false); });

followDrops();
try {
  await loadWorld();
  draw();
  stream.follow(state.user.id);
} catch (error) {
  showState("refused", error.message);
}
