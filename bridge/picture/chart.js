// The lanes of a call over time, as SVG: what is in view is drawn anew when the view changes.

import { LATE_MS, bar, clock, colour, element, fitted, hatch, shape, strip, width } from "./shapes.js";

const GUTTER = 132, RIGHT = 10, AXIS = 22, GAP = 8, LABEL = 22, NARROW = 620;
const LEAST_MS = 200, CLOSE_PX = 9, BIN_PX = 4, MARKS_PX = 100 / 6, LEAST_TEXT_PX = 48, MOST_TEXT_PX = 240;
const STEPS_MS = [100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5];
const DEPTHS_MS = [500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4];
const TICKS = new Set(["delta", "unsent"]);
const MARKS = new Set(["mark", "echo", "flushed"]);

let charts = 0;

export class Chart {
  // `data` is that of `chart.py`. With `paperPx` it is drawn once, of that width. `onPick(what)` is told of what is clicked or stepped to, `onSeek(ms)` of a
  // click on a moment, `onPoint(what)` of what the pointer is over (null: of nothing).
  constructor(host, data, { from = 0, to = data.end, paperPx = 0, ...told } = {}) {
    Object.assign(this, { host, data, told, from, to, paperPx, cursorMs: null, picked: null });
    this.things = [...data.bars.map(asBar), ...data.points.map(asPoint), ...data.ticks.flatMap(asTicks)];
    this.things.sort((a, b) => a.from - b.from);
    this.latest = this.things.reduce((most, one) => Math.max(most, one.delay ?? 0), LATE_MS);
    this.stripes = `hatch-${++charts}`; // of its own: a pattern in a drawing that is hidden paints nothing
    this.svg = element("svg", { class: "call-chart" });
    host.append(this.svg);
    host.lanes = this;
    if (!paperPx) {
      new ResizeObserver(() => this.draw()).observe(host);
      this.#listen();
    }
    this.draw();
  }

  get plotWidth() { return Math.max(50, this.width - this.gutter - RIGHT); }
  get narrow() { return this.width < NARROW; }
  get gutter() { return this.narrow ? 0 : GUTTER; }
  x(ms) { return ((ms - this.from) / (this.to - this.from)) * this.plotWidth; }
  ms(x) { return this.from + (x / this.plotWidth) * (this.to - this.from); }

  look(from, to) {
    const wide = Math.min(Math.max(to - from, LEAST_MS), this.data.end);
    this.from = Math.min(Math.max(from, 0), this.data.end - wide);
    this.to = this.from + wide;
    this.draw();
  }

  whole() { this.look(0, this.data.end); }

  zoom(factor, at = (this.from + this.to) / 2) {
    const wide = Math.min(Math.max((this.to - this.from) * factor, LEAST_MS), this.data.end);
    const share = (at - this.from) / (this.to - this.from);
    this.look(at - share * wide, at + (1 - share) * wide);
  }

  pan(share) {
    const by = share * (this.to - this.from);
    this.look(this.from + by, this.to + by);
  }

  // Into view, if it is not.
  show(ms) {
    const wide = this.to - this.from;
    if (ms < this.from || ms > this.to) this.look(ms - wide / 4, ms + (3 * wide) / 4);
  }

  cursor(ms) {
    this.cursorMs = ms;
    this.#drawCursor();
  }

  pick(thing) {
    this.picked = thing;
    if (thing) this.show(thing.from);
    this.draw();
    this.told.onPick?.(thing);
  }

  // The next thing in time, or the one before; marks and pieces of sound are passed over.
  step(by) {
    const things = this.things.filter((one) => !TICKS.has(one.kind) && !MARKS.has(one.kind));
    const now = things.indexOf(this.picked);
    const first = things.findIndex((one) => one.from >= this.from);
    const next = now < 0 ? Math.max(first, 0) : Math.min(Math.max(now + by, 0), things.length - 1);
    if (things.length) this.pick(things[next]);
  }

  // --- drawing ---

  draw() {
    this.width = this.paperPx || this.host.clientWidth;
    if (!this.width) return;
    let at = AXIS;
    this.lanes = this.data.lanes.map(([name, high]) => {
      const label = this.narrow ? LABEL : 0, top = at + label;
      at = top + high + GAP;
      return { name, high, top, label, obstacles: [] };
    });
    this.height = at;
    const { svg, width, height } = this;
    for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` }))
      svg.setAttribute(name, value);
    const plot = element("svg", {
      x: this.gutter, y: 0, width: this.plotWidth + RIGHT, height, overflow: "hidden",
    });
    this.plot = plot;
    const visible = this.things.filter((one) => one.to >= this.from && one.from <= this.to);
    svg.replaceChildren(hatch(this.stripes), plot);
    this.#axis(plot);
    this.#names(svg);
    this.#depth(plot);
    for (const ms of this.data.cuts) this.#cut(plot, ms);
    if ((this.data.parts ?? null) !== null) this.#parts(plot, this.data.parts);
    this.#bars(plot, visible.filter((one) => one.bar));
    this.#points(plot, visible.filter((one) => !one.bar));
    this.#words(plot, visible.filter((one) => one.words));
    this.head = element("line", { class: "head", y1: 4, y2: height });
    plot.append(this.head);
    this.#drawCursor();
  }

  #drawCursor() {
    const ms = this.cursorMs;
    const seen = ms !== null && ms >= this.from && ms <= this.to;
    this.head.setAttribute("visibility", seen ? "visible" : "hidden");
    if (seen) for (const end of ["x1", "x2"]) this.head.setAttribute(end, this.x(ms).toFixed(1));
  }

  #axis(plot) {
    const least = ((this.to - this.from) * (this.narrow ? 64 : 80)) / this.plotWidth;
    const step = STEPS_MS.find((one) => one >= least) ?? STEPS_MS.at(-1);
    for (let ms = Math.ceil(this.from / step) * step; ms <= this.to; ms += step) {
      const x = this.x(ms).toFixed(1), digits = step < 1000 ? 1 : 0;
      plot.append(element("line", { class: "grid", x1: x, x2: x, y1: AXIS - 4, y2: this.height }));
      const text = clock(ms, digits), half = width(text, 11) / 2;
      const at = Math.min(Math.max(this.x(ms), half), this.plotWidth + RIGHT - half);
      plot.append(element("text", { class: "tick", x: at.toFixed(1), y: 12, "text-anchor": "middle" }, text));
    }
  }

  #names(svg) {
    for (const lane of this.lanes) {
      const y = this.narrow ? lane.top - 8 : lane.top + lane.high / 2;
      const base = lane.top + lane.high + GAP / 2;
      svg.append(element("line", { class: "base", x1: 0, x2: this.width, y1: base, y2: base }));
      if (this.narrow) svg.append(element("rect", {
        class: "behind", x: 0, y: lane.top - LABEL + 3, width: width(lane.name, 11) + 8, height: LABEL - 6, rx: 3,
      }));
      svg.append(element("text", {
        class: "lane", x: this.narrow ? 4 : 0, y, "dominant-baseline": "central",
      }, lane.name));
    }
  }

  #depth(plot) {
    const { depth } = this.data, lane = this.lanes[this.data.roles.depth], base = lane.top + lane.high;
    const most = depth.reduce((highest, [, ms]) => Math.max(highest, ms), 0);
    const step = DEPTHS_MS.find((one) => most <= 2 * one) ?? DEPTHS_MS.at(-1);
    const scale = lane.high / Math.max(most, step);
    const first = Math.max(0, depth.findIndex(([at]) => at >= this.from) - 1);
    const after = depth.findIndex(([at]) => at > this.to);
    const seen = depth.slice(first, after < 0 ? depth.length : after + 1);
    const line = seen.map(([at, ms]) => `${this.x(at).toFixed(1)},${(base - ms * scale).toFixed(1)}`).join("L");
    const [left, right] = [seen[0], seen.at(-1)].map(([at]) => this.x(at).toFixed(1));
    plot.append(element("path", { class: "buffer", d: `M${left},${base}L${line}L${right},${base}Z` }));
    for (let ms = step; ms <= Math.max(most, step); ms += step) {
      const y = base - ms * scale;
      plot.append(element("line", { class: "level", x1: 0, x2: this.plotWidth, y1: y, y2: y }));
      const [x, anchor] = this.narrow ? [this.plotWidth - 2, "end"] : [-6, "end"];
      const text = element("text", { class: "level", x: x + this.gutter, y: y + (this.narrow ? -4 : 4), "text-anchor": anchor });
      text.append(`${ms / 1000} s`);
      this.svg.append(text);
    }
  }

  // Where two calls on one axis part.
  #parts(plot, ms) {
    if (ms < this.from || ms > this.to) return;
    const x = this.x(ms).toFixed(1);
    plot.append(element("line", { class: "parts", x1: x, x2: x, y1: AXIS - 4, y2: this.height }));
  }

  #cut(plot, ms) {
    if (ms < this.from || ms > this.to) return;
    const x = this.x(ms).toFixed(1);
    plot.append(element("line", {
      class: "barge-in", x1: x, x2: x, y1: AXIS - 4, y2: this.height, "stroke-dasharray": "4 3",
    }));
  }

  #place(one) {
    const lane = this.lanes[one.lane], high = lane.high / one.rows;
    return [lane.top + one.row * high, high];
  }

  #bars(plot, bars) {
    for (const one of bars) {
      let [y, high] = this.#place(one);
      // The caller's voice, which proves their turn, has a strip of its own below it.
      if (one.lane === 0) [y, high] = one.kind === "voice" ? [y + high - 6, 6] : [y, high - 8];
      else if (one.rows > 1) [y, high] = [y + 1, high - 2];
      const x = Math.max(this.x(one.from), -4), end = Math.min(this.x(one.to), this.plotWidth + RIGHT + 4);
      plot.append(...bar(one.kind, x, y, end - x, high, this.stripes));
      one.box = { x, y, width: Math.max(end - x, 1.5), height: high };
      this.lanes[one.lane].obstacles.push(one.box);
      if (one === this.picked) plot.append(this.#ring(one.box));
    }
  }

  #points(plot, points) {
    const dense = this.#dense(points.filter((one) => MARKS.has(one.kind)));
    if (dense) this.#density(plot, points.filter((one) => one.kind === "echo" || one.kind === "flushed"));
    const ticks = {};
    for (const one of points) {
      const [y, high] = this.#place(one), x = this.x(one.from), middle = one.lane === 0 ? y + high - 3 : y + high / 2;
      one.box = { x: x - 5.5, y: middle - 5.5, width: 11, height: 11 };
      if (TICKS.has(one.kind)) {
        const lane = this.lanes[one.lane];
        one.box = { x: x - 1, y: lane.top, width: 2, height: lane.high };
        const key = `${one.lane} ${one.kind}`;
        ticks[key] = (ticks[key] ?? "") + `M${x.toFixed(1)},${lane.top + 3}V${lane.top + lane.high - 3}`;
      } else if (!(dense && MARKS.has(one.kind))) {
        plot.append(shape(one.kind, x, middle));
        this.lanes[one.lane].obstacles.push(one.box);
      }
      if (one === this.picked) plot.append(this.#ring(one.box));
    }
    for (const [key, d] of Object.entries(ticks)) {
      const stroke = colour(key.split(" ")[1]);
      plot.append(element("path", { class: "ticks", d, stroke, "stroke-width": 1.4, fill: "none" }));
    }
  }

  // Whether marks are too many to be told apart: more than 6 on 100 pixels of the lane.
  #dense(marks) {
    return marks.length > this.plotWidth / MARKS_PX;
  }

  #density(plot, echoes) {
    const lane = this.lanes[this.data.roles.marks], bins = new Map();
    for (const one of echoes) {
      const bin = Math.floor(this.x(one.from) / BIN_PX) * BIN_PX + BIN_PX / 2;
      bins.set(bin, Math.max(bins.get(bin) ?? 0, one.delay ?? 0));
    }
    plot.append(...strip(bins, lane.top, lane.high, this.latest));
  }

  // Words on bars as far as they go, and next to short bars of tools and to points where nothing is in the way.
  #words(plot, worded) {
    for (const one of worded) {
      const middle = one.box.y + one.box.height / 2;
      const start = Math.max(one.box.x, 0) + 6;
      const room = Math.min(one.box.x + one.box.width, this.plotWidth + RIGHT) - start - 5;
      const inside = one.bar && room >= 26 ? fitted(one.words, room, 11) : "";
      if (inside) {
        plot.append(element("text", {
          class: `on ${one.kind}`, x: start.toFixed(1), y: middle, "dominant-baseline": "central",
        }, inside));
      } else if (!one.bar || one.lane === this.data.roles.tools) this.#beside(plot, one, middle);
    }
  }

  // To the right of it as far as nothing is in the way, else to its left.
  #beside(plot, one, middle) {
    const { obstacles } = this.lanes[one.lane], gap = one.bar ? 12 : 5;
    const weight = one.kind === "failed" ? 600 : 400, whole = width(one.words, 11, weight);
    const right = one.box.x + one.box.width, least = one.bar ? Math.min(LEAST_TEXT_PX, whole) : whole;
    const level = obstacles.filter((box) => box !== one.box && box.y < middle + 8 && box.y + box.height > middle - 8);
    const next = Math.min(this.plotWidth + RIGHT, ...level.filter((box) => box.x + box.width > right).map((box) => box.x - 3));
    const last = Math.max(0, ...level.filter((box) => box.x < one.box.x).map((box) => box.x + box.width + 3));
    const after = next - right - gap, before = one.box.x - gap - last;
    if (Math.max(after, before) < least) return;
    const text = fitted(one.words, Math.min(after >= least ? after : before, MOST_TEXT_PX), 11, weight);
    const wide = width(text, 11, weight), x = after >= least ? right + gap : one.box.x - gap - wide;
    if (one.bar) {
      const [from, to] = after >= least ? [right + 1, x - 2] : [x + wide + 2, one.box.x - 1];
      plot.append(element("line", { class: "leader", x1: from, x2: to, y1: middle, y2: middle }));
    }
    plot.append(element("text", {
      class: `beside ${one.kind}`, x: x.toFixed(1), y: middle, "dominant-baseline": "central",
    }, text));
    obstacles.push({ x, y: middle - 7, width: wide, height: 14 });
  }

  #ring({ x, y, width: wide, height }) {
    return element("rect", {
      class: "ring", x: x - 2, y: y - 2, width: wide + 4, height: height + 4, rx: 4,
    });
  }

  // --- the pointer and the keyboard ---

  #local(event) {
    const box = this.svg.getBoundingClientRect();
    return [event.clientX - box.x - this.gutter, event.clientY - box.y];
  }

  #at(x, y) {
    const near = ({ box }) => Math.max(0, box.x - x, x - box.x - box.width)
      + Math.max(0, box.y - y, y - box.y - box.height);
    const close = this.things
      .filter((one) => one.box && one.to >= this.from && one.from <= this.to)
      .map((one) => [near(one) + (one.bar ? 1 : 0) * 2 + one.box.width * one.box.height * 1e-6, one])
      .filter(([distance]) => distance < CLOSE_PX);
    return close.length ? close.reduce((a, b) => (b[0] < a[0] ? b : a))[1] : null;
  }

  #listen() {
    const { host } = this;
    let drag = null;
    host.addEventListener("pointerdown", (event) => {
      if (event.button === 0) drag = { x: event.clientX, from: this.from, to: this.to, moved: false };
    });
    addEventListener("pointermove", (event) => {
      if (drag) {
        const by = event.clientX - drag.x;
        drag.moved ||= Math.abs(by) > 4;
        const ms = (by / this.plotWidth) * (drag.to - drag.from);
        if (drag.moved) this.look(drag.from - ms, drag.to - ms);
      } else if (host.contains(event.target)) this.told.onPoint?.(this.#at(...this.#local(event)));
    });
    host.addEventListener("pointerleave", () => this.told.onPoint?.(null));
    addEventListener("pointerup", (event) => {
      const was = drag;
      drag = null;
      if (!was || was.moved || !host.contains(event.target)) return;
      const [x, y] = this.#local(event);
      if (x < 0) return;
      this.pick(this.#at(x, y));
      this.told.onSeek?.(Math.min(Math.max(this.ms(x), 0), this.data.end));
    });
    addEventListener("pointercancel", () => { drag = null; });
    host.addEventListener("wheel", (event) => {
      const zooms = event.ctrlKey || event.metaKey || event.shiftKey;
      if (!zooms && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
      event.preventDefault();
      if (zooms) this.zoom(Math.exp((event.deltaY || event.deltaX) / 300), this.ms(this.#local(event)[0]));
      else this.pan(event.deltaX / this.plotWidth);
    }, { passive: false });
    host.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      this.step(event.key === "ArrowDown" ? 1 : -1);
    });
  }
}

function asBar([lane, kind, from, to, row, rows, words, title, detail]) {
  return { bar: true, lane, kind, from, to, row, rows, words, title, detail };
}

function asPoint([lane, kind, at, row, rows, words, title, detail]) {
  return { bar: false, lane, kind, from: at, to: at, row, rows, words, title, detail };
}

function asTicks([lane, kind, row, rows, ticks]) {
  return ticks.map(([at, title, detail, delay]) => ({
    bar: false, lane, kind, from: at, to: at, row, rows, words: "", title, detail, delay,
  }));
}
