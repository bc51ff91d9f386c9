// Modals opened by the bot.

import { send } from "./api.js";
import { listBox } from "./components.js";
import { el } from "./dom.js";
import { FileField } from "./files.js";
import { markdown } from "./markdown.js";
import { names, state } from "./state.js";

export function openModal(dialog, opened, sent) {
  const { modal, id, channel_id: channel } = opened;
  const inputs = modal.components.flatMap((one) => inputsOf(one)).map((one) => ({ ...one, field: field(one.component) }));
  const trouble = el("p", { class: "trouble", role: "alert" });
  const submit = el("button", { class: "button primary", type: "submit" }, "Submit");
  const form = el(
    "form", { method: "dialog" },
    el("h2", { id: "modal-title" }, modal.title),
    inputs.map(labelled),
    trouble,
    el("div", { class: "row end" }, el("button", { class: "button secondary", type: "button", onclick: () => dialog.close() }, "Cancel"), submit),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      const { values, files } = collect(inputs);
      const outcome = await send("submit", { user: state.user.id, channel, interaction: id, values }, files);
      if (outcome.status === "failed") throw new Error("The application did not respond.");
      dialog.close();
      sent(outcome);
    } catch (error) { trouble.textContent = error.message; }
    submit.disabled = false;
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}

function inputsOf(component) {
  if (component.type === 1) return component.components.map((one) => ({ component: one, label: one.label }));
  if (component.type === 18) return [{ component: component.component, label: component.label, description: component.description }];
  return [{ component }];
}

// Each field returns its node and a way to read its value; plain text has none.
function field(component) {
  if (component.type === 10) return { node: markdown(component.content, names) };
  if (component.type === 4) return text(component);
  if (component.type === 19) return upload(component);
  if (component.type === 23) return checkbox(component);
  if (component.type === 21 || component.type === 22) return group(component);
  const box = listBox(component);
  return { node: box, value: () => [...box.selectedOptions].map((one) => one.value).filter(Boolean) };
}

function text(component) {
  const props = {
    placeholder: component.placeholder, minLength: component.min_length ?? 0, maxLength: component.max_length ?? 4000,
    required: component.required !== false,
  };
  const box = component.style === 2 ? el("textarea", { ...props, rows: 4 }) : el("input", { ...props, type: "text" });
  box.value = component.value ?? "";
  return { node: box, value: () => box.value };
}

function upload(component) {
  const files = new FileField({ most: component.max_values ?? 1 });
  return { node: files.node, files: () => files.files };
}

function checkbox(component) {
  const box = el("input", { type: "checkbox", checked: Boolean(component.default) });
  return { node: box, value: () => box.checked };
}

function group(component) {
  const type = component.type === 21 ? "radio" : "checkbox";
  const boxes = component.options.map((one) => el("input", { type, name: component.custom_id, value: one.value, checked: Boolean(one.default) }));
  const node = el("div", { role: "group" }, component.options.map((one, index) => el("label", { class: "check" }, boxes[index], one.label)));
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  return { node, value: () => (type === "radio" ? chosen()[0] : chosen()) };
}

function labelled({ component, label, description, field: { node } }) {
  if (!label) return node;
  const isNeeded = component.required !== false && component.type !== 23;
  // <label> names one input; option groups and file buttons need a named group.
  const isGroup = [19, 21, 22].includes(component.type);
  return el(
    isGroup ? "div" : "label", { class: "field", role: isGroup ? "group" : undefined, "aria-label": isGroup ? label : undefined },
    el("span", { class: "label" }, label, isNeeded && el("span", { class: "needed", title: "required" }, " *")),
    description && el("small", {}, description),
    node,
  );
}

function collect(inputs) {
  const values = {};
  const files = [];
  for (const { component, field: one } of inputs) {
    if (one.files) files.push(...one.files().map((file) => [component.custom_id, file]));
    else if (one.value) values[component.custom_id] = one.value();
  }
  return { values, files };
}
