// The caption page: opens the link, shows the samples, and saves changed captions as new versions.

import { Replacing, ask, plural } from "./bulk.js";
import { byId, el } from "./dom.js";
import { Editor } from "./editor.js";
import { call, session, token } from "./link.js";
import { List } from "./list.js";
import { Model } from "./model.js";

const POLL_MS = 3000;
const JUDGE_MS = 250;
const JUDGED_AT_ONCE = 200;
const KEYS = [
  ["Alt+↓", "next"], ["Alt+↑", "previous"], ["Alt+N", "next without a caption"], ["Alt+P", "play or pause"], ["Ctrl+S", "save"],
  ["Ctrl+Z", "undo"], ["Ctrl+Shift+Z", "redo"], ["Alt+A", "accept proposal"], ["Alt+R", "refuse proposal"], ["Alt+F", "search"],
];
const model = new Model(session, onChange);
const list = new List((name) => open(model.byName.get(name)));
const editor = new Editor(model, { accept, refuse });
const replacing = new Replacing(model, () => list.shown);
const unjudged = new Set();
let judging = 0;
let isSaving = false;
let hasEnded = false;
let proposed = null; // how many proposals the server had when it was last asked

const post = (path, body) => call("POST", path, JSON.stringify(body));

function trouble(refusal) {
  const node = byId("trouble");
  node.replaceChildren(...(refusal ? [refusal.cause ?? refusal.message, el("b", {}, refusal.fix ?? "")] : []));
  node.hidden = !refusal;
}

// The same text is not set again, so that screen readers do not repeat it.
function say(text) {
  if (byId("status").textContent !== text) byId("status").textContent = text;
}

async function begin() {
  if (!token) {
    trouble({ cause: "This address is incomplete.", fix: "Open the whole link that Discord gave you." });
    return;
  }
  try {
    await call("POST", "/bind");
    const state = await call("GET");
    take(state);
    for (const id of ["work", "tools"]) byId(id).hidden = false;
    byId("expiry").textContent = `This link works in this browser until ${new Date(state.expires).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.`;
    select(model.lacking[0] ?? model.samples[0]);
    if (model.changes.length) say(`${plural(model.changes.length, "unsaved change")} from your last visit ${model.changes.length === 1 ? "is" : "are"} back.`);
    poll();
  } catch (error) {
    trouble(error);
    if (error.status === 0) setTimeout(() => { trouble(null); begin(); }, 2000);
  }
}

// Shows a version, and keeps what was changed here.
function take(state, saved) {
  const taken = model.take(state, saved);
  document.title = `Captions of ${state.dataset}`;
  byId("title").textContent = `Captions of ${state.reference}`;
  list.show(model.samples);
  const remarks = byId("remarks");
  remarks.hidden = !state.remarks.length;
  remarks.querySelector("summary").textContent = `${plural(state.remarks.length, "finding")} on the whole dataset`;
  remarks.querySelector("ul").replaceChildren(...state.remarks.map(({ text }) => el("li", {}, text)));
  byId("facts").title = state.asUploaded ? "Shown as repaired; runs train on the files as uploaded" : "Shown as repaired, as training sees it";
  judgeLater(model.samples.filter((one) => !one.judged));
  if (editor.one) open(model.byName.get(editor.one.name) ?? model.samples[0], { isMoving: false });
  drawTools();
  return taken;
}

function onChange(samples) {
  list.draw(samples);
  if (samples.includes(editor.one)) editor.draw();
  judgeLater(samples);
  drawTools();
}

function drawTools() {
  const { changes, lacking, savable, conflicts, samples, trigger } = model, waiting = model.proposed.length;
  const unprefixed = samples.filter((one) => one.judged?.prefixed);
  byId("summary").textContent = [
    plural(samples.length, "sample"),
    lacking.length ? `${lacking.length} without a caption: not trainable yet` : "all have captions",
    trigger && `trigger word ${trigger}`,
  ].filter(Boolean).join(" · ");
  byId("undo").disabled = !model.canUndo;
  byId("redo").disabled = !model.canRedo;
  byId("save").disabled = isSaving || !savable.length;
  byId("save").textContent = savable.length ? `Save ${plural(savable.length, "change")}` : "Saved";
  byId("save").toggleAttribute("aria-busy", isSaving);
  label("prefix", unprefixed.length, `Put ${trigger} in front (${unprefixed.length})`);
  label("accept-all", waiting, `Accept all (${waiting})`);
  const stored = samples.filter((one) => !one.base.trim() || (one.base === one.text && lacking.includes(one)));
  label("leave-out", stored.length && stored.length < samples.length, `Leave out ${stored.length}`);
  byId("leave-out").disabled = changes.length > 0;
  byId("leave-out").title = changes.length ? "Save your changes first" : "";
  if (conflicts.length) say(`Somebody else has changed ${plural(conflicts.length, "caption")} that you have changed, too. Open ${conflicts.length === 1 ? "it" : "them"} and decide.`);
  list.count(samples);
}

function label(id, isShown, text) {
  byId(id).hidden = !isShown;
  byId(id).textContent = text;
}

// Opens a sample; `isMoving` says that a person asked for it.
function open(one, { isMoving = true } = {}) {
  if (!one) return;
  if (isMoving) document.body.dataset.pane = "sample";
  select(one);
}

function select(one) {
  if (!one) return;
  editor.show(one);
  list.mark(one);
  const index = list.shown.indexOf(one);
  byId("previous").disabled = index <= 0;
  byId("next").disabled = index < 0 ? !list.shown.length : index >= list.shown.length - 1;
  prepare(list.shown[index + 1]);
}

// Lets the server convert the next clip before it is wanted.
function prepare(one) {
  if (one?.kind === "image") new Image().src = one.media;
  else if (one) fetch(one.media, { headers: { Range: "bytes=0-0" } }).catch(() => {});
}

// Opens a sample at the press of a key, and lets the person write at once.
function write(one) {
  open(one);
  byId("caption").focus();
}

function beside(by) {
  const index = list.shown.indexOf(editor.one);
  return index < 0 ? list.shown[0] : list.shown[index + by];
}

function nextLacking() {
  const { samples, lacking } = model;
  const at = samples.indexOf(editor.one);
  write(lacking.find((one) => samples.indexOf(one) > at) ?? lacking[0]);
}

function judgeLater(samples) {
  for (const one of samples) unjudged.add(one);
  clearTimeout(judging);
  if (unjudged.size) judging = setTimeout(judge, JUDGE_MS);
}

async function judge() {
  const some = [...unjudged].slice(0, JUDGED_AT_ONCE), texts = some.map(({ text }) => text);
  for (const one of some) unjudged.delete(one);
  try {
    const judged = await post("/judge", { texts });
    some.forEach((one, index) => { if (one.text === texts[index]) one.judged = judged[index]; });
  } catch (error) {
    if (error.status === 0) { for (const one of some) unjudged.add(one); setTimeout(judge, 2000); }
    return;
  }
  list.draw(some);
  if (some.includes(editor.one)) editor.draw();
  drawTools();
  if (unjudged.size) judge();
}

async function save() {
  const saved = model.savable;
  if (isSaving || !saved.length) return;
  const texts = new Map(saved.map((one) => [one.name, one.text]));
  const changes = saved.map((one) => ({ name: one.name, before: one.base, text: one.text, is_accepted: one.isAccepted && one.proposal?.text === one.text }));
  isSaving = true;
  drawTools();
  trouble(null);
  try {
    const { refused } = await post("/save", { changes });
    for (const name of refused) texts.delete(name);
    take(await call("GET"), texts);
    if (!refused.length) say(`Saved as ${model.reference}.`);
  } catch (error) {
    trouble(error.status === 0 ? { cause: error.message, fix: "Your changes are kept. Save again in a moment." } : error);
  }
  isSaving = false;
  drawTools();
}

async function poll() {
  if (hasEnded) return;
  try {
    if (!document.hidden && !isSaving) {
      const { number, proposals } = await call("GET", "/version");
      const hasOthers = proposals !== (proposed ?? proposals);
      if ((number > model.number || hasOthers) && !isSaving) await follow();
      proposed = proposals;
      if (byId("trouble").dataset.isLost) { delete byId("trouble").dataset.isLost; trouble(null); }
    }
  } catch (error) {
    hasEnded = [403, 404, 410].includes(error.status);
    if (hasEnded) trouble(error);
    if (error.status === 0) {
      byId("trouble").dataset.isLost = "yes";
      trouble({ cause: error.message, fix: "Your changes are kept." });
    }
  }
  setTimeout(poll, POLL_MS);
}

async function follow() {
  const state = await call("GET"), isNew = state.number > model.number;
  if (state.number < model.number || isSaving) return;
  const { updated, gone } = take(state);
  const lost = gone.length ? ` ${gone.join(", ")}: left out there, so your change is dropped.` : "";
  if (isNew && (!model.conflicts.length || gone.length)) say(`Somebody else saved ${state.reference}: ${plural(updated, "caption")} updated here.${lost}`);
}

function accept() {
  const { one } = editor;
  if (one?.proposal) model.change([[one, one.proposal.text, true]]);
}

async function refuse() {
  const { one } = editor;
  if (!one?.proposal) return;
  try {
    await post("/refuse", { names: [one.name] });
    one.proposal = null;
    onChange([one]);
  } catch (error) { trouble(error); }
}

async function acceptAll() {
  const found = model.proposed, count = plural(found.length, "proposal");
  const text = "They replace what is written there. Nothing is stored until you save, and you can undo this.";
  if (await ask(`Accept ${count}?`, text, `Accept ${count}`)) model.change(found.map((one) => [one, one.proposal.text, true]));
}

async function prefixAll() {
  const found = model.samples.filter((one) => one.judged?.prefixed), count = plural(found.length, "caption");
  if (await ask(`Put ${model.trigger} in front?`, `${count} ${found.length === 1 ? "lacks" : "lack"} the trigger word.`, `Change ${count}`)) {
    model.change(found.map((one) => [one, one.judged.prefixed]));
  }
}

async function leaveOut() {
  const count = plural(model.lacking.length, "sample");
  const text = "The next version has only the samples with a caption. Older versions keep all of them.";
  if (!await ask(`Leave out ${count} without a caption?`, text, `Leave out ${count}`)) return;
  try {
    await post("/leave-out", {});
    take(await call("GET"));
    say(`Saved as ${model.reference}.`);
  } catch (error) { trouble(error); }
}

const ALT = { ArrowDown: () => write(beside(1)), ArrowUp: () => write(beside(-1)), KeyN: nextLacking, KeyP: () => editor.play(), KeyA: accept, KeyR: refuse, KeyF: () => byId("search").focus() };
const CTRL = { KeyS: save, KeyZ: () => model.undo(), KeyY: () => model.redo() };
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  const isCtrl = event.ctrlKey || event.metaKey;
  let act = isCtrl ? CTRL[event.code] : event.altKey ? ALT[event.code] : null;
  if (isCtrl && event.shiftKey && event.code === "KeyZ") act = () => model.redo();
  // The search field keeps its own undo.
  if (!act || (event.target === byId("search") && event.code === "KeyZ")) return;
  event.preventDefault();
  act();
});
const PRESSED = {
  undo: () => model.undo(), redo: () => model.redo(), save, replace: () => replacing.open(), prefix: prefixAll, "accept-all": acceptAll, "leave-out": leaveOut,
  previous: () => open(beside(-1)), next: () => open(beside(1)), back: () => { document.body.dataset.pane = "list"; list.mark(editor.one); },
};
for (const [id, act] of Object.entries(PRESSED)) byId(id).addEventListener("click", act);
for (const id of ["filter", "search"]) byId(id).addEventListener("input", () => { list.filter(model.samples); if (editor.one) select(editor.one); });
byId("keys").replaceChildren(...KEYS.map(([key, what]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, what))));
addEventListener("pagehide", () => model.keep());
addEventListener("beforeunload", (event) => { model.keep(); if (model.changes.length) event.preventDefault(); });
begin();
