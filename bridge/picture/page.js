// The page around the chart: player, buttons, keys, details, legend, print.

import { Chart } from "./chart.js";
import { clock, legend } from "./shapes.js";

const find = (selector) => document.querySelector(selector);
const data = JSON.parse(find("#data").textContent);
const player = find("#player"), details = find("#details"), host = find("#chart");
const still = matchMedia("(prefers-reduced-motion: reduce)");

function tell(thing) {
  details.dataset.kind = thing?.kind ?? "";
  if (!thing) {
    details.textContent = "Click on something, or step through the call with ↑ and ↓, to see its frame here.";
    return;
  }
  const [title, time, command, frame] = ["b", "span", "code", "pre"].map((name) => document.createElement(name));
  title.textContent = thing.title;
  const lasted = thing.bar ? ` to ${clock(thing.to)} (${(thing.to - thing.from).toLocaleString("en")} ms)` : "";
  time.textContent = clock(thing.from) + lasted;
  frame.textContent = thing.detail;
  command.textContent = makeTest(thing);
  details.replaceChildren(title, " ", time, " ", command, frame);
}

// The command that makes a test of this moment; of a second call on the axis there is another recording.
function makeTest({ lane, from }) {
  if (data.lanes[lane][0].startsWith("2 ")) return "";
  const name = find("header small").textContent;
  const named = /^[\w.+-]+$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
  return `phonebridge make-test ${named} --at ${(from / 1000).toFixed(2)}`;
}

function seek(ms) {
  if (player) player.currentTime = ms / 1000;
  else chart.cursor(ms);
}

const chart = new Chart(host, data, {
  onPick: tell,
  onPoint: (thing) => tell(thing ?? chart.picked),
  onSeek: seek,
});
tell(null);
legend(find("#legend"));

function follow() {
  const ms = player.currentTime * 1000;
  chart.cursor(still.matches ? Math.floor(ms / 1000) * 1000 : ms);
  if (!player.paused) {
    chart.show(ms);
    requestAnimationFrame(follow);
  }
}
if (player) for (const kind of ["play", "seeked", "timeupdate"]) player.addEventListener(kind, follow);

function lookAt(ms) {
  seek(ms);
  chart.look(ms - 2000, ms + 3000);
  host.scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: "nearest" });
}

document.addEventListener("click", (event) => {
  const { zoom, at } = event.target.closest("button")?.dataset ?? {};
  if (zoom) ACTIONS[zoom]();
  if (at) lookAt(Number(at));
});

// To the next barge-in, or the next error, or back: the one after the middle of the view, or the cursor.
function next(moments, by) {
  const now = chart.cursorMs ?? -1;
  const one = by > 0 ? moments.find((ms) => ms > now + 1) : moments.findLast((ms) => ms < now - 1);
  if (one !== undefined) lookAt(one);
}

const errors = chart.things.filter((one) => one.kind === "error" || one.kind === "failed").map((one) => one.from);
const skip = (ms) => seek(Math.min(Math.max((chart.cursorMs ?? 0) + ms, 0), data.end));
const ACTIONS = {
  w: () => chart.zoom(1 / 2), s: () => chart.zoom(2), a: () => chart.pan(-1 / 4), d: () => chart.pan(1 / 4),
  f: () => chart.whole(), n: () => next(data.cuts, 1), p: () => next(data.cuts, -1), e: () => next(errors, 1),
  " ": () => player && (player.paused ? player.play() : player.pause()),
  ArrowLeft: (fine) => skip(fine ? -100 : -1000), ArrowRight: (fine) => skip(fine ? 100 : 1000),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, audio, summary") || (event.key === " " && event.target.closest("button")))
    return;
  const action = ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action(event.shiftKey);
});

// On paper a call is a strip for each minute.
const STRIP_MS = 60000, PAPER_PX = 1280; // more than there are: drawn smaller, two fit below the summary
function strips() {
  const paper = find("#strips");
  paper.replaceChildren();
  for (let from = 0; from < data.end; from += STRIP_MS) {
    const strip = document.createElement("div");
    paper.append(strip);
    new Chart(strip, data, { from, to: from + STRIP_MS, paperPx: PAPER_PX });
  }
}
addEventListener("beforeprint", strips);
addEventListener("afterprint", () => find("#strips").replaceChildren());

document.body.dataset.drawn = "yes";
