// The upload page: opens the link, sends files, and shows the result.

import { drawAnswer } from "./answer.js";
import { call, session, token } from "./link.js";
import { byId, bytes, el } from "./dom.js";
import { chosen, dropped } from "./drop.js";
import { captioned, look } from "./look.js";
import { Transfers } from "./transfers.js";

const LISTED = 200; // files shown; the others are counted
const POLL_MS = 1000;
const transfers = new Transfers({ changed: () => draw(), stopped: (refusal) => trouble(refusal) });
let limits = null;
let judged = "";
let shownResult = null;
let isPolling = false;
let opened; // called once the page shows what this link takes
const isOpened = new Promise((done) => { opened = done; });

function trouble(refusal) {
  const node = byId("trouble");
  node.replaceChildren(...(refusal ? [refusal.cause ?? refusal.message, el("b", {}, refusal.fix ?? "")] : []));
  node.hidden = !refusal;
}

async function begin() {
  if (!token) {
    trouble({ cause: "This address is incomplete.", fix: "Open the whole link that Discord gave you." });
    return;
  }
  try {
    await call("POST", "/bind");
    const state = await call("GET");
    introduce(state);
    for (const file of state.files) transfers.know(file);
    await follow(state);
    opened();
  } catch (error) {
    trouble(error);
    if (error.status === 0) setTimeout(() => { trouble(null); begin(); }, 2000);
  }
}

function introduce(state) {
  limits = state.limits;
  const most = bytes(state.limits.bytes);
  document.title = state.title;
  byId("title").textContent = state.title;
  byId("about").textContent = state.about;
  const isLora = state.kind === "lora";
  byId("limits").textContent = isLora
    ? `One .safetensors file of up to ${most}.`
    : `Up to ${most} and ${state.limits.files.toLocaleString()} files in all: images, clips, and a .txt with the caption beside each.`;
  const isTouch = matchMedia("(hover: none)").matches; // nothing can be dropped there
  byId("invitation").textContent = isTouch ? "" : isLora ? "Drop the file here" : "Drop a zip, a folder or files here";
  byId("choose-folder").hidden = isLora;
  byId("expiry").textContent = `This link works in this browser until ${new Date(state.expires).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.`;
}

// Shows the state of the upload, repeatedly while the server checks the files.
async function follow(state) {
  showStatus(state);
  if (state.status === "complete") checking(state.progress);
  if (state.result && state.result !== shownResult) await showResult(state);
  draw();
  if (state.status === "complete" && !isPolling) poll();
}

function showStatus({ status }) {
  byId("sending").hidden = status !== "open";
  byId("checking").hidden = status !== "complete";
  for (const id of ["about", "limits"]) byId(id).hidden = status !== "open";
  byId("revoke").hidden = status !== "open";
  if (status === "done") byId("expiry").textContent = "This link has been used. Ask for a new one to send more files.";
}

async function poll() {
  isPolling = true;
  try {
    for (;;) {
      await new Promise((done) => setTimeout(done, POLL_MS));
      try {
        const state = await call("GET");
        trouble(null);
        await follow(state);
        if (state.status !== "complete") return;
      } catch (error) {
        trouble(error);
        if (error.status !== 0) return;
      }
    }
  } finally { isPolling = false; }
}

function checking([done, total]) {
  const bar = byId("check-bar");
  if (total) { bar.max = total; bar.value = done; } else bar.removeAttribute("value");
  byId("check-text").textContent = total ? `Checking the files: ${done.toLocaleString()} of ${total.toLocaleString()}` : "Checking the files";
}

async function showResult(state) {
  shownResult = state.result;
  const answer = await call("GET", "/answer");
  byId("result").replaceChildren(...(answer ? [drawn(answer)] : []));
}

// The answer to a pressed button appears below the earlier answers.
function drawn(answer) {
  return drawAnswer(answer, async (next) => {
    const node = drawn(next);
    byId("result").append(node);
    node.scrollIntoView({ block: "nearest" });
    const state = await call("GET");
    shownResult = state.result;
    showStatus(state);
  });
}

// Files may be dropped before the page has opened; they wait.
async function take(files) {
  await isOpened;
  if (byId("sending").hidden) return;
  trouble(null);
  const kept = files.filter(({ path }) => !/(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini)$|(^|\/)__MACOSX\//i.test(path));
  kept.sort((one, other) => one.path.localeCompare(other.path, undefined, { numeric: true }));
  for (const one of kept) transfers.add(one, (file) => look(file, limits));
}

async function finish() {
  byId("finish").disabled = true;
  shownResult = null;
  try {
    await call("POST", "/finish");
    byId("result").replaceChildren();
    await follow(await call("GET"));
  } catch (error) {
    trouble(error);
    draw();
  }
}

function draw() {
  const { size, sent, speed } = transfers.totals;
  const count = transfers.files.length;
  byId("total").hidden = count === 0;
  byId("bar").value = size ? sent / size : 0;
  byId("summary").textContent = summary(size, sent, speed);
  byId("pause").hidden = !transfers.isPaused && !transfers.files.some((one) => one.upload);
  byId("pause").textContent = transfers.isPaused ? "Resume" : "Pause";
  byId("finish").disabled = !transfers.isComplete;
  captions();
  list();
  if (transfers.isComplete && !byId("sending").hidden && byId("automatic").firstElementChild.checked && transfers.hasNews) {
    transfers.hasNews = false;
    finish();
  }
}

// Shows the same note for the files outside zips as each zip gets for its content.
function captions() {
  const paths = transfers.files.map(({ path }) => path).filter((path) => !/\.zip$/i.test(path));
  if (paths.join("\n") === judged || !limits) return;
  judged = paths.join("\n");
  const found = captioned(paths, limits);
  byId("captions").hidden = !found;
  byId("captions").textContent = found?.note ?? "";
  byId("captions").classList.toggle("warning", Boolean(found?.isBad));
}

function summary(size, sent, speed) {
  const parts = [`${bytes(sent)} of ${bytes(size)}`];
  const lacking = transfers.needsFiles.length, stopped = transfers.files.filter((one) => one.trouble).length;
  if (transfers.isPaused) parts.push("paused");
  else if (lacking) parts.push(`add ${lacking === 1 ? "the file" : `the ${lacking} files`} again to go on`);
  else if (stopped && !transfers.files.some((one) => one.upload)) parts.push(`remove ${stopped === 1 ? "the file" : `the ${stopped} files`} in red to go on`);
  else if (transfers.isComplete) parts.push("everything has arrived");
  else if (transfers.files.some((one) => one.isWaiting)) parts.push("connection lost, trying again");
  else if (speed > 0) parts.push(`${bytes(speed)}/s`, `${left((size - sent) / speed)} left`);
  return parts.join(" · ");
}

function left(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function list() {
  const shown = transfers.files.slice(0, LISTED);
  const more = transfers.files.length - shown.length;
  byId("list").replaceChildren(
    ...shown.map(row),
    ...(more > 0 ? [el("li", { class: "more" }, `and ${more.toLocaleString()} more files`)] : []),
  );
}

function row(one) {
  const isDone = one.sent === one.size && !one.isNew && !one.upload;
  const percent = one.size ? Math.floor((one.sent / one.size) * 100) : 0;
  const state = isDone ? "arrived" : one.trouble ? "not sent" : !one.file ? `${percent}%, add it again` : one.upload ? `${percent}%` : "waiting";
  return el(
    "li", { class: isDone ? "done" : "" },
    el("span", { class: "path" }, one.path, " ", el("small", {}, bytes(one.size))),
    el("span", { class: "state" }, state),
    el("button", { class: "remove", "aria-label": `Remove ${one.path}`, onclick: () => transfers.remove(one) }, "×"),
    !isDone && one.upload && el("progress", { max: one.size || 1, value: one.sent }),
    one.note && el("span", { class: one.isBad ? "note warning" : "note" }, one.note),
    one.trouble && el("span", { class: "note bad" }, `${one.trouble.cause} ${one.trouble.fix ?? ""}`),
  );
}

byId("choose-files").addEventListener("click", () => byId("files").click());
byId("choose-folder").addEventListener("click", () => byId("folder").click());
for (const id of ["files", "folder"]) {
  byId(id).addEventListener("change", (event) => { take(chosen(event.target.files)); event.target.value = ""; });
}
byId("pause").addEventListener("click", () => (transfers.isPaused ? transfers.resume() : transfers.pause()));
byId("finish").addEventListener("click", finish);
byId("revoke").addEventListener("click", async () => {
  await transfers.pause();
  try {
    await call("DELETE");
    for (const id of ["sending", "revoke"]) byId(id).hidden = true;
    trouble({ cause: "The link no longer works, and the files received so far are deleted.", fix: "" });
  } catch (error) { trouble(error); }
});
let depth = 0;
const dragging = (change) => { depth += change; document.body.classList.toggle("dropping", depth > 0); };
addEventListener("dragenter", (event) => { event.preventDefault(); dragging(1); });
addEventListener("dragleave", () => dragging(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  depth = 0;
  dragging(0);
  take(await dropped(event.dataTransfer));
});
// The browser asks for confirmation before a person leaves the page during an upload.
addEventListener("beforeunload", (event) => { if (transfers.files.some((one) => one.upload)) event.preventDefault(); });
if (session || !token) begin();
