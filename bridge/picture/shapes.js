// What the chart of a call is drawn with: shapes, bars, and text that fits. The legend uses the same.

const SVG = "http://www.w3.org/2000/svg";
export const LATE_MS = 150;
const COLUMN_PX = 3;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

// Around (0, 0), 10 px wide.
const SHAPES = {
  echo: "M-5,-4H5L0,5Z", flushed: "M-5,-4H5L0,5Z", mark: "M-5,4H5L0,-5Z", error: "M-5.5,4.5H5.5L0,-5.5Z",
  truncate: "M4,-5V5L-5,0Z", delete: "M-4,-4H4V4H-4Z", cancel: "M0,-5.5L5.5,0L0,5.5L-5.5,0Z",
  interrupt: "M0,-5.5L5.5,0L0,5.5L-5.5,0Z", key: "M-4.5,0A4.5,4.5 0 1 1 4.5,0A4.5,4.5 0 1 1 -4.5,0Z",
  note: "M-4,0A4,4 0 1 1 4,0A4,4 0 1 1 -4,0Z", clear: "M-4,-4L4,4M4,-4L-4,4",
  delta: "M0,-5V5", unsent: "M0,-5V5",
};
const LINES = new Set(["clear", "delta", "unsent"]);

// What the legend names: the shapes of the chart with their meaning.
const MEANINGS = [
  ["caller", "the caller's turn"], ["voice", "a voice on the line"], ["key", "a key is pressed"],
  ["model", "the model's answer"], ["delta", "a piece of its sound"], ["unsent", "a piece thrown away"],
  ["heard", "heard by the caller"], ["ours", "heard: a recorded sound"], ["lost", "not heard, or away"],
  ["mark", "a mark is sent"], ["echo", "its echo: played so far"], ["flushed", "an echo after a clear"],
  ["late", "echoes, by delay: late ones"], ["clear", "the carrier's buffer is emptied"],
  ["cancel", "an answer is cancelled"], ["truncate", "the model is told what was heard"],
  ["delete", "the model is to forget"], ["tool", "a tool runs"], ["failed", "✕ a tool has failed"],
  ["dialling", "the model is dialled"], ["session", "a session with the model"], ["error", "an error"],
  ["note", "a note"],
];

export function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const colour = (kind) => `var(--kind-${kind})`;

export function clock(ms, digits = 3) {
  const whole = Math.round(ms), rest = (whole % 60000) / 1000;
  return Math.floor(whole / 60000) + ":" + rest.toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
}

const ruler = document.createElement("canvas").getContext("2d");

export function width(text, size, weight = 400) {
  ruler.font = `${weight} ${size}px ${FONT}`;
  return ruler.measureText(text).width;
}

// As much of the text as there is room for; "" where not even some letters fit.
export function fitted(text, room, size, weight) {
  if (width(text, size, weight) <= room) return text;
  let few = 0, many = text.length;
  while (many - few > 1) {
    const middle = (few + many) >> 1;
    if (width(text.slice(0, middle) + "…", size, weight) <= room) few = middle; else many = middle;
  }
  return few < 2 ? "" : text.slice(0, few).trimEnd() + "…";
}

export function shape(kind, x, y) {
  const line = LINES.has(kind);
  return element("path", {
    class: "point", d: SHAPES[kind], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    fill: line ? "none" : colour(kind), stroke: colour(kind), "stroke-width": line ? 1.8 : 1,
  });
}

// Heard sound is solid; what was not heard is hatched, by the pattern of that name; a sound of ours has a notch;
// a failure is red.
export function bar(kind, x, y, wide, high, stripes) {
  const box = { class: "bar", x: x.toFixed(1), y, width: Math.max(wide, 1.5).toFixed(1), height: high, rx: 3 };
  if (kind === "lost")
    return [element("rect", { ...box, fill: `url(#${stripes})`, stroke: colour(kind), "stroke-dasharray": "3 3" })];
  const drawn = [element("rect", { ...box, fill: colour(kind) })];
  if (kind === "ours" && wide > 10)
    drawn.push(element("path", { d: `M${x.toFixed(1)},${y}h8l-8,8Z`, fill: "var(--card)" }));
  return drawn;
}

export function hatch(id) {
  const stroke = { d: "M-1,1L1,-1M0,6L6,0M5,7L7,5", stroke: colour("lost"), "stroke-opacity": 0.55 };
  const size = { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" };
  return element("defs", {}, element("pattern", size, element("path", stroke)));
}

// The kinds that are in the chart, each drawn as there.
export function legend(list) {
  for (const [kind, meaning] of MEANINGS) {
    const drawing = element("svg", { width: 30, height: 16, "aria-hidden": "true" });
    if (kind === "late") drawing.append(...strip([[4, 40], [8, 90], [12, 240], [16, 60]], 0, 14, 240));
    else if (kind in SHAPES) drawing.append(shape(kind, 15, 8));
    else if (kind === "lost") drawing.append(hatch("hatch-legend"), ...bar(kind, 1, 1, 28, 14, "hatch-legend"));
    else drawing.append(...bar(kind, 1, kind === "voice" ? 5 : 1, 28, kind === "voice" ? 6 : 14));
    const item = document.createElement("li");
    item.append(drawing, meaning);
    list.append(item);
  }
}

// Echoes that would run into each other, as columns: their height is the longest delay, late ones are amber.
export function strip(bins, top, high, most) {
  const paths = { echo: "", late: "" };
  for (const [x, delay] of bins) {
    const tall = Math.max(2, Math.min(1, delay / most) * (high - 1));
    paths[delay > LATE_MS ? "late" : "echo"] += `M${x},${(top + high - tall).toFixed(1)}V${top + high}`;
  }
  return Object.entries(paths).filter(([, d]) => d).map(([kind, d]) =>
    element("path", { class: "density", d, stroke: colour(kind), "stroke-width": COLUMN_PX }));
}
