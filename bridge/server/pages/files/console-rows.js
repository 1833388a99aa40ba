// What a row of the list says of its call, in words.
const STATES = {
  ringing: "Ringing", live: "Live", recovering: "Model lost", away: "Away", ending: "Ending", ended: "Ended",
};

export const isOver = (row) => row.state === "ended";

export const troubleOf = (row) => (isOver(row) ? 0 : row.trouble.length);

export const stateOf = (row) => STATES[row.state] ?? row.state;

export function dotOf(row) {
  if (isOver(row)) return "hollow";
  if (troubleOf(row)) return "bad";
  return row.state === "live" ? "good" : "warn";
}

// The number of the other side: who called, or who was called. A browser's phone has a name instead.
export const numberOf = (row) => (row.direction === "out" ? row.called : row.caller).replace(/^client:/, "") || "unknown number";

export const lastsMs = (row, now) => (row.ended_at ?? now) - row.began_at;

// For screen readers: what the eye takes in at once.
export function describe(row) {
  const trouble = troubleOf(row) ? `, trouble: ${row.trouble.join(", ")}` : "";
  const way = row.direction === "out" ? "call to" : "call of";
  return `${way} ${numberOf(row)}, ${stateOf(row).toLowerCase()}, agent ${row.agent || "unknown"}${trouble}`;
}

// Whether a row has these words somewhere.
export function matches(row, words) {
  const all = [numberOf(row), row.agent, row.model, row.machine, row.last_words, stateOf(row), row.call, ...row.trouble];
  return all.join("\n").toLowerCase().includes(words.trim().toLowerCase());
}
