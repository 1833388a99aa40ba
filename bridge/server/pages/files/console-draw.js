// Draws a call's timeline: bars in lanes over the call's milliseconds. Nothing here knows the page.
const TALL = { caller: 26, heard: 26, tool: 22, mark: 20 };
const NAMES = { caller: "caller", heard: "heard", tool: "tools", mark: "marks" };
const GAP = 8;
const AXIS = 18;
const STEPS_MS = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000];
const FONT = "12px system-ui, sans-serif";
export const GUTTER = 60;
const SIGNS = { barge_in: ["▼", "--bad"], cut: ["▽", "--quiet"], key: ["•", "--caller"], operator: ["◆", "--link"], answered: ["│", "--good"], note: ["○", "--quiet"] };

// A canvas of the size that it has on the page, cleared, in CSS pixels.
export function begin(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = devicePixelRatio;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  const styles = getComputedStyle(canvas);
  return { pen, width, height, colour: (name) => styles.getPropertyValue(name) };
}

function stripes(pen, x, y, wide, tall, colour) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, wide, tall);
  pen.clip();
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (let at = Math.floor((x - tall) / 5) * 5; at < x + wide; at += 5) {
    pen.moveTo(at, y + tall);
    pen.lineTo(at + tall, y);
  }
  pen.stroke();
  pen.restore();
  pen.strokeStyle = colour;
  pen.lineWidth = 1;
  pen.strokeRect(x + 0.5, y + 0.5, Math.max(0, wide - 1), tall - 1);
}

function written(pen, text, x, y, wide, colour) {
  if (wide < 48 || !text) return;
  let shown = text;
  const room = wide - 10;
  if (pen.measureText(shown).width > room) {
    let end = Math.max(1, Math.floor(shown.length * room / pen.measureText(shown).width));
    while (end > 1 && pen.measureText(`${shown.slice(0, end)}…`).width > room) end--;
    shown = `${shown.slice(0, end)}…`;
  }
  pen.fillStyle = colour;
  pen.fillText(shown, x + 5, y);
}

const bar = { caller: "--bar-caller", model: "--bar-heard", cut: "--bar-heard", phrase: "--bar-ours", failed: "--bad" };
const fillOf = (lane) => (lane.lane === "tool" ? (lane.state === "failed" ? "--bad" : "--bar-tool") : lane.lane === "caller" ? "--bar-caller" : bar[lane.state] ?? "--bar-heard");

// The lanes of `scene` ({lanes, unheard, now, at}) between two moments.
export function drawLanes(canvas, scene, from, to) {
  const { pen, width, height, colour } = begin(canvas);
  const perMs = (width - GUTTER) / (to - from);
  const x = (ms) => GUTTER + (ms - from) * perMs;
  axis(pen, { from, to, x, height, width, perMs, colour });
  let y = AXIS + GAP / 2;
  const rows = {};
  for (const [name, tall] of Object.entries(TALL)) {
    rows[name] = { y, tall };
    pen.fillStyle = colour("--quiet");
    pen.fillText(NAMES[name], 0, y + tall / 2);
    pen.fillStyle = colour("--sunk");
    pen.fillRect(GUTTER, y, width - GUTTER, tall);
    y += tall + GAP;
  }
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, 0, width - GUTTER, height);
  pen.clip();
  for (const { from_ms: begins, to_ms: ends } of scene.unheard) {
    if (ends < from || begins > to) continue;
    stripes(pen, x(begins), rows.heard.y, (ends - begins) * perMs, rows.heard.tall, colour("--bad"));
  }
  const tools = scene.lanes.filter((lane) => lane.lane === "tool");
  for (const lane of scene.lanes) {
    const end = lane.to_ms ?? scene.now;
    if (end < from || lane.from_ms > to) continue;
    if (lane.lane === "away") {
      pen.fillStyle = colour("--bar-lost");
      pen.globalAlpha = 0.35;
      pen.fillRect(x(lane.from_ms), AXIS, (end - lane.from_ms) * perMs, height - AXIS);
      pen.globalAlpha = 1;
      written(pen, lane.text || "away", Math.max(GUTTER, x(lane.from_ms)), AXIS + 8, (end - lane.from_ms) * perMs, colour("--ink"));
    } else if (lane.lane === "mark") sign(pen, lane, x(lane.from_ms), rows.mark, colour);
    else if (rows[lane.lane]) {
      const next = tools.find((one) => one.from_ms > lane.from_ms);
      const last = tools.findLast((one) => one.from_ms < lane.from_ms);
      const free = { from: Math.max(GUTTER, last ? x(last.to_ms ?? scene.now) : 0), to: next ? x(next.from_ms) : width };
      stretch(pen, lane, x(lane.from_ms), x(end), free, rows[lane.lane], colour);
    }
  }
  pen.fillStyle = colour("--good");
  if (scene.live && scene.now >= from && scene.now <= to) pen.fillRect(Math.round(x(scene.now)), AXIS, 1, height - AXIS);
  if (scene.at !== null && scene.at >= from && scene.at <= to) {
    pen.fillStyle = colour("--ink");
    pen.fillRect(Math.round(x(scene.at)) - 1, AXIS - 4, 2, height - AXIS + 4);
  }
  pen.restore();
}

function axis(pen, { from, to, x, height, width, perMs, colour }) {
  const step = STEPS_MS.find((one) => one * perMs >= 64) ?? STEPS_MS.at(-1);
  for (let ms = Math.ceil(from / step) * step; ms <= to; ms += step) {
    const at = Math.round(x(ms));
    pen.fillStyle = colour("--line");
    pen.fillRect(at, AXIS - 4, 1, height - AXIS + 4);
    const tenths = step < 1000 ? `.${Math.floor(ms / 100) % 10}` : "";
    const text = `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}${tenths}`;
    if (ms >= 0 && at + pen.measureText(text).width + 4 < width) {
      pen.fillStyle = colour("--quiet");
      pen.fillText(text, at + 3, 7);
    }
  }
}

// The name of a tool whose bar is too short for it: behind the bar, or else before it, where no other bar is.
function beside(pen, text, left, right, free, y, colour) {
  const wide = pen.measureText(text).width + 5;
  pen.fillStyle = colour;
  if (right + wide <= free.to) pen.fillText(text, right + 5, y);
  else if (left - wide >= free.from) pen.fillText(text, left - wide, y);
}

// `free` is where no other bar of the lane is.
function stretch(pen, lane, left, right, free, { y, tall }, colour) {
  const wide = Math.max(2, right - left);
  const failed = lane.state === "failed";
  pen.fillStyle = colour(fillOf(lane));
  pen.beginPath();
  pen.roundRect(left, y, wide, tall, 3);
  pen.fill();
  if (lane.state === "phrase") {
    pen.fillStyle = colour("--border");
    pen.fillRect(left, y, 3, tall); // a notch: no model said it
  }
  const shown = Math.max(left, GUTTER);
  const text = failed ? `✕ ${lane.text}` : lane.text;
  if (lane.lane === "tool" && pen.measureText(text).width + 10 > wide) {
    beside(pen, text, left, left + wide, free, y + tall / 2, colour(failed ? "--bad" : "--ink"));
    return;
  }
  written(pen, text, shown, y + tall / 2, right - shown, colour(failed ? "--on-solid" : "--on-bar"));
}

function sign(pen, lane, at, { y, tall }, colour) {
  const [shape, paint] = SIGNS[lane.state] ?? SIGNS.note;
  pen.fillStyle = colour(paint);
  pen.textAlign = "center";
  pen.fillText(shape, at, y + tall / 2);
  pen.textAlign = "left";
}

// The whole call in a strip, with the window that the lanes show.
export function drawOverview(canvas, scene, from, to) {
  const { pen, width, height, colour } = begin(canvas);
  const perMs = width / Math.max(1, scene.end);
  const rows = { caller: [4, 6], heard: [11, 6], tool: [18, 4] };
  for (const lane of scene.lanes) {
    const left = lane.from_ms * perMs;
    const wide = Math.max(1, ((lane.to_ms ?? scene.now) - lane.from_ms) * perMs);
    if (rows[lane.lane]) {
      pen.fillStyle = colour(fillOf(lane));
      pen.fillRect(left, rows[lane.lane][0], wide, rows[lane.lane][1]);
    } else if (lane.state === "barge_in") {
      pen.fillStyle = colour("--bad");
      pen.fillRect(left, 0, 1.5, height);
    }
  }
  const left = Math.max(0, from * perMs);
  const right = Math.min(width, to * perMs);
  pen.fillStyle = colour("--shade");
  pen.fillRect(0, 0, left, height);
  pen.fillRect(right, 0, width - right, height);
  pen.strokeStyle = colour("--link");
  pen.lineWidth = 2;
  pen.strokeRect(left + 1, 1, Math.max(2, right - left - 2), height - 2);
}
