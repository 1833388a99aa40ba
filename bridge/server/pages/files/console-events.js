// The log of a call's events, with a filter. The events themselves, as JSON, are shown on demand.
import { html, useState } from "./htm-preact.js";
import { Empty, Pane } from "./console-parts.js";
import { position } from "./console-words.js";

const SHOWN = 60; // the newest first
const KINDS = ["caller", "agent", "tool", "operator", "trouble", "call"];

// A name of the program's own, `CallBegan`, as words.
const WORDS = { Cut: "is cut off", NoteIntent: "what comes next is written down" };
const inWords = (name) => WORDS[name] ?? name.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();

export function EventsPane({ view, stale }) {
  const [of, setOf] = useState("");
  const [words, setWords] = useState("");
  const [frames, setFrames] = useState(false);
  const [kept, setKept] = useState(null); // the events of the moment at which the log was paused
  const events = kept ?? view.events;
  const wanted = words.toLowerCase();
  const found = events.filter((event) => (!of || event.of === of) && (!wanted || `${event.name} ${event.text}`.toLowerCase().includes(wanted)));
  const side = html`
    <button type="button" aria-pressed=${String(frames)} onClick=${() => setFrames(!frames)}>Raw</button>
    <button type="button" aria-pressed=${String(kept !== null)} onClick=${() => setKept(kept ? null : view.events)}>Pause</button>
  `;
  return html`
    <${Pane} name="events" title="Events" side=${side} stale=${stale}>
      <div class="event-filter">
        <select aria-label="Kind of events" value=${of} onChange=${(event) => setOf(event.target.value)}>
          <option value="">all kinds</option>${KINDS.map((kind) => html`<option value=${kind}>${kind}</option>`)}
        </select>
        <input type="search" placeholder="Filter" aria-label="Filter events" value=${words} onInput=${(event) => setWords(event.target.value)} />
      </div>
      ${found.length === 0 && html`<${Empty} title=${events.length ? "No event fits the filter" : "No events yet"} />`}
      <ol class="event-list">
        ${found.slice(-SHOWN).reverse().map((event) => html`
          <li key=${event.id}>
            <time>${position(event.at_ms)}</time>
            <div class=${event.of === "trouble" ? "bad" : ""}>
              <b class="quiet">${event.of}</b> ${event.text || inWords(event.name)}${frames && event.raw && html`<pre class="frame" tabindex="0">${event.raw}</pre>`}
            </div>
          </li>
        `)}
      </ol>
      ${found.length > SHOWN && html`<p class="empty">The newest ${SHOWN} of ${found.length}; filter to see others.</p>`}
    </${Pane}>
  `;
}
