// HTTP requests with the secret, and the live event stream.

const secret = location.hash.slice(1);
const headers = { Authorization: `Bearer ${secret}` };

export class Refusal extends Error {
  constructor({ cause, fix }) {
    super(`${cause} ${fix}`);
  }
}

async function read(response) {
  const body = await response.json();
  if (!response.ok) throw new Refusal(body);
  return body;
}

export async function get(path, query = {}) {
  const text = new URLSearchParams(query).toString();
  return read(await fetch(`api/${path}?${text}`, { headers }));
}

// `files` is a list of [field, File].
export async function send(path, fields, files = []) {
  const form = new FormData();
  form.append("payload", JSON.stringify(fields));
  for (const [name, file] of files) form.append(name, file, file.name);
  return read(await fetch(`api/${path}`, { method: "POST", headers, body: form }));
}

export class Stream {
  #control = null;

  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
  }

  // Streams one user's events; a previous stream ends.
  async follow(user) {
    this.#control?.abort();
    const control = (this.#control = new AbortController());
    let wait = 500;
    while (!control.signal.aborted) {
      try {
        const response = await fetch(`api/stream?user=${user}`, { headers, signal: control.signal });
        if (!response.ok) throw new Refusal(await response.json());
        wait = 500;
        await this.#drain(response.body);
      } catch (error) {
        if (control.signal.aborted) return;
        if (error instanceof Refusal) return this.onState("refused", error.message);
      }
      this.onState("lost");
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, 5000);
    }
  }

  async #drain(body) {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of chunks(body)) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data: ")) this.onEvent(JSON.parse(line.slice(6)));
      }
    }
  }
}

async function* chunks(body) {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
