// Mentions: "@Ad" suggests Ada, and "@Ada" is sent as her id.

import { displayName, state } from "./state.js";

const TYPED = /(^|\s)@([^\s@]*)$/;

function everybody() {
  const users = state.users.map((user) => ({ name: displayName(user), mention: `<@${user.id}>`, detail: user.bot ? "bot" : "" }));
  const roles = state.guild.roles.filter((role) => role.mentionable).map((role) => ({ name: role.name, mention: `<@&${role.id}>`, detail: "role" }));
  return [...users, ...roles];
}

// The suggestions for the @name before the caret, or null.
export function mentionsFor({ value, selectionStart: caret }) {
  const match = TYPED.exec(value.slice(0, caret));
  if (!match) return null;
  const typed = match[2].toLowerCase();
  const start = caret - match[2].length - 1;
  return everybody()
    .filter(({ name }) => name.toLowerCase().startsWith(typed))
    .map(({ name, detail }) => ({ label: `@${name}`, detail, start, caret }));
}

export function insertMention(box, { label, start, caret }) {
  box.setRangeText(`${label} `, start, caret, "end");
}

// Longest names first, so that "@LoRA Bot" is not taken for a shorter one.
export function withMentions(text) {
  const known = everybody().sort((a, b) => b.name.length - a.name.length);
  const pattern = new RegExp(`(?<!\\S)@(${known.map(({ name }) => RegExp.escape?.(name) ?? name.replace(/[^\w\s]/g, "\\$&")).join("|")})(?![\\w-])`, "g");
  return text.replace(pattern, (_, name) => known.find((one) => one.name === name).mention);
}
