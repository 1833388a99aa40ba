// Values as people read them: one format for each kind of number, and "–" for what is not known.
export const UNKNOWN = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const two = (value) => String(value).padStart(2, "0");

// How long a call lasts: 3:12, and 1:02:05 from an hour on.
export function duration(ms) {
  if (!isNumber(ms)) return UNKNOWN;
  const s = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}

// A position in a call: 0:13.4.
export function position(ms) {
  if (!isNumber(ms)) return UNKNOWN;
  const tenths = Math.max(0, Math.floor(ms / 100));
  return `${Math.floor(tenths / 600)}:${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
}

// A latency: 221 ms, 2,340 ms.
export const milliseconds = (ms) => (isNumber(ms) ? `${Math.round(ms).toLocaleString("en")} ms` : UNKNOWN);

export const count = (value) => (isNumber(value) ? value.toLocaleString("en") : UNKNOWN);

export const many = (value, one, more = `${one}s`) => `${count(value)} ${value === 1 ? one : more}`;

export function dollars(microUsd) {
  if (!isNumber(microUsd)) return UNKNOWN;
  const usd = microUsd / 1e6;
  return `$${usd.toFixed(usd && usd < 0.1 ? 4 : 2)}`;
}

// The middle one of some figures, of two the larger, as the server's rows have it; undefined for none.
export function median(figures) {
  if (!figures?.length) return undefined;
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

export const capital = (words) => (words ? words[0].toUpperCase() + words.slice(1) : "");

// Names of the program's own, such as `caller_hung_up`, with spaces.
export const spaced = (name) => String(name ?? "").replaceAll("_", " ");

// JSON as it is read best; any other text as it is.
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return String(text ?? "");
  }
}
