// The console: its frame, which view is shown, and what stands above all views.
import { html, render, useEffect, useReducer, useRef, useState } from "./htm-preact.js";
import { Connection } from "./console-connection.js";
import { useKeys } from "./console-keys.js";
import { linkTo } from "./console-links.js";
import { Dot, Empty, Skeleton, useNow } from "./console-parts.js";
import { SignIn } from "./console-sign-in.js";
import { Store } from "./console-store.js";
import { SystemFacts } from "./console-system.js";
import { VIEWS, routeOf } from "./console-views.js";
import { duration } from "./console-words.js";

const KEYS = [
  ["?", "this help"], ["/", "search"], ["j k", "next and previous call"], ["Enter", "open the call"], ["Esc", "back to the list"],
  ["← →", "the timeline's cursor by 1 s, with Shift by 0.1 s"], ["w s", "zoom in and out"], ["a d", "earlier and later"],
  ["f", "the whole call"], ["n p", "next and previous barge-in"], ["e", "next error"], ["l", "listen in"], ["m", "mute the model"],
  ["space", "play or stop the newest, and a recording"],
];

function useRoute() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const moved = () => setHash(location.hash);
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return routeOf(hash);
}

function Console({ store, connection }) {
  const [, redraw] = useReducer((turn) => turn + 1, 0);
  useEffect(() => store.subscribe(redraw), []);
  useNow(); // no news are news, too
  const route = useRoute();
  const help = useRef();
  useKeys({ "?": () => help.current.showModal() });

  if (connection.state === "signed out") return html`<${SignIn} connection=${connection} />`;
  if (!store.session) {
    return html`<${First} connection=${connection} />`;
  }
  const View = route.view.view;
  return html`
    <${Top} store=${store} connection=${connection} route=${route} help=${help} />
    <${Banner} store=${store} connection=${connection} />
    <main><${View} key=${route.view.path} rest=${route.rest} store=${store} connection=${connection} /></main>
    <${Help} dialog=${help} />
  `;
}

const First = ({ connection }) => html`
  <main class="alone">
    ${connection.state === "lost"
      ? html`<${Empty} as="h1" title="No connection"><p role="alert">${connection.why} It is tried again by itself.</p></${Empty}>`
      : html`<${Skeleton} what="the console" />`}
  </main>
`;

function Top({ store, connection, route, help }) {
  const live = [...store.calls.values()].filter((row) => row.state !== "ended").length;
  const [dot, words] = connection.stale ? ["warn", "No news"] : connection.state === "live" ? ["good", "Connected"] : ["bad", "Not connected"];
  return html`
    <header class="top">
      <p class="brand"><a href=${linkTo("live")}>phonebridge</a></p>
      <nav aria-label="Views">
        ${VIEWS.map(({ path, title }) => {
          const here = route.view.path === path;
          return html`<a href=${linkTo(path)} aria-current=${here ? "page" : undefined}>${title}${path === "live" && store.loaded ? html` <span class="count">${live}</span>` : ""}</a>`;
        })}
      </nav>
      <span class="grow"></span>
      <${SystemFacts} store=${store} />
      <span class="pill" role="status"><${Dot} kind=${dot} /><span class="pill-words">${words}</span></span>
      ${store.session.softphone &&
      html`<button type="button" class="plain softphone" onClick=${openSoftphone}>Softphone</button>`}
      <button type="button" class="plain" aria-label="Keys and help" onClick=${() => help.current.showModal()}>?</button>
      <button type="button" class="plain sign-out" onClick=${() => connection.signOut()}>Sign out</button>
    </header>
  `;
}

// What is wrong with what the page shows, and since when.
function Banner({ store, connection }) {
  const now = useNow();
  if (connection.state === "lost" || connection.state === "connecting") {
    return html`
      <div class="banner bad" role="alert">
        <strong>${connection.why || "Connecting…"}</strong>
        <span>Shown is what was known ${duration(now - store.newsAt)} ago.</span>
        <button type="button" onClick=${() => connection.retry()}>Try now</button>
      </div>
    `;
  }
  if (connection.stale) {
    return html`<div class="banner warn" role="status">No news for ${Math.round((now - store.newsAt) / 1000)} s. Shown is the last state known.</div>`;
  }
  const { system } = store;
  if (system?.draining) return html`<div class="banner warn" role="status">The server is about to stop and takes no new calls.</div>`;
  if (system?.reasons.length) return html`<div class="banner bad" role="status">No call may come in: ${system.reasons.join(", ")}.</div>`;
  return null;
}

// In a window of its own, beside this one, so that a call goes on whatever is done here.
const openSoftphone = () => window.open("phone", "softphone", "popup,width=420,height=860")?.focus();

const Help = ({ dialog }) => html`
  <dialog ref=${dialog} aria-labelledby="help-title">
    <header><h2 id="help-title">Keys</h2><button type="button" onClick=${() => dialog.current.close()}>Close</button></header>
    <dl class="keys-list">
      ${KEYS.map(([keys, words]) => html`<dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${words}</dd>`)}
    </dl>
  </dialog>
`;

const store = new Store();
const connection = new Connection(store);
render(html`<${Console} store=${store} connection=${connection} />`, document.getElementById("console"));
connection.start();
