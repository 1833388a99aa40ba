// A list of calls: trouble first, the order kept under the pointer, and no more rows in the page than one sees.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./htm-preact.js";
import { useKeys } from "./console-keys.js";
import { Dot, still, useNow } from "./console-parts.js";
import { describe, dotOf, isOver, lastsMs, numberOf, stateOf, troubleOf } from "./console-rows.js";
import { UNKNOWN, count, dollars, duration, many, milliseconds } from "./console-words.js";

const BEYOND = 3; // rows kept above and below what is seen

// Ids in the order in which they are shown. While it is held nothing moves: a new call comes last, and one that
// is over keeps its place.
function useOrder(calls, held) {
  const kept = useRef({ ids: [], rows: new Map() });
  const present = new Map(calls.map((row) => [row.call, row]));
  if (held) {
    const known = new Set(kept.current.ids);
    kept.current.ids.push(...calls.map((row) => row.call).filter((id) => !known.has(id)));
  } else {
    kept.current.ids = [...calls]
      .sort((a, b) => troubleOf(b) - troubleOf(a) || a.began_at - b.began_at || (a.call < b.call ? -1 : 1))
      .map((row) => row.call);
  }
  const rows = new Map();
  for (const id of kept.current.ids) rows.set(id, present.get(id) ?? { ...kept.current.rows.get(id), state: "ended" });
  kept.current.rows = rows;
  return rows;
}

// The part of the rows that is seen, from the place to which the list is scrolled.
function useSeen(height) {
  const element = useRef();
  const [seen, setSeen] = useState({ top: 0, tall: 800 });
  useEffect(() => {
    const list = element.current;
    const look = () => setSeen({ top: list.scrollTop, tall: list.clientHeight });
    const observer = new ResizeObserver(look);
    observer.observe(list);
    list.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      list.removeEventListener("scroll", look);
    };
  }, []);
  const first = Math.max(0, Math.floor(seen.top / height) - BEYOND);
  return { element, first, last: first + Math.ceil(seen.tall / height) + 2 * BEYOND };
}

// `children` are shown where there is no call.
export function CallList({ calls, chosen, compact, href, label, ahead, children }) {
  const height = compact ? (matchMedia("(max-width: 1279px)").matches ? 44 : 56) : matchMedia("(max-width: 759px)").matches ? 84 : 44;
  const [held, setHeld] = useState(false);
  const [focused, setFocused] = useState(null);
  const wanted = useRef(null); // the row that gets the focus once it is drawn
  const now = useNow() + ahead;
  const rows = useOrder(calls, held);
  const ids = [...rows.keys()];
  const { element, first, last } = useSeen(height);

  useLayoutEffect(() => {
    if (!wanted.current) return;
    const row = element.current.querySelector(`[data-call="${CSS.escape(wanted.current)}"] a`);
    if (row) {
      wanted.current = null;
      row.focus({ preventScroll: true });
    }
  });
  const move = (step) => {
    const from = ids.indexOf(focused ?? chosen);
    const to = Math.max(0, Math.min(ids.length - 1, from < 0 ? 0 : from + step));
    if (!ids.length) return;
    wanted.current = ids[to];
    setFocused(ids[to]);
    const list = element.current;
    if (to * height < list.scrollTop) list.scrollTop = to * height;
    else if ((to + 1) * height > list.scrollTop + list.clientHeight) list.scrollTop = (to + 1) * height - list.clientHeight;
  };
  useKeys({ j: () => move(1), k: () => move(-1) });

  const drawn = ids.map((id, at) => [id, at]).filter(([id, at]) => (at >= first && at < last) || id === focused);
  return html`
    <div class="table" role="table" hidden=${ids.length === 0} aria-label=${label} aria-rowcount=${ids.length + 1}>
      ${!compact && html`<${Columns} />`}
      <div
        class="rows" role="rowgroup" ref=${element}
        onPointerEnter=${() => setHeld(true)} onPointerLeave=${() => setHeld(false)}
        onFocusIn=${(event) => setFocused(event.target.closest("[data-call]")?.dataset.call ?? null)}
        onFocusOut=${() => wanted.current || setFocused(null)}
      >
        <div class="rows-inner" role="presentation" style=${{ height: `${ids.length * height}px` }}>
          ${drawn.map(([id, at]) => {
            const row = rows.get(id);
            return html`<${Row} key=${id} row=${row} at=${at} top=${at * height} current=${id === chosen} compact=${compact} now=${isOver(row) ? 0 : now} href=${href(id)} />`;
          })}
        </div>
      </div>
    </div>
    ${ids.length === 0 && children}
  `;
}

const Columns = () => html`
  <div role="rowgroup">
    <div class="columns" role="row" aria-rowindex="1">
      <span role="columnheader">State</span><span role="columnheader">Caller</span><span role="columnheader">Agent</span>
      <span role="columnheader" class="right">Time</span><span role="columnheader">Last words</span>
      <span role="columnheader" class="right">Answered p50</span><span role="columnheader" class="right">Barge-ins</span>
      <span role="columnheader" class="right">Cost</span>
    </div>
  </div>
`;

const Row = still(({ row, at, top, current, compact, now, href }) => {
  const trouble = troubleOf(row);
  return html`
    <div
      class="call-row ${isOver(row) ? "ended" : ""}" role="row" data-call=${row.call} aria-rowindex=${at + 2}
      aria-current=${current ? "true" : undefined} style=${{ top: `${top}px` }}
    >
      <span class="state" role="cell">
        <a class="open" href=${href} aria-label=${`Open ${describe(row)}`}></a><${Dot} kind=${dotOf(row)} />
        ${!compact && html`<span class=${trouble ? "bad" : ""}>${stateOf(row)}</span>`}
      </span>
      <span class="number" role="cell">${row.direction === "out" ? "→ " : ""}${numberOf(row)}</span>
      ${!compact && html`<span class="agent" role="cell">${row.agent || UNKNOWN}</span>`}
      <span class="clock right" role="cell">${duration(lastsMs(row, now))}</span>
      <span class="words" role="cell">
        ${trouble ? html`<b class="bad">${row.trouble[0]}</b>${" · "}` : ""}
        ${row.last_words && html`<span class="quiet">${row.last_who === "caller" ? "caller: " : "agent: "}</span>`}${row.last_words}
      </span>
      ${!compact &&
      html`
        <span class="wide right" role="cell">${milliseconds(row.answered_p50_ms)}${row.turns ? html` <small class="quiet">${many(row.turns, "turn")}</small>` : ""}</span>
        <span class="wide right" role="cell">${count(row.barge_ins)}</span>
        <span class="wide right" role="cell">${dollars(row.cost_micro_usd)}</span>
      `}
    </div>
  `;
});
