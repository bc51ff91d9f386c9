// The result of an upload, as the same card and buttons as in the channel.

import { call } from "./link.js";
import { el } from "./dom.js";
import { drawEmbed } from "./embed.js";

// This page does not know the names of users, roles or channels.
const NAMES = { user: () => "someone", role: () => "role", channel: () => "channel", isMe: () => false, hasRole: () => false };
const PICTURE = /\.(jpe?g|png)$/;
const ATTACHED = "attachment://";

function blobUrl({ name, data }) {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const type = PICTURE.test(name) ? "image/jpeg" : "text/plain";
  return URL.createObjectURL(new Blob([bytes], { type }));
}

function embed({ card, files }) {
  const picture = files.find((one) => card.image === ATTACHED + one.name);
  return {
    title: card.title,
    description: card.description,
    color: card.colour,
    fields: card.fields,
    footer: card.footer ? { text: card.footer } : null,
    image: picture && { url: blobUrl(picture), description: picture.alt },
  };
}

export function drawAnswer(answer, shown) {
  const trouble = el("p", { class: "trouble", role: "alert", hidden: true });
  const others = answer.files.filter((one) => answer.card.image !== ATTACHED + one.name);
  return el(
    "article", { class: "answer" },
    drawEmbed(embed(answer), NAMES, (url) => url),
    others.length > 0 && el("div", { class: "row" }, others.map((one) => el("a", { href: blobUrl(one), download: one.name }, one.name))),
    answer.link && el("div", { class: "row" }, el("a", { class: "button primary", href: answer.link.url, target: "_blank", rel: "noopener" }, answer.link.label)),
    answer.actions.length > 0 && el("div", { class: "row" }, answer.actions.map((one) => button(one, answer.about, shown, trouble))),
    trouble,
  );
}

function button({ name, label, style }, about, shown, trouble) {
  const node = el("button", { class: `button ${style}` }, label);
  node.addEventListener("click", async () => {
    trouble.hidden = true;
    node.disabled = true;
    node.setAttribute("aria-busy", "true");
    try {
      await shown(await call("POST", "/actions", JSON.stringify({ action: name, about })));
    } catch (error) {
      trouble.textContent = [error.message, error.fix].filter(Boolean).join(" ");
      trouble.hidden = false;
    }
    node.removeAttribute("aria-busy");
    node.disabled = false;
  });
  return node;
}
