// One finished call: its sound, its lanes, its words and its figures under one cursor.
import { html, useEffect, useRef, useState } from "./htm-preact.js";
import { CostPane, ToolsPane, TurnsPane } from "./console-figures.js";
import { useKeys } from "./console-keys.js";
import { linkTo } from "./console-links.js";
import { load } from "./console-load.js";
import { MakeTest } from "./console-test.js";
import { Empty, Pane, Skeleton } from "./console-parts.js";
import { Line } from "./console-transcript.js";
import { position } from "./console-words.js";
import { Chart } from "./picture/chart.js";
import { clock, legend } from "./picture/shapes.js";

const TABS = [["words", "Words"], ["timeline", "Timeline"], ["tools", "Tools"]];
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const PEAKS = 1000;

export function RecordedCall({ name }) {
  const [call, setCall] = useState(null);
  const [turn, again] = useState(0);
  const path = `console/finished/${encodeURIComponent(name)}`;
  useEffect(() => {
    const asking = new AbortController();
    setCall(null);
    load(path, asking.signal).then(setCall, () => {});
    return () => asking.abort();
  }, [name, turn]);
  if (!call) return html`<div class="call"><${Skeleton} what="the call" /></div>`;
  if (call.error) {
    return html`
      <div class="call">
        <${Empty} large title="This call can not be shown">
          <p role="alert">${call.error}</p>
          <button type="button" onClick=${() => again(turn + 1)}>Try again</button>
          <a class="button" href=${linkTo("finished")}>Back to finished calls</a>
        </${Empty}>
      </div>
    `;
  }
  return html`<div class="call recorded"><${Head} call=${call} path=${path} /><${Body} call=${call} path=${path} /></div>`;
}

const Head = ({ call, path }) => html`
  <div class="call-head">
    <a class="button plain back" href=${linkTo("finished")} aria-label="Back to finished calls">←</a>
    <h1>${call.headline}</h1>
    <p class="facts">${call.facts.map(([name, value]) => html`<span>${name} <b>${value}</b></span>`)}</p>
  </div>
  <div class="actions">
    <a class="button" href=${`${path}/picture`} target="_blank" rel="noopener">Picture</a>
    <a class="button" href=${`${path}/picture?keep=1`}>Keep the picture</a>
    <a class="button" href=${`${path}/recording`}>Keep the recording</a>
    ${call.sound && html`<a class="button" href=${`${path}/sound.wav`} download=${`${call.name}.wav`}>Keep the sound</a>`}
  </div>
  ${call.differs !== null && html`<div class="banner warn">This version decides otherwise from ${position(call.differs)} on: from there is shown what it would do.</div>`}
`;

// The moment under the cursor, for everything that shows it. Panes hear of it when a line or an answer changes;
// what moves with each frame is told directly.
class Cursor {
  constructor() {
    this.ms = 0;
    this.told = new Set();
    this.player = null;
  }

  seek(ms) {
    if (this.player) this.player.currentTime = ms / 1000;
    this.move(ms);
  }

  move(ms) {
    this.ms = ms;
    for (const run of this.told) run(ms);
  }

  hear(run) {
    this.told.add(run);
    run(this.ms);
    return () => this.told.delete(run);
  }
}

// The last of these, by their `at_ms`, that had begun by then.
function useCurrent(cursor, entries) {
  const [id, setId] = useState(null);
  useEffect(() => cursor.hear((ms) => setId(entries.findLast((one) => one.at_ms !== null && one.at_ms <= ms + 1)?.id ?? null)), [entries]);
  return id;
}

function Body({ call, path }) {
  const [tab, setTab] = useState("words");
  const cursor = useRef(null);
  cursor.current ??= new Cursor();
  const view = { ...call, tools: call.tool_calls };
  return html`
    <${Player} call=${call} path=${path} cursor=${cursor.current} />
    <div class="tabs" role="group" aria-label="What is shown of the call">
      ${TABS.map(([name, title]) => html`<button type="button" aria-pressed=${String(tab === name)} onClick=${() => setTab(name)}>${title}</button>`)}
    </div>
    <div class="panes" data-tab=${tab}>
      <${Lanes} call=${call} path=${path} cursor=${cursor.current} />
      <${Words} call=${call} cursor=${cursor.current} />
      <div class="facts-column">
        <${Answers} view=${view} cursor=${cursor.current} />
        <${ToolsPane} view=${view} />
        <${CostPane} view=${view} />
      </div>
    </div>
  `;
}

// `timeupdate` comes four times a second: what is heard is asked at each frame of the screen.
function Player({ call, path, cursor }) {
  const audio = useRef();
  const peaks = useRef();
  const [why, setWhy] = useState("");
  useEffect(() => {
    const player = audio.current;
    if (!player) return;
    cursor.player = player;
    let frame = 0;
    const follow = () => {
      cancelAnimationFrame(frame);
      cursor.move(player.currentTime * 1000);
      if (!player.paused) frame = requestAnimationFrame(follow);
    };
    const failed = () => setWhy("The sound can not be played now; the server may be busy. Open the call again to try.");
    for (const kind of ["play", "pause", "seeked"]) player.addEventListener(kind, follow);
    player.addEventListener("error", failed);
    return () => {
      cancelAnimationFrame(frame);
      cursor.player = null;
    };
  }, []);
  const step = (sign) => (event) => cursor.seek(Math.min(Math.max(cursor.ms + sign * (event.shiftKey ? 100 : 1000), 0), call.end_ms));
  useKeys({
    " ": () => audio.current && (audio.current.paused ? audio.current.play() : audio.current.pause()),
    ArrowLeft: step(-1), ArrowRight: step(1),
  });
  usePeaks(peaks, call, path, cursor);
  if (!call.sound) return html`<p class="no-sound small quiet">The sound of this call was not recorded; BRIDGE_RECORD_AUDIO=1 keeps that of later calls.</p>`;
  const seek = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    cursor.seek(((event.clientX - box.left) / box.width) * call.end_ms);
  };
  return html`
    <div class="player">
      <audio ref=${audio} controls preload="auto" src=${`${path}/sound.wav`} aria-label="The call: left the caller, right what they heard"></audio>
      <canvas ref=${peaks} role="img" aria-label="Loudness of the caller, above, and of what they heard" onPointerDown=${seek}></canvas>
      ${why && html`<p class="bad small" role="alert">${why}</p>`}
    </div>
  `;
}

// The loudness of both sides over the whole call, with the cursor.
function usePeaks(canvas, call, path, cursor) {
  useEffect(() => {
    if (!canvas.current) return;
    const asking = new AbortController();
    let loud = null;
    const draw = () => canvas.current && drawPeaks(canvas.current, loud, cursor.ms / call.end_ms);
    fetch(`${path}/peaks`, { cache: "no-store", signal: asking.signal })
      .then((answer) => (answer.ok ? answer.arrayBuffer() : null))
      .then((buffer) => {
        loud = buffer && new Uint8Array(buffer);
        draw();
      }, () => {});
    const observer = new ResizeObserver(draw);
    observer.observe(canvas.current);
    const off = cursor.hear(draw);
    return () => {
      asking.abort();
      observer.disconnect();
      off();
    };
  }, []);
}

function drawPeaks(canvas, loud, share) {
  const { clientWidth: wide, clientHeight: tall } = canvas;
  canvas.width = wide * devicePixelRatio;
  canvas.height = tall * devicePixelRatio;
  const pen = canvas.getContext("2d"), styles = getComputedStyle(canvas), half = tall / 2;
  pen.scale(devicePixelRatio, devicePixelRatio);
  for (const [at, name] of [["--bar-caller", 0], ["--bar-heard", PEAKS]].map(([colour, start]) => [start, colour])) {
    pen.fillStyle = styles.getPropertyValue(name);
    for (let k = 0; loud && k < PEAKS; k++) {
      const high = Math.sqrt(loud[at + k] / 255) * half;
      pen.fillRect((k / PEAKS) * wide, at ? half : half - high, Math.max(1, wide / PEAKS), high);
    }
  }
  pen.fillStyle = styles.getPropertyValue("--ink");
  pen.fillRect(share * wide - 1, 0, 2, tall);
}

function Lanes({ call, path, cursor }) {
  const host = useRef();
  const list = useRef();
  const chart = useRef();
  const [what, setWhat] = useState(null);
  useEffect(() => {
    const drawn = (chart.current = new Chart(host.current, call.chart, {
      onPick: setWhat,
      onSeek: (ms) => cursor.seek(ms),
    }));
    legend(list.current);
    return cursor.hear((ms) => {
      drawn.cursor(STILL.matches ? Math.floor(ms / 1000) * 1000 : ms);
      if (cursor.player && !cursor.player.paused) drawn.show(ms);
    });
  }, []);
  const jump = (moments, by) => () => {
    const next = by > 0 ? moments().find((ms) => ms > cursor.ms + 1) : moments().findLast((ms) => ms < cursor.ms - 1);
    if (next === undefined) return;
    cursor.seek(next);
    chart.current.show(next);
  };
  const cuts = () => call.chart.cuts;
  const errors = () => chart.current.things.filter((one) => one.kind === "error" || one.kind === "failed").map((one) => one.from);
  const zoom = (by) => () => chart.current.zoom(by);
  useKeys({
    w: zoom(1 / 2), s: zoom(2), a: () => chart.current.pan(-1 / 4), d: () => chart.current.pan(1 / 4), f: () => chart.current.whole(),
    n: jump(cuts, 1), p: jump(cuts, -1), e: jump(errors, 1),
  });
  return html`
    <section class="pane timeline" aria-labelledby="pane-timeline">
      <header>
        <h2 id="pane-timeline">Timeline</h2>
        <button type="button" onClick=${jump(cuts, -1)}>‹ barge-in</button>
        <button type="button" onClick=${jump(cuts, 1)}>barge-in ›</button>
        <button type="button" aria-label="Zoom out" onClick=${zoom(2)}>−</button>
        <button type="button" aria-label="Zoom in" onClick=${zoom(1 / 2)}>+</button>
        <button type="button" onClick=${() => chart.current.whole()}>Whole</button>
      </header>
      <div class="recorded-lanes" ref=${host} tabindex="0" role="group" aria-label="Lanes over time; arrow up and arrow down step through what happened"></div>
      <p class="what small" role="status">
        ${what ? html`<b>${what.title}</b> <span class="quiet">${clock(what.from)} ${what.detail}</span>` : html`<span class="quiet">Press something in the lanes to see the frame behind it.</span>`}
      </p>
      <${MakeTest} path=${path} cursor=${cursor} />
      <details class="small"><summary>Legend</summary><ul class="shapes" ref=${list}></ul></details>
    </section>
  `;
}

function Words({ call, cursor }) {
  const [both, setBoth] = useState(false);
  const now = useCurrent(cursor, call.words);
  const log = useRef();
  useEffect(() => {
    const line = log.current.querySelector(".now");
    if (line) log.current.scrollTop = line.offsetTop - log.current.clientHeight / 3;
  }, [now]);
  return html`
    <section class="pane words" aria-labelledby="pane-words">
      <header><h2 id="pane-words">What was heard</h2><button type="button" aria-pressed=${String(both)} onClick=${() => setBoth(!both)}>Generated</button></header>
      <div class="scroll" ref=${log} tabindex="0" role="region" aria-label="Transcript">
        ${call.words.length === 0 && html`<${Empty} title="No words were recorded" />`}
        <div class="words-log ${both ? "both" : ""}">
          ${call.words.map((line) => html`<${Line} key=${line.id} line=${line} both=${both} now=${line.id === now} seek=${(ms) => cursor.seek(ms)} />`)}
        </div>
      </div>
    </section>
  `;
}

// The waterfall of the answer under the cursor, and of those before it.
function Answers({ view, cursor }) {
  const now = useCurrent(cursor, view.turns);
  const at = view.turns.findIndex((turn) => turn.id === now);
  const shown = at < 0 ? view.turns : view.turns.slice(0, at + 1);
  if (!view.turns.length) return html`<${Pane} name="turns-pane" title="Answer times"><${Empty} title="No answer was timed" /></${Pane}>`;
  return html`<${TurnsPane} view=${{ ...view, turns: shown }} />`;
}
