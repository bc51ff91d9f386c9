// Requests of a page that was opened through a link. The link's secret stays in the fragment and goes into a header.

export const token = location.hash.slice(1);
export const session = token.split(".")[1] ?? "";
export const headers = { "Page-Link": token };
export const base = `${document.documentElement.dataset.api}/${encodeURIComponent(session)}`;

export class Refusal extends Error {
  constructor({ cause, fix }, status) {
    super(cause);
    this.fix = fix;
    this.status = status;
  }
}

export const LOST = "The connection to the bot is lost.";

export async function call(method, path = "", body = undefined) {
  let response;
  try {
    response = await fetch(base + path, { method, headers, body });
  } catch {
    throw new Refusal({ cause: LOST, fix: "Trying again." }, 0);
  }
  const text = await response.text();
  if (!response.ok) throw new Refusal(refusal(text, response.status), response.status);
  return text ? JSON.parse(text) : null;
}

// The cause and fix of a refused request. An answer from a proxy contains neither.
export function refusal(text, status) {
  try {
    const { cause, fix } = JSON.parse(text);
    if (cause) return { cause, fix };
  } catch { /* the answer is not the bot's */ }
  return { cause: `The server answered ${status}.`, fix: "Trying again." };
}
