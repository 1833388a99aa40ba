// What was said, as the caller heard it. Beside it, on demand, what was generated.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./htm-preact.js";
import { Empty, still } from "./console-parts.js";
import { position } from "./console-words.js";

const SHOWN = 100; // lines; earlier ones on demand
const NAMES = { caller: "caller", agent: "agent", bridge: "bridge", operator: "you", system: "to model" };
const FINISHED = new Set(["said", "cut", "unheard"]);
const NEAR_PX = 40;

export function WordsPane({ view, at, seek, stale }) {
  const [both, setBoth] = useState(false);
  const [shown, setShown] = useState(SHOWN);
  const [atEnd, setAtEnd] = useState(true);
  const scroller = useRef();
  const lines = view.words.slice(-shown);
  const toEnd = () => {
    scroller.current.scrollTop = scroller.current.scrollHeight;
    setAtEnd(true);
  };
  useLayoutEffect(() => {
    if (atEnd) scroller.current.scrollTop = scroller.current.scrollHeight;
  });
  const scrolled = ({ target }) => setAtEnd(target.scrollHeight - target.scrollTop - target.clientHeight < NEAR_PX);
  return html`
    <section class="pane words" aria-labelledby="pane-words">
      <header>
        <h2 id="pane-words">What was heard</h2>
        <button type="button" aria-pressed=${String(both)} onClick=${() => setBoth(!both)}>Generated</button>
      </header>
      <div class="scroll ${stale ? "stale" : ""}" ref=${scroller} onScroll=${scrolled} tabindex="0" role="log" aria-live="off" aria-label="Transcript">
        ${lines.length === 0 && html`<${Empty} title="No words yet"><p>What caller and agent say shows here as it is heard.</p></${Empty}>`}
        <div class="words-log ${both ? "both" : ""}">
          ${view.words.length > shown && html`<button type="button" onClick=${() => setShown(shown + SHOWN)}>Show earlier words</button>`}
          ${lines.map((line) => html`<${Line} key=${line.id} line=${line} both=${both} seek=${seek} />`)}
        </div>
      </div>
      ${!atEnd && html`<button type="button" class="to-end" onClick=${toEnd}>Newest ↓</button>`}
      <${Announcer} words=${view.words} />
    </section>
  `;
}

// A screen reader hears each sentence once, when it is finished.
function Announcer({ words }) {
  const told = useRef(null);
  if (told.current === null) told.current = new Set(words.filter((line) => FINISHED.has(line.state)).map((line) => line.id));
  const [news, setNews] = useState("");
  useEffect(() => {
    const fresh = words.filter((line) => FINISHED.has(line.state) && !told.current.has(line.id));
    if (!fresh.length) return;
    fresh.forEach((line) => told.current.add(line.id));
    const heard = fresh.map((line) => [NAMES[line.who] ?? line.who, heardOf(line)]).filter(([, text]) => text);
    setNews(heard.map(([who, text]) => `${who}: ${text}`).join(". "));
  }, [words]);
  return html`<p class="visually-hidden" aria-live="polite">${news}</p>`;
}

// JavaScript counts in halves of a rare character, the server in whole ones.
const split = (line) => {
  const characters = Array.from(line.text);
  return [characters.slice(0, line.heard).join(""), characters.slice(line.heard).join("")];
};
const heardOf = (line) => (line.who === "agent" || line.who === "bridge" ? split(line)[0] : line.text).trim();

// `now`: it is said at the moment under the cursor.
export const Line = still(({ line, both, seek, now = false }) => {
  const { who, at_ms: at, state } = line;
  return html`
    <div class="said ${who} ${state} ${now ? "now" : ""}" aria-current=${now ? "true" : undefined}>
      <time>${at === null ? "" : html`<button type="button" class="time" onClick=${() => seek(at)} aria-label=${`Go to ${position(at)}`}>${position(at)}</button>`}</time>
      <b>${NAMES[who] ?? who}</b>
      <span class="text"><${Words} line=${line} /><${Aside} line=${line} /></span>
      ${both && who === "agent" && html`<span class="generated"><span class="visually-hidden">generated: </span>${line.text}</span>`}
    </div>
  `;
});

function Words({ line }) {
  if (!line.text) return html`<span class="quiet">(sound without words)</span>`;
  if (line.who !== "agent" && line.who !== "bridge") return line.text;
  if (line.state === "said") return html`<span class="heard">${line.text}</span>`;
  const [heard, rest] = split(line);
  const over = line.state === "cut" || line.state === "unheard";
  if (!rest.trim()) return html`<span class="heard">${heard}</span>`;
  return over
    ? html`<span class="heard">${heard.trimEnd()}</span>${heard && " "}<s><span class="visually-hidden">not heard: </span>${rest.trim()}</s>`
    : html`<span class="heard">${heard}</span><span class="coming"><span class="visually-hidden">not heard yet: </span>${rest}</span>`;
}

function Aside({ line }) {
  const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
  if (line.state === "cut") return html`<span class="aside">cut after ${seconds(line.heard_ms)} of ${seconds(line.made_ms)}</span>`;
  if (line.state === "unheard") return html`<span class="aside">none of it was heard</span>`;
  return null;
}
