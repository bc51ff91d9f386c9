// Message components: buttons, selects and layout.

import { send } from "./api.js";
import { local } from "./attachment.js";
import { el } from "./dom.js";
import { markdown } from "./markdown.js";
import { channelName, displayName, names, state } from "./state.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "secondary" };

export function drawComponents(message, actions) {
  if (!message.components.length) return null;
  return el("div", { class: "components" }, message.components.map((one) => draw(one, message, actions)));
}

// A short title for a message: its embed's title, its text, or the first heading in its components.
export function titleOf(message) {
  const texts = (list) => list.flatMap((one) => [one.content ?? [], texts(one.components ?? [])].flat());
  const all = texts(message.components);
  const heading = all.find((text) => text.startsWith("#")) ?? all[0] ?? "";
  return message.embeds[0]?.title ?? (message.content || heading.split("\n")[0].replace(/^#+ /, ""));
}

function draw(component, message, actions) {
  const children = (list) => list.map((one) => draw(one, message, actions));
  switch (component.type) {
    case 1: return el("div", { class: "row" }, children(component.components));
    case 2: return button(component, message, actions);
    case 3: case 5: case 6: case 7: case 8: return select(component, message, actions);
    case 9: return el("div", { class: "section" }, el("div", {}, children(component.components)), draw(component.accessory, message, actions));
    case 10: return markdown(component.content, names);
    case 11: return media(component.media, component.description);
    case 12: return el("div", { class: "files" }, component.items.map((item) => media(item.media, item.description)));
    case 13: return el("p", {}, el("a", { href: local(component.file.url) }, component.name ?? "File"));
    case 14: return component.divider === false ? el("br") : el("hr");
    case 17: return container(component, children(component.components));
    default: return el("p", { class: "small" }, "This component cannot be displayed here.");
  }
}

function container(component, children) {
  const node = el("div", { class: "embed container" }, children);
  if (component.accent_color) node.style.setProperty("--bar", `#${component.accent_color.toString(16).padStart(6, "0")}`);
  return node;
}

function media({ url }, description = "") {
  const src = local(url);
  return src ? el("img", { src, alt: description }) : el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, description || url);
}

const emoji = (one) => (one ? (one.id ? `:${one.name}: ` : `${one.name} `) : "");

function button(component, message, actions) {
  const label = [emoji(component.emoji), component.label ?? ""];
  const kind = `button ${STYLES[component.style] ?? "secondary"}`;
  if (component.url) return el("a", { class: kind, href: component.url, target: "_blank", rel: "noopener noreferrer" }, label, " ↗");
  const node = el("button", { class: kind, disabled: Boolean(component.disabled), "data-custom-id": component.custom_id }, label);
  node.addEventListener("click", () => use(node, component, message, undefined, actions));
  return node;
}

async function use(node, component, message, values, { sent, fail }) {
  fail("");
  if (node.tagName === "SELECT") node.blur();
  node.setAttribute("aria-busy", "true");
  node.disabled = true;
  try {
    const fields = { user: state.user.id, channel: message.channel_id, message: message.id, custom_id: component.custom_id, values };
    const outcome = await send("component", fields);
    if (outcome.status === "failed") fail("The application did not respond.");
    sent(outcome);
  } catch (error) { fail(error.message); }
  node.removeAttribute("aria-busy");
  node.disabled = Boolean(component.disabled);
}

// The choices of a select: its own options, or the workspace's users, roles and channels.
export function optionsOf(component) {
  const users = state.users.map((user) => ({ value: user.id, label: displayName(user) }));
  const roles = state.guild.roles.map((role) => ({ value: role.id, label: role.name }));
  const channels = state.guild.channels.map((channel) => ({ value: channel.id, label: channelName(channel) }));
  return { 3: component.options, 5: users, 6: roles, 7: [...users, ...roles], 8: channels }[component.type] ?? component.options ?? [];
}

export function listBox(component, { label: name } = {}) {
  const many = (component.max_values ?? 1) > 1;
  const label = component.placeholder ?? "Choose";
  const options = optionsOf(component).map((one) => el("option", { value: one.value, selected: Boolean(one.default) }, one.description ? `${one.label} – ${one.description}` : one.label));
  const placeholder = many ? [] : [el("option", { value: "", disabled: component.required !== false, hidden: component.required !== false, selected: !optionsOf(component).some((one) => one.default) }, label)];
  return el("select", { multiple: many, size: many ? Math.min(6, options.length) : undefined, "aria-label": name, disabled: Boolean(component.disabled) }, placeholder, options);
}

function select(component, message, actions) {
  const box = listBox(component, { label: component.placeholder ?? "Choose" });
  box.dataset.customId = component.custom_id;
  const values = () => [...box.selectedOptions].map((option) => option.value).filter(Boolean);
  const choose = () => use(box, component, message, values(), actions);
  if (!box.multiple) {
    box.addEventListener("change", choose);
    return el("div", { class: "select" }, box);
  }
  return el("div", { class: "select" }, box, el("button", { class: "button secondary", onclick: choose }, "Send"));
}
