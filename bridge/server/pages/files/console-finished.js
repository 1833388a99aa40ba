// Finished calls: found by words, dates, and what went wrong; one of them is shown with its sound.
import { html, useEffect, useRef, useState } from "./htm-preact.js";
import { useKeys } from "./console-keys.js";
import { linkTo } from "./console-links.js";
import { load } from "./console-load.js";
import { Empty, Skeleton } from "./console-parts.js";
import { RecordedCall } from "./console-recorded.js";
import { UNKNOWN, count, duration, many, milliseconds } from "./console-words.js";

const WAIT_MS = 250; // after the last letter, before it is searched
const ENOUGH = 25; // rows, before it waits to be asked for earlier ones
const NONE = { words: "", since: "", until: "", off: false, fault: false };

export function FinishedView({ rest, store, connection }) {
  const [name] = rest;
  const [wanted, setWanted] = useState(NONE);
  useEffect(() => connection.look(null), []);
  useKeys({ Escape: () => name && (location.hash = linkTo("finished")) });
  if (name) return html`<${RecordedCall} key=${name} name=${name} />`;
  return html`<${List} wanted=${wanted} setWanted=${setWanted} recorded=${store.session.recordings} />`;
}

const query = (wanted, after) => {
  const asked = new URLSearchParams();
  for (const name of ["words", "since", "until"]) if (wanted[name]) asked.set(name, wanted[name]);
  for (const name of ["off", "fault"]) if (wanted[name]) asked.set(name, "1");
  if (after) asked.set("after", after);
  return `console/finished?${asked}`;
};

// The calls that fit so far; `more` asks for the next ones.
function useSearch(wanted) {
  const [found, setFound] = useState({ rows: [], loading: true });
  const asking = useRef();
  const ask = async (rows, after) => {
    asking.current?.abort();
    asking.current = new AbortController();
    setFound((before) => ({ ...before, loading: true, error: undefined }));
    const { signal } = asking.current, enough = rows.length + ENOUGH;
    try {
      // One answer looks at so many files and no more: it goes on until there is something to see.
      for (let more = true; more; ) {
        const answer = await load(query(wanted, after), signal);
        if (answer.error) return setFound({ rows, error: answer.error, after });
        ({ after } = answer);
        rows = [...rows, ...answer.rows];
        more = after && rows.length < enough;
        setFound({ ...answer, rows, loading: Boolean(more) });
      }
    } catch {
      // another search has begun
    }
  };
  useEffect(() => {
    const timer = setTimeout(() => ask([], ""), WAIT_MS);
    return () => clearTimeout(timer);
  }, [JSON.stringify(wanted)]);
  useEffect(() => () => asking.current?.abort(), []);
  return { ...found, more: () => ask(found.rows, found.after), again: () => ask([], "") };
}

function List({ wanted, setWanted, recorded }) {
  const search = useRef();
  const list = useRef();
  const { rows, loading, error, after, looked_at: lookedAt, of, more, again } = useSearch(wanted);
  const step = (by) => () => {
    const links = [...list.current.querySelectorAll("a.open")];
    const next = links.indexOf(document.activeElement) + by;
    links[Math.min(Math.max(next, 0), links.length - 1)]?.focus();
  };
  useKeys({ "/": () => search.current.focus(), j: step(1), k: step(-1) });
  const change = (name) => (event) => setWanted({ ...wanted, [name]: event.target.value });
  const toggle = (name) => () => setWanted({ ...wanted, [name]: !wanted[name] });
  return html`
    <div class="list-head finished-head">
      <h1>Finished calls</h1>
      <p class="small quiet grow" role="status">
        ${loading ? `Searching… ${lookedAt ? `${count(lookedAt)} of ${count(of)}` : ""}` : after ? `${many(rows.length, "call")} of the newest ${count(lookedAt)} of ${count(of)}` : many(rows.length, "call")}
      </p>
      <input type="search" ref=${search} value=${wanted.words} placeholder="Number, agent, end" aria-label="Search finished calls" onInput=${change("words")} />
      <label>from <input type="date" value=${wanted.since} onInput=${change("since")} /></label>
      <label>to <input type="date" value=${wanted.until} onInput=${change("until")} /></label>
      <button type="button" aria-pressed=${String(wanted.off)} onClick=${toggle("off")}>Barge-in over 100 ms off</button>
      <button type="button" aria-pressed=${String(wanted.fault)} onClick=${toggle("fault")}>Had a fault</button>
    </div>
    <div class="list finished-list" ref=${list}>
      <div class="table" role="table" aria-label="Finished calls">
        <${Columns} />
        <div role="rowgroup">${rows.map((row) => html`<${Row} key=${row.name} row=${row} />`)}</div>
      </div>
      ${error && html`<${Empty} title="The calls could not be read"><p role="alert">${error}</p><button type="button" onClick=${again}>Try again</button></${Empty}>`}
      ${loading && !rows.length && html`<${Skeleton} what="calls" />`}
      ${!loading && !error && !rows.length && !after && html`<${Nothing} wanted=${wanted} recorded=${recorded} />`}
      ${after && !error && html`<p class="more"><button type="button" disabled=${loading} onClick=${more}>Earlier calls</button></p>`}
    </div>
  `;
}

const Columns = () => html`
  <div role="rowgroup">
    <div class="columns" role="row">
      <span role="columnheader">Began</span><span role="columnheader">Caller</span><span role="columnheader">Agent</span>
      <span role="columnheader" class="right">Length</span><span role="columnheader">Ended</span>
      <span role="columnheader" class="right">Largest error</span><span role="columnheader" class="right">Barge-ins</span>
      <span role="columnheader" class="right">Tools</span>
    </div>
  </div>
`;

// In this browser's time.
const began = (at) => (at ? new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : UNKNOWN);

function Row({ row }) {
  if (row.unreadable) {
    return html`
      <div class="call-row torn" role="row">
        <span class="agent" role="cell">${row.name}</span>
        <span class="words bad" role="cell">✕ ${row.unreadable}</span>
      </div>
    `;
  }
  const trouble = [...row.faults, row.torn].filter(Boolean);
  const label = `Open the call of ${row.caller || "unknown number"}, ${began(row.at)}, ${duration(row.duration_ms)}${trouble.length ? `, ${trouble.join(", ")}` : ""}`;
  return html`
    <div class="call-row" role="row">
      <span class="state" role="cell"><a class="open" href=${linkTo("finished", row.name)} aria-label=${label}></a>${began(row.at)}</span>
      <span class="number" role="cell">${row.caller || "unknown number"}</span>
      <span class="agent" role="cell">${row.agent || UNKNOWN}</span>
      <span class="clock right" role="cell">${duration(row.duration_ms)}${row.sound ? html` <span title="with sound">♪</span>` : ""}</span>
      <span class="words" role="cell">${row.end || UNKNOWN}${trouble.length ? html` · <b class="bad">${trouble[0]}</b>` : ""}</span>
      <span class="wide right ${row.off ? "bad" : ""}" role="cell">${milliseconds(row.error_ms)}</span>
      <span class="wide right" role="cell">${count(row.barge_ins)}</span>
      <span class="wide right" role="cell">${row.tools ? count(row.tools) : UNKNOWN}${row.tools_failed ? html` <b class="bad">✕ ${row.tools_failed}</b>` : ""}</span>
    </div>
  `;
}

function Nothing({ wanted, recorded }) {
  if (Object.values(wanted).some(Boolean)) {
    return html`<${Empty} large title="No call fits"><p>Words are looked for in numbers, agents, models, ends and names of recordings.</p></${Empty}>`;
  }
  if (recorded) return html`<${Empty} large title="No finished calls yet"><p>A call is here when it is over.</p></${Empty}>`;
  return html`<${Empty} large title="Calls are not recorded"><p>Set BRIDGE_RECORDINGS to a folder; with BRIDGE_RECORD_AUDIO=1 their sound is kept, too.</p></${Empty}>`;
}
