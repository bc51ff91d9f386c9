// Sends files with the tus protocol, a few at a time. An interrupted file continues where it stopped.

import { base, headers, refusal } from "./link.js";

const PIECE_BYTES = 64 * 1024 * 1024;
const AT_ONCE = 3;
const FULL = 507;
const GONE = [403, 410];
// Retries never end: the last pause is repeated, because a laptop may sleep for a night.
const PAUSES_MS = [500, 1000, 2000, 5000, 10000];

export class Transfers {
  files = []; // in the order in which they were added
  isPaused = false;
  hasNews = false; // whether something was added since the files were last checked
  #active = 0;
  #speed = new Speed();

  constructor({ changed, stopped }) {
    this.changed = changed;
    this.stopped = stopped;
  }

  get totals() {
    const size = this.files.reduce((sum, one) => sum + one.size, 0);
    const sent = this.files.reduce((sum, one) => sum + one.sent, 0);
    return { size, sent, speed: this.isPaused ? 0 : this.#speed.now(sent) };
  }

  get isComplete() {
    // The last bytes are sent before the bot has them, so wait for its answer.
    return this.files.length > 0 && this.files.every((one) => one.sent === one.size && !one.isNew && !one.upload);
  }

  get needsFiles() {
    return this.files.filter((one) => !one.file && one.sent < one.size);
  }

  // Files that the server has from an earlier visit; adding the same file again continues it.
  know({ path, size, modified, received, url }) {
    const others = this.files.filter((one) => one.path !== path); // the page may open twice
    this.files = [...others, { path, size, modified, sent: received, url }];
  }

  // `look` judges a file before it is sent; see look.js.
  async add({ file, path }, look) {
    const same = (one) => one.path === path && one.size === file.size && one.modified === file.lastModified;
    const known = this.files.find(same);
    const entry = known ?? { path, size: file.size, modified: file.lastModified, sent: 0, isNew: true };
    if (!known) this.files = [...this.files.filter((one) => one.path !== path), entry];
    this.changed();
    const found = await look(file);
    Object.assign(entry, { file, note: found.note, isBad: found.isBad, trouble: found.trouble });
    this.hasNews = true;
    this.next();
  }

  async remove(entry) {
    this.files = this.files.filter((one) => one !== entry);
    const upload = entry.upload;
    if (upload) {
      await upload.abort();
      this.#ended(entry);
    }
    const url = entry.url ?? upload?.url;
    if (url) await tus.Upload.terminate(url, { headers });
    this.changed();
  }

  async pause() {
    this.isPaused = true;
    const active = this.files.filter((one) => one.upload);
    for (const one of active) {
      await one.upload.abort();
      this.#ended(one);
    }
    this.changed();
  }

  resume() {
    this.isPaused = false;
    for (const one of this.files) if (one.url) one.trouble = undefined;
    this.next();
  }

  next() {
    for (const one of this.files) {
      if (this.isPaused || this.#active >= AT_ONCE) break;
      if (one.file && !one.upload && !one.trouble && (one.isNew || one.sent < one.size)) this.#send(one);
    }
    this.changed();
  }

  #send(one) {
    this.#active += 1;
    one.upload = new tus.Upload(one.file, {
      endpoint: `${base}/files`,
      uploadUrl: one.url ?? null,
      headers,
      chunkSize: PIECE_BYTES,
      retryDelays: [...PAUSES_MS],
      storeFingerprintForResuming: false,
      removeFingerprintOnSuccess: false,
      metadata: { path: one.path, modified: String(one.modified) },
      onUploadUrlAvailable: () => { one.url = one.upload?.url ?? one.url; one.isNew = false; },
      onProgress: (sent) => { one.sent = sent; one.isWaiting = false; this.changed(); },
      onShouldRetry: (error, attempt, { retryDelays }) => this.#mayRetry(one, error, attempt, retryDelays),
      onSuccess: () => { one.sent = one.size; one.isNew = false; this.#ended(one); this.next(); },
      onError: (error) => this.#failed(one, error),
    });
    one.upload.start();
  }

  #mayRetry(one, error, attempt, pauses) {
    const status = error.originalResponse?.getStatus() ?? 0;
    one.isWaiting = true;
    this.changed();
    if (status === FULL) return false;
    if (attempt === pauses.length - 1) pauses.push(pauses.at(-1));
    return status === 0 || status >= 500 || status === 409 || status === 423;
  }

  #failed(one, error) {
    this.#ended(one);
    const response = error.originalResponse;
    const status = response?.getStatus() ?? 0;
    one.trouble = refusal(response?.getBody() ?? "", status);
    if (status === FULL) this.isPaused = true;
    if (status === FULL || GONE.includes(status)) this.stopped(one.trouble, status);
    this.next();
  }

  #ended(one) {
    if (!one.upload) return;
    one.upload = undefined;
    one.isWaiting = false;
    this.#active -= 1;
  }
}

const WINDOW_MS = 8000;

// The speed in bytes a second, averaged over the last 8 seconds.
class Speed {
  #seen = [];

  now(sent) {
    const time = performance.now();
    const last = this.#seen.at(-1);
    if (!last || sent !== last.sent) this.#seen.push({ time, sent });
    this.#seen = this.#seen.filter((one) => time - one.time < WINDOW_MS);
    const first = this.#seen[0];
    if (!first || time - first.time < 500) return 0;
    return Math.max(0, (sent - first.sent) / ((time - first.time) / 1000));
  }
}
