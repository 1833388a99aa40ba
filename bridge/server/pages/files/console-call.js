// One live call: who it is, what one may do, and its panes.
import { html, useState } from "./htm-preact.js";
import { Actions } from "./console-actions.js";
import { EventsPane } from "./console-events.js";
import { AboutPane, CostPane, ToolsPane, TurnsPane } from "./console-figures.js";
import { linkTo } from "./console-links.js";
import { Dot, Empty, Skeleton, useNow } from "./console-parts.js";
import { dotOf, isOver, lastsMs, numberOf, stateOf } from "./console-rows.js";
import { TimelinePane } from "./console-timeline.js";
import { WordsPane } from "./console-transcript.js";
import { capital, duration } from "./console-words.js";

const TABS = [["words", "Words"], ["timeline", "Timeline"], ["tools", "Tools"], ["events", "Events"]];

export function CallView({ call, store, connection, stale }) {
  const { view } = store;
  if (!view || view.call !== call || (!view.row && !view.lost)) return html`<div class="call"><${Skeleton} what="the call" /></div>`;
  if (!view.row) {
    return html`
      <div class="call">
        <${Empty} large as="h1" title="This call is not here any more">
          <p>It is over, or on a machine that is gone.</p><a class="button" href=${linkTo("live")}>Back to live calls</a>
        </${Empty}>
      </div>
    `;
  }
  return html`
    <div class="call">
      <${Head} row=${view.row} ahead=${store.aheadMs} />
      ${view.loaded && html`<${Actions} view=${view} session=${store.session} connection=${connection} />`}
      ${view.loaded ? html`<${Panes} view=${view} stale=${stale} reveal=${(wanted) => connection.wish(view.row, "reveal", wanted)} />` : html`<${Skeleton} what="the call" />`}
    </div>
  `;
}

function Head({ row, ahead }) {
  const now = useNow() + ahead;
  return html`
    <div class="call-head">
      <a class="button plain back" href=${linkTo("live")} aria-label="Back to live calls">←</a>
      <h1><${Dot} kind=${dotOf(row)} /><span>${numberOf(row)}</span></h1>
      <p class="facts">
        <b>${stateOf(row)}</b>
        ${[row.agent, row.model, row.machine].filter(Boolean).map((words) => html`<span>${words}</span>`)}
        ${row.listeners > 0 && html`<b class="warn">${row.listeners} listening</b>`}${row.muted && html`<b class="warn">model muted</b>`}
      </p>
      <span class="clock" role="timer" aria-label="Duration">${duration(lastsMs(row, now))}</span>
    </div>
    ${isOver(row)
      ? html`<div class="banner" role="status"><strong>${capital(row.end ?? "ended")}</strong>${row.end_detail && html`<span>${row.end_detail}</span>`}</div>`
      : row.trouble.length > 0 && html`<div class="banner bad" role="status"><strong>${row.trouble[0]}</strong>${row.trouble.slice(1).map((one) => html`<span>${one}</span>`)}</div>`}
  `;
}

// The panes of a live call, or of one that was live a moment ago.
function Panes({ view, stale, reveal }) {
  const [tab, setTab] = useState("words");
  const [at, seek] = useState(null); // the timeline's cursor, in the call's milliseconds; null follows the end
  return html`
    <div class="tabs" role="group" aria-label="What is shown of the call">
      ${TABS.map(([name, title]) => html`<button type="button" aria-pressed=${String(tab === name)} onClick=${() => setTab(name)}>${title}</button>`)}
    </div>
    <div class="panes" data-tab=${tab}>
      <${TimelinePane} view=${view} at=${at} seek=${seek} stale=${stale} />
      <${WordsPane} view=${view} at=${at} seek=${seek} stale=${stale} />
      <div class="facts-column">
        <${TurnsPane} view=${view} stale=${stale} />
        <${ToolsPane} view=${view} stale=${stale} reveal=${reveal} />
        <${CostPane} view=${view} stale=${stale} />
        <${AboutPane} view=${view} stale=${stale} />
        <${EventsPane} view=${view} stale=${stale} />
      </div>
    </div>
  `;
}
