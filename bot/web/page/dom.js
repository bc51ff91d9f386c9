// Element builder without HTML parsing, and time and size formats.

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

export function clock(iso) {
  return new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export function day(iso) {
  return new Date(iso).toLocaleDateString([], { day: "numeric", month: "long", year: "numeric" });
}

const UNITS = ["KiB", "MiB", "GiB", "TiB"];

// Formats a size in powers of 1,024, as in all texts of the bot.
export function bytes(count) {
  if (count < 1024) return count === 1 ? "1 byte" : `${count} bytes`;
  let value = count, unit = -1;
  do { value /= 1024; unit += 1; } while (Math.round(value) >= 1024 && unit < UNITS.length - 1);
  return `${value.toFixed(value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

const STEPS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export function ago(seconds) {
  const difference = seconds - Date.now() / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(difference) >= length) ?? STEPS.at(-1);
  return relative.format(Math.round(difference / size), unit);
}

const STYLES = {
  t: { timeStyle: "short" }, T: { timeStyle: "medium" }, d: { dateStyle: "short" },
  D: { dateStyle: "long" }, f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

export function moment(seconds, style) {
  const date = new Date(seconds * 1000);
  const node = el("time", { class: "moment", datetime: date.toISOString(), title: date.toLocaleString() });
  node.textContent = style === "R" ? ago(seconds) : date.toLocaleString([], STYLES[style] ?? STYLES.f);
  if (style === "R") node.dataset.relative = seconds;
  return node;
}

setInterval(() => {
  for (const node of document.querySelectorAll("time[data-relative]")) {
    node.textContent = ago(Number(node.dataset.relative));
  }
}, 1000);
