// The timeline that grows: a strip of the whole call, and a window of it in lanes. Also as a table.
import { html, useEffect, useMemo, useRef, useState } from "./htm-preact.js";
import { GUTTER, drawLanes, drawOverview } from "./console-draw.js";
import { useKeys } from "./console-keys.js";
import { isOver } from "./console-rows.js";
import { callClock } from "./console-store.js";
import { UNKNOWN, milliseconds, position, spaced } from "./console-words.js";

const SPAN_MS = 30_000;
const LEAST_MS = 500;
const MOST_ROWS = 60;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const LEGEND = [["caller", "caller speaks"], ["heard", "heard"], ["unheard", "made, never heard"], ["phrase", "phrase of the bridge"], ["tool", "tool"], ["failed", "✕ failed tool"]];

// The lanes with the words of the agent's bars, and what was made of an item and cut before it was heard.
function sceneOf(view) {
  const lines = new Map(view.words.map((line) => [`h${line.id}`, line]));
  const lanes = view.lanes.map((lane) => (lines.has(lane.id) && !lane.text ? { ...lane, text: lines.get(lane.id).text } : lane));
  const unheard = lanes.flatMap((lane) => {
    const line = lane.lane === "heard" && lane.to_ms !== null && lane.state === "cut" ? lines.get(lane.id) : undefined;
    const lost = line ? line.made_ms - line.heard_ms : 0;
    return lost > 0 ? [{ from_ms: lane.to_ms, to_ms: lane.to_ms + lost }] : [];
  });
  return { lanes, unheard };
}

// Which part of the call the lanes show: `span` wide, up to `end`, which is null while it follows the call.
function useWindow(view) {
  const [span, setSpan] = useState(SPAN_MS);
  const [end, setEnd] = useState(null);
  const last = () => Math.max(callClock(view) ?? 0, 1000);
  const edge = (now = last()) => {
    const wide = Math.min(span, Math.max(now, 5000));
    const to = end === null ? Math.max(now, wide) : end;
    return [to - wide, to];
  };
  const centre = (ms) => {
    const [from, to] = edge();
    const next = ms + (to - from) / 2;
    setEnd(next >= last() && !isOver(view.row) ? null : Math.max(to - from, Math.min(last(), next)));
  };
  return {
    edge,
    last,
    centre,
    name: `${span} ${end}`,
    following: end === null,
    follow: () => setEnd(null),
    whole: () => (setSpan(Infinity), setEnd(null)),
    zoom: (by) => setSpan(Math.max(LEAST_MS, Math.min(last(), (edge()[1] - edge()[0]) * by))),
    pan: (by) => {
      const [from, to] = edge();
      centre((from + to) / 2 + by * (to - from));
    },
  };
}

export function TimelinePane({ view, at, seek, stale }) {
  const frame = useWindow(view);
  const [table, setTable] = useState(false);
  const detail = useRef();
  const overview = useRef();
  const shown = useMemo(() => sceneOf(view), [view.words, view.lanes]);
  const scene = useRef();
  scene.current = { view, shown, at, frame };
  useDrawing(detail, overview, scene, stale);
  useTimelineKeys(view, at, seek, frame);

  const msAt = (event) => {
    const [from, to] = frame.edge();
    const box = event.currentTarget.getBoundingClientRect();
    return from + Math.max(0, (event.clientX - box.left - GUTTER) / (box.width - GUTTER)) * (to - from);
  };
  const overviewAt = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    frame.centre(((event.clientX - box.left) / box.width) * frame.last());
  };
  const drag = (event) => event.buttons === 1 && overviewAt(event);
  return html`
    <section class="pane timeline" aria-labelledby="pane-timeline">
      <header>
        <h2 id="pane-timeline">Timeline</h2>
        ${at !== null && html`<span class="small">at ${position(at)}</span><button type="button" onClick=${() => seek(null)}>Clear</button>`}
        ${!frame.following && html`<button type="button" onClick=${frame.follow}>${isOver(view.row) ? "End" : "Live"}</button>`}
        <button type="button" aria-label="Zoom out" onClick=${() => frame.zoom(1.6)}>−</button>
        <button type="button" aria-label="Zoom in" onClick=${() => frame.zoom(1 / 1.6)}>+</button>
        <button type="button" onClick=${frame.whole}>Whole</button>
        <button type="button" aria-pressed=${String(table)} onClick=${() => setTable(!table)}>Table</button>
      </header>
      <div class="lanes ${stale ? "stale" : ""}">
        <canvas class="overview" ref=${overview} role="img" aria-label="The whole call; press to go there" onPointerDown=${overviewAt} onPointerMove=${drag}></canvas>
        <canvas class="detail" ref=${detail} role="img" aria-label=${summary(view)} onPointerDown=${(event) => seek(msAt(event))}></canvas>
      </div>
      <p class="legend" aria-hidden="true">${LEGEND.map(([name, words]) => html`<span class=${name}><i></i>${words}</span>`)}</p>
      ${table && html`<${Table} view=${view} />`}
    </section>
  `;
}

function summary(view) {
  const cuts = view.lanes.filter((lane) => lane.state === "barge_in").length;
  return `Timeline of ${position(view.at_ms)}: ${view.turns.length} answers, ${cuts} barge-ins, ${view.tools.length} tools. The button Table shows it as a table.`;
}

// Ten times a second while the call lives, once where motion is not wanted; and after each change.
function useDrawing(detail, overview, scene, stale) {
  const draw = () => {
    if (!detail.current?.clientWidth) return; // in a tab that is not shown
    const { view, shown, at, frame } = scene.current;
    const now = callClock(view) ?? 0;
    const [from, to] = frame.edge(Math.max(now, 1000));
    const drawn = { ...shown, now, at, live: !isOver(view.row), end: Math.max(now, to, 1000) };
    drawLanes(detail.current, drawn, from, to);
    drawOverview(overview.current, drawn, from, to);
  };
  const { view, at, frame } = scene.current;
  useEffect(draw, [at, frame.name, isOver(view.row) && view.lanes, stale]);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || isOver(scene.current.view.row) || draw(), STILL.matches ? 1000 : 100);
    const observer = new ResizeObserver(draw);
    observer.observe(detail.current);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    return () => {
      clearInterval(timer);
      observer.disconnect();
      scheme.removeEventListener("change", draw);
    };
  }, []);
}

function useTimelineKeys(view, at, seek, frame) {
  const show = (ms) => {
    seek(ms);
    const [from, to] = frame.edge();
    if (ms < from || ms > to) frame.centre(ms);
  };
  const step = (sign) => (event) => {
    const from = at ?? frame.last();
    show(Math.max(0, Math.min(frame.last(), from + sign * (event.shiftKey ? 100 : 1000))));
  };
  const moments = (wanted) => view.lanes.filter(wanted).map((lane) => lane.from_ms).sort((a, b) => a - b);
  const jump = (wanted, forward) => () => {
    const found = moments(wanted);
    if (!found.length) return;
    const here = at ?? frame.last();
    show(forward ? found.find((ms) => ms > here) ?? found[0] : found.findLast((ms) => ms < here) ?? found.at(-1));
  };
  const cut = (lane) => lane.state === "barge_in";
  const failed = (lane) => lane.state === "failed";
  useKeys({
    ArrowLeft: step(-1), ArrowRight: step(1), w: () => frame.zoom(1 / 1.6), s: () => frame.zoom(1.6), a: () => frame.pan(-0.25),
    d: () => frame.pan(0.25), f: frame.whole, n: jump(cut, true), p: jump(cut, false), e: jump(failed, true), " ": () => (seek(null), frame.follow()),
  });
}

const Table = ({ view }) => html`
  <div class="as-table" tabindex="0" role="region" aria-label="The timeline as a table">
    <table>
      <thead><tr><th>from</th><th>lasted</th><th>what</th><th>words</th></tr></thead>
      <tbody>
        ${view.lanes.slice(-MOST_ROWS).reverse().map((lane) => html`
          <tr key=${lane.id}>
            <td>${position(lane.from_ms)}</td>
            <td>${lane.lane === "mark" ? "" : lane.to_ms === null ? UNKNOWN : milliseconds(lane.to_ms - lane.from_ms)}</td>
            <td>${lane.lane === "mark" ? spaced(lane.state) : `${lane.lane}${lane.state && lane.lane !== lane.state ? `, ${spaced(lane.state)}` : ""}`}</td><td>${lane.text}</td>
          </tr>
        `)}
      </tbody>
    </table>
  </div>
`;
