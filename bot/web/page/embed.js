// Embeds.

import { el } from "./dom.js";
import { inline, markdown } from "./markdown.js";

// `names` returns the names of users, roles and channels. `local` returns the address of a picture
// on this page's own server, and null for other pictures.
export function drawEmbed(embed, names, local) {
  const node = el(
    "div", { class: "embed" },
    embed.thumbnail && picture(embed.thumbnail, "thumbnail", local),
    embed.author && el("p", { class: "embed-author" }, link(embed.author.url, embed.author.name)),
    embed.title && el("p", { class: "embed-title", role: "heading", "aria-level": "4" }, link(embed.url, inline(embed.title, names))),
    embed.description && markdown(embed.description, names),
    embed.fields?.length && fields(embed.fields, names),
    embed.image && picture(embed.image, "embed-picture", local),
    footer(embed),
  );
  if (embed.color) node.style.setProperty("--bar", `#${embed.color.toString(16).padStart(6, "0")}`);
  return node;
}

function link(href, content) {
  return href ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }, content) : el("span", {}, content);
}

const IN_A_ROW = 3;

// Inline fields share a row evenly: halves or thirds.
function fields(list, names) {
  return el(
    "dl", {},
    rows(list).flatMap((row) => row.map((one) => el(
      "div", { class: `share-${row.length}` },
      el("dt", {}, inline(one.name, names)),
      el("dd", {}, markdown(one.value, names)),
    ))),
  );
}

function rows(list) {
  const found = [];
  for (const field of list) {
    const last = found.at(-1);
    if (field.inline && last?.[0].inline && last.length < IN_A_ROW) last.push(field);
    else found.push([field]);
  }
  return found;
}

function picture(image, kind, local) {
  // Nothing loads from outside: external images become links.
  const src = local(image.url);
  if (!src) return el("p", { class: "small" }, link(image.url, "Picture"));
  return el("a", { href: src, target: "_blank", class: kind }, el("img", { src, alt: image.description ?? "", width: image.width, height: image.height }));
}

function footer(embed) {
  const when = embed.timestamp && new Date(embed.timestamp).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const parts = [embed.footer?.text, when].filter(Boolean);
  return parts.length ? el("p", { class: "embed-footer" }, parts.join(" · ")) : null;
}
