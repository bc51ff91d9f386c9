// Workspace, channels with threads, and the current user.

import { byId, el } from "./dom.js";
import { channelName, displayName, people, state } from "./state.js";

export function drawSidebar({ open, switchGuild, switchUser }) {
  const guilds = byId("guild");
  guilds.replaceChildren(...state.guilds.map((guild) => option(guild.id, guild.name + news(guild), guild === state.guild)));
  guilds.onchange = () => switchGuild(state.guilds.find((guild) => guild.id === guilds.value));
  const users = byId("user");
  users.replaceChildren(...people().map((user) => option(user.id, displayName(user), user === state.user)));
  users.onchange = () => switchUser(users.value);
  byId("channels").replaceChildren(section("Channels", rooms(open)), direct(open));
}

// Marks other workspaces that have unread messages.
function news(guild) {
  const rooms = [...guild.channels, ...guild.threads];
  return guild !== state.guild && rooms.some((room) => state.unread.has(room.id)) ? " •" : "";
}

function option(value, text, selected) {
  return el("option", { value, selected }, text);
}

function section(title, items) {
  return el("section", {}, el("h2", {}, title), el("ul", {}, items));
}

function direct(open) {
  if (!state.dms.length) return "";
  return section("Direct messages", state.dms.map((channel) => entry(channel, "@", open)));
}

function rooms(open) {
  return state.guild.channels.flatMap((channel) => {
    const threads = state.guild.threads.filter((thread) => thread.parent_id === channel.id);
    const shown = threads.filter((thread) => !thread.thread_metadata.archived || thread.id === state.channel.id);
    return [entry(channel, "#", open), ...shown.map((thread) => entry(thread, "↳", open, "thread"))];
  });
}

function entry(channel, mark, open, kind = "") {
  const unread = state.unread.get(channel.id);
  const isOpen = channel.id === state.channel.id;
  const button = el(
    "button",
    { class: `channel ${kind} ${unread ?? ""}`, "aria-current": isOpen ? "page" : undefined, onclick: () => open(channel.id) },
    el("span", { class: "hash", "aria-hidden": "true" }, mark),
    el("span", { class: "name" }, channelName(channel)),
    unread && el("span", { class: "dot", "aria-label": unread === "mention" ? "mentions you" : "unread" }),
  );
  return el("li", {}, button);
}
