// The live calls: the list, and one call beside it.
import { html, useEffect, useRef, useState } from "./htm-preact.js";
import { CallView } from "./console-call.js";
import { useKeys } from "./console-keys.js";
import { linkTo } from "./console-links.js";
import { CallList } from "./console-list.js";
import { Empty, Skeleton } from "./console-parts.js";
import { isOver, matches, troubleOf } from "./console-rows.js";
import { many } from "./console-words.js";

export function LiveView({ rest, store, connection }) {
  const [call] = rest;
  const [words, setWords] = useState("");
  const search = useRef();
  useEffect(() => connection.look(call ?? null), [call]);
  useEffect(() => () => connection.look(null), []);
  useKeys({ "/": () => search.current?.focus(), Escape: () => call && (location.hash = linkTo("live")) });

  const all = [...store.calls.values()];
  const calls = words ? all.filter((row) => matches(row, words)) : all;
  const stale = connection.stale || connection.state !== "live";
  const list = !store.loaded
    ? html`<${Skeleton} what="calls" />`
    : html`
        <${CallList}
          key=${call ? "beside" : "alone"} calls=${calls} chosen=${call} compact=${Boolean(call)} label="Live calls"
          ahead=${store.aheadMs} href=${(id) => linkTo("live", id)}
        >
          <${Nothing} all=${all} words=${words} store=${store} />
        </${CallList}>
      `;
  const head = html`<${Head} all=${all} words=${words} setWords=${setWords} search=${search} beside=${Boolean(call)} />`;
  if (!call) return html`${head}<div class="list ${stale ? "stale" : ""}">${list}</div>`;
  return html`
    <div class="split">
      <aside class="side ${stale ? "stale" : ""}" aria-label="Live calls">${head}${list}</aside>
      <${CallView} key=${call} call=${call} store=${store} connection=${connection} stale=${stale} />
    </div>
  `;
}

function Head({ all, words, setWords, search, beside }) {
  const live = all.filter((row) => !isOver(row));
  const troubled = live.filter(troubleOf).length;
  return html`
    <div class="list-head">
      ${!beside && html`<h1>Live calls</h1>`}
      ${!beside && html`<p class="small quiet grow">${many(live.length, "call")}${troubled ? html`, <b class="bad">${troubled} in trouble</b>` : ""}</p>`}
      <input type="search" ref=${search} value=${words} placeholder="Search" aria-label="Search live calls" onInput=${(event) => setWords(event.target.value)} />
    </div>
  `;
}

function Nothing({ all, words, store }) {
  if (all.length) return html`<${Empty} large title="No call has “${words}”"><p>Search looks at numbers, agents, last words and trouble.</p></${Empty}>`;
  return html`
    <${Empty} large title="No calls yet">
      <p>${store.session.softphone ? "Open the softphone, above, and call your agent from this browser." : "A call to one of your numbers shows here while it lasts."}</p>
    </${Empty}>
  `;
}
