// The captions on this page: what is stored, what was changed here, and what others have changed.

const TYPING_MS = 2000; // letters typed within this time are undone together

export class Model {
  samples = [];
  byName = new Map();
  number = 0;
  #done = [];
  #undone = [];
  #key;
  #keeping = 0;

  constructor(session, changed) {
    this.#key = `lorabot-captions-${session}`;
    this.changed = changed; // called with the samples whose text was changed here
  }

  get changes() { return this.samples.filter((one) => one.text !== one.base); }
  get conflicts() { return this.samples.filter((one) => one.theirs !== null); }
  // An emptied caption cannot be saved, and a conflict must be decided first.
  get savable() { return this.changes.filter((one) => one.theirs === null && one.text.trim()); }
  get lacking() { return this.samples.filter(lacks); }
  get proposed() { return this.samples.filter((one) => one.proposal); }
  get canUndo() { return this.#done.length > 0; }
  get canRedo() { return this.#undone.length > 0; }

  // Takes over a version; changes made here are kept. `saved` maps names to texts just saved.
  // Returns how many captions were updated, and the names of changed samples that are gone.
  take(state, saved = new Map()) {
    const kept = this.number ? new Map() : this.#kept();
    const seen = new Set(state.samples.map(({ name }) => name));
    const gone = this.changes.filter(({ name }) => !seen.has(name)).map(({ name }) => name);
    let updated = 0;
    this.samples = state.samples.map((now) => {
      const known = this.byName.get(now.name);
      if (known) updated += merge(known, now, saved.get(now.name));
      return known ?? fresh(now, kept.get(now.name));
    });
    this.byName = new Map(this.samples.map((one) => [one.name, one]));
    Object.assign(this, { number: state.number, reference: state.reference, trigger: state.trigger, limits: state.limits });
    this.keep();
    return { updated, gone };
  }

  // Changes captions: [sample, text, isAccepted] each. All of them are undone together.
  change(edits, { isTyping = false } = {}) {
    const made = edits
      .filter(([one, text]) => one.text !== text)
      .map(([one, text, isAccepted = false]) => ({ one: one.name, from: [one.text, one.isAccepted], to: [text, isAccepted] }));
    if (!made.length) return 0;
    const last = this.#done.at(-1);
    if (isTyping && last?.isTyping && last.made[0].one === made[0].one && Date.now() - last.at < TYPING_MS) {
      last.made[0].to = made[0].to;
      last.at = Date.now();
    } else this.#done.push({ made, isTyping, at: Date.now() });
    this.#undone = [];
    this.#apply(made, "to");
    return made.length;
  }

  undo() { return this.#move(this.#done, this.#undone, "from"); }
  redo() { return this.#move(this.#undone, this.#done, "to"); }

  // Settles a conflict: the caption of the other person counts as seen.
  settle(one, text) {
    one.base = one.theirs;
    one.theirs = null;
    this.change([[one, text]]);
    this.changed([one]);
    this.keep();
  }

  keep() {
    clearTimeout(this.#keeping);
    const edits = this.changes.map(({ name, text, base, isAccepted }) => [name, { text, base, isAccepted }]);
    try {
      if (edits.length) localStorage.setItem(this.#key, JSON.stringify(edits));
      else localStorage.removeItem(this.#key);
    } catch { /* storage is full or switched off: the page still warns before it is left */ }
  }

  #kept() {
    try {
      return new Map(JSON.parse(localStorage.getItem(this.#key) ?? "[]"));
    } catch { return new Map(); }
  }

  #move(from, to, side) {
    const entry = from.pop();
    if (!entry) return [];
    to.push(entry);
    entry.isTyping = false;
    return this.#apply(entry.made, side);
  }

  #apply(made, side) {
    const touched = [];
    for (const { one: name, [side]: [text, isAccepted] } of made) {
      const one = this.byName.get(name);
      if (!one) continue; // it was left out since
      Object.assign(one, { text, isAccepted, judged: null });
      touched.push(one);
    }
    clearTimeout(this.#keeping);
    this.#keeping = setTimeout(() => this.keep(), 200);
    this.changed(touched);
    return touched;
  }
}

export function lacks(one) {
  return !one.text.trim() || one.judged?.isUsable === false;
}

function fresh(now, edit) {
  const one = { ...now, base: now.caption, text: now.caption, theirs: null, isAccepted: false };
  if (edit && edit.text !== now.caption) {
    Object.assign(one, { text: edit.text, isAccepted: edit.isAccepted, judged: null });
    if (edit.base !== now.caption) Object.assign(one, { base: edit.base, theirs: now.caption });
  }
  return one;
}

// Returns 1 if the caption shown here was updated, else 0.
function merge(one, now, saved) {
  const before = one.text, wasChanged = one.text !== one.base;
  Object.assign(one, { origin: now.origin, remarks: now.remarks, proposal: now.proposal, thumbnail: now.thumbnail, media: now.media });
  if (saved !== undefined) {
    Object.assign(one, { base: now.caption, theirs: null });
    if (one.text !== saved) return 0; // typed on while it was being saved
  } else if (wasChanged && now.caption !== one.text) {
    if (now.caption !== one.base) one.theirs = now.caption;
    return 0;
  }
  Object.assign(one, { base: now.caption, text: now.caption, theirs: null, isAccepted: false, judged: now.judged });
  return saved === undefined && !wasChanged && before !== now.caption ? 1 : 0;
}
