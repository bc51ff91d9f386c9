// Page state: users, workspaces, the current user and channel, unread channels.

import { get } from "./api.js";

export const state = {
  users: [], guilds: [], dms: [], user: null, guild: null, channel: null,
  commands: [], unread: new Map(),
};

const remembered = (key) => sessionStorage.getItem(`sandbox-${key}`);
const remember = (key, value) => sessionStorage.setItem(`sandbox-${key}`, value);

export async function loadWorld() {
  const world = await get("world", { user: state.user?.id ?? remembered("user") ?? "" });
  Object.assign(state, { users: world.users, guilds: world.guilds, dms: world.dms });
  const me = state.user?.id ?? remembered("user");
  state.user = people().find((user) => user.id === me) ?? people()[0];
  const guildId = state.guild?.id ?? remembered("guild");
  state.guild = state.guilds.find((guild) => guild.id === guildId) ?? state.guilds[0];
  const channelId = state.channel?.id ?? remembered("channel");
  const found = allChannels().find((channel) => channel.id === channelId);
  // If the last channel was deleted, fall back to another workspace.
  if (!found && !state.guild.channels.length) state.guild = state.guilds.find((guild) => guild.channels.length);
  state.channel = found ?? state.guild.channels[0];
}

export function people() {
  return state.users.filter((user) => !user.bot);
}

export async function loadCommands() {
  state.commands = (await get("commands", where())).commands;
}

export function where() {
  return { user: state.user.id, channel: state.channel.id };
}

export function choose(key, value) {
  state[key] = value;
  remember(key, value.id);
}

export function allChannels() {
  return [...state.guild.channels, ...state.guild.threads, ...state.dms];
}

export const displayName = (user) => user.global_name ?? user.username;

export function channelName(channel) {
  if (channel.recipients) return displayName(state.users.find((user) => user.bot) ?? channel.recipients[0]);
  return channel.name;
}

// Names for ids in text, passed to the markdown renderer.
export const names = {
  user: (id) => displayName(state.users.find((user) => user.id === id) ?? { username: "unknown" }),
  role: (id) => state.guild.roles.find((role) => role.id === id)?.name.replace(/^@/, "") ?? "unknown",
  channel: (id) => allChannels().find((channel) => channel.id === id)?.name ?? "unknown",
  isMe: (id) => id === state.user.id,
  hasRole: (id) => state.guild.my_roles.includes(id),
};

export function concernsMe(message) {
  return message.mention_everyone
    || message.mentions.some((user) => user.id === state.user.id)
    || message.mention_roles.some(names.hasRole);
}
