// Chat markdown to elements, never HTML text, so a message cannot inject markup.

import { el, moment } from "./dom.js";

const INLINE = [
  [/^``([^]+?)``|^`([^`\n]+)`/, (m) => el("code", {}, m[1] ?? m[2])],
  [/^\\([*_~|`>#\-\\<[])/, (m) => m[1]],
  [/^\*\*\*([^]+?)\*\*\*/, (m, inner) => el("strong", {}, el("em", {}, inner(m[1])))],
  [/^\*\*([^]+?)\*\*(?!\*)/, (m, inner) => el("strong", {}, inner(m[1]))],
  [/^__([^]+?)__(?!_)/, (m, inner) => el("u", {}, inner(m[1]))],
  [/^~~([^]+?)~~/, (m, inner) => el("s", {}, inner(m[1]))],
  [/^\|\|([^]+?)\|\|/, (m, inner) => spoiler(inner(m[1]))],
  [/^\*(?=\S)([^*]+?)\*(?!\*)/, (m, inner) => el("em", {}, inner(m[1]))],
  [/^_(?=\S)([^_]+?)_(?!\w)/, (m, inner) => el("em", {}, inner(m[1]))],
  [/^\[([^\]]+)\]\(<?(https?:\/\/[^\s)>]+)>?\)/, (m, inner) => link(m[2], inner(m[1]))],
  [/^<(https?:\/\/[^\s>]+)>/, (m) => link(m[1], m[1])],
  [/^https?:\/\/[^\s<]*[^\s<.,:;"')\]]/, (m) => link(m[0], m[0])],
  [/^<t:(-?\d+)(?::([tTdDfFR]))?>/, (m) => moment(Number(m[1]), m[2])],
  [/^<@!?(\d+)>/, (m, _, names) => mention(`@${names.user(m[1])}`, names.isMe(m[1]))],
  [/^<@&(\d+)>/, (m, _, names) => mention(`@${names.role(m[1])}`, names.hasRole(m[1]))],
  [/^<#(\d+)>/, (m, _, names) => mention(`#${names.channel(m[1])}`)],
  [/^<\/([^:>]+):\d+>/, (m) => mention(`/${m[1]}`)],
  [/^<a?(:\w+:)\d+>/, (m) => m[1]],
  [/^@(everyone|here)\b/, (m) => mention(m[0])],
];

const PLAIN = /^[^*_~|`<\\[@h]+|^h(?!ttps?:\/\/)|^[^]/;

function link(href, content) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, content);
}

function mention(text, isMine = false) {
  return el("span", { class: isMine ? "mention mine" : "mention" }, text);
}

function spoiler(content) {
  const node = el("button", { class: "spoiler", type: "button", "aria-label": "Hidden text, press to show" });
  node.append(el("span", {}, content));
  node.addEventListener("click", () => { node.classList.add("open"); node.removeAttribute("aria-label"); });
  return node;
}

export function inline(text, names) {
  const nodes = [];
  const inner = (part) => inline(part, names);
  while (text) {
    const rule = INLINE.find(([pattern]) => pattern.test(text));
    const match = rule ? rule[0].exec(text) : PLAIN.exec(text);
    nodes.push(rule ? rule[1](match, inner, names) : match[0]);
    text = text.slice(match[0].length);
  }
  return nodes;
}

const BLOCKS = [
  [/^(#{1,3})\s+(.+)/, (m, names) => el("p", { class: `h${m[1].length}`, role: "heading", "aria-level": String(m[1].length + 2) }, inline(m[2], names))],
  [/^-#\s+(.+)/, (m, names) => el("p", { class: "small" }, inline(m[1], names))],
];

export function markdown(text, names) {
  const root = el("div", { class: "markdown" });
  const parts = text.split(/```(?:([\w+-]*)\n)?([^]*?)```/);
  for (let index = 0; index < parts.length; index += 3) {
    lines(parts[index], names, root);
    if (parts[index + 2] !== undefined) {
      root.append(el("pre", { tabIndex: 0 }, el("code", {}, parts[index + 2].replace(/\n$/, ""))));
    }
  }
  return root;
}

function lines(text, names, root) {
  let paragraph = null;
  for (const line of text.replace(/^\n|\n$/g, "").split("\n")) {
    const block = BLOCKS.find(([pattern]) => pattern.test(line));
    const item = /^(\s*)(?:([-*])|(\d+)\.)\s+(.+)/.exec(line);
    const quote = /^>\s?(.*)/.exec(line);
    if (block) root.append(block[1](block[0].exec(line), names));
    else if (item) listItem(item, names, root);
    else if (quote) quoted(quote[1], names, root);
    else if (line.trim()) {
      if (paragraph) paragraph.append(el("br"));
      else root.append((paragraph = el("p")));
      paragraph.append(...inline(line, names));
      continue;
    }
    paragraph = null;
  }
}

function listItem([, indent, dash, number, text], names, root) {
  const tag = dash ? "ul" : "ol";
  let list = root.lastElementChild;
  if (list?.tagName.toLowerCase() !== tag) {
    list = el(tag, number ? { start: number } : {});
    root.append(list);
  }
  list.append(el("li", { class: indent.length > 1 ? "deep" : undefined }, inline(text, names)));
}

function quoted(text, names, root) {
  let quote = root.lastElementChild;
  if (quote?.tagName !== "BLOCKQUOTE") root.append((quote = el("blockquote")));
  else quote.append(el("br"));
  quote.append(...inline(text, names));
}
