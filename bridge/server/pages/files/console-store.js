// All that the page knows of live calls, as bridge/server/console/messages.py tells it: rows by the call's id, and
// the call in view.
const MOST_EVENTS = 500; // as many as the server keeps
const SOON_MS = 50; // what comes within is drawn at once
const LISTS = ["words", "turns", "tools", "lanes"];

export class Store {
  constructor() {
    this.calls = new Map();
    this.loaded = false; // a whole snapshot has come
    this.session = null;
    this.system = null;
    this.view = null;
    this.aheadMs = 0; // of the server's clock before this one's
    this.newsAt = Date.now();
    this.listeners = new Set();
    this.arriving = null; // ids of the snapshot that is coming in
  }

  subscribe(run) {
    this.listeners.add(run);
    return () => this.listeners.delete(run);
  }

  changed() {
    for (const run of this.listeners) run();
  }

  changedSoon() {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.changed();
    }, SOON_MS);
  }

  // The server's clock, in milliseconds of the epoch.
  now() {
    return Date.now() + this.aheadMs;
  }

  // Begin to look at a call; null for none. What is known of another one is forgotten.
  look(call) {
    if (call === (this.view?.call ?? null)) return;
    this.view = call === null ? null : { call, loaded: false, lost: false, row: this.calls.get(call) ?? null };
    this.changed();
  }

  // A message of the server's. False if one before it was missed: ask for a snapshot.
  take(message) {
    this.newsAt = Date.now();
    const whole = TAKEN[message.kind]?.(this, message) !== false;
    this.changedSoon();
    return whole;
  }

  row(row) {
    const known = this.calls.get(row.call);
    if (row.revision === undefined) {
      if (!known || known.revision !== row.from) return false;
      const { from: _from, to, ...changed } = row;
      row = { ...known, ...changed, revision: to };
    } else if (known && known.revision > row.revision) return true;
    this.calls.set(row.call, row);
    if (this.view?.call === row.call) this.view.row = row;
    return true;
  }
}

const TAKEN = {
  hello: (store, { now_at: nowAt, session, viewer }) => {
    store.aheadMs = nowAt - Date.now();
    Object.assign(store, { session, viewer });
  },
  calls: (store, { begins, ends, calls }) => {
    if (begins) store.arriving = new Set();
    for (const row of calls) {
      store.arriving?.add(row.call);
      store.calls.set(row.call, row);
      if (store.view?.call === row.call) store.view.row = row;
    }
    if (!ends || !store.arriving) return;
    for (const call of store.calls.keys()) if (!store.arriving.has(call)) store.calls.delete(call);
    store.arriving = null;
    store.loaded = true;
  },
  rows: (store, { rows }) => rows.map((row) => store.row(row)).every(Boolean),
  gone: (store, { calls }) => calls.forEach((call) => store.calls.delete(call)),
  call: (store, { kind: _kind, ...whole }) => {
    if (store.view?.call === whole.call) store.view = { ...viewOf(whole), to: whole.to };
  },
  call_delta: (store, delta) => {
    const { view } = store;
    if (view?.call !== delta.call) return true; // of a call that was looked at before
    if (!view.loaded || view.to !== delta.from) return false;
    add(view, delta);
    if (delta.row) store.row(delta.row);
    return true;
  },
  lost: (store, { call }) => {
    if (store.view?.call === call) store.view = { ...store.view, lost: true };
  },
  system: (store, { system }) => {
    store.system = system;
  },
};

// A call's whole record as the panes show it; a call that is over has the same shape.
function viewOf(whole) {
  return { ...whole, words: inOrder(whole.words), events: [...whole.events], loaded: true, lost: false, cameAt: Date.now() };
}

function add(view, delta) {
  view.to = delta.to;
  view.at_ms = delta.at_ms;
  view.cameAt = Date.now();
  for (const name of LISTS) if (delta[name]) view[name] = replaced(view[name], delta[name]);
  if (delta.words) view.words = inOrder(view.words);
  if (delta.events) view.events = [...view.events, ...delta.events].slice(-MOST_EVENTS);
  if (delta.cost) view.cost = delta.cost;
  if ("playing" in delta) view.playing = delta.playing;
}

// The list with these entries, each in the place of the one with its id, or at the end.
function replaced(list, entries) {
  const next = [...list];
  for (const entry of entries) {
    const at = next.findLastIndex((one) => one.id === entry.id);
    if (at < 0) next.push(entry);
    else next[at] = entry;
  }
  return next;
}

// By when it was said: a transcription may come after the answer to it. What is undated stays where it is.
function inOrder(lines) {
  const next = [...lines];
  for (let at = 1; at < next.length; at++) {
    for (let to = at; to > 0 && next[to].at_ms !== null && next[to - 1].at_ms > next[to].at_ms; to--) {
      [next[to - 1], next[to]] = [next[to], next[to - 1]];
    }
  }
  return next;
}

// The call's own clock now: it goes on between two messages, and stands still once the call is over.
export function callClock(view) {
  if (!view.loaded) return undefined;
  return view.row?.state === "ended" ? view.at_ms : view.at_ms + Date.now() - view.cameAt;
}
