// What a call's tools did, how long the caller waited, and what it cost.
import { html, useState } from "./htm-preact.js";
import { Empty, Pane, useNow } from "./console-parts.js";
import { callClock } from "./console-store.js";
import { UNKNOWN, count, dollars, median, milliseconds, position, pretty, spaced } from "./console-words.js";

// Parts of a wait, in their order, as people say them.
const PARTS = { endpointing: "turn end", asking: "asking", model: "model", tools: "tools", queue: "queue", carrier: "carrier" };
const ORDER = Object.keys(PARTS);
const colourOf = (name) => `p${Math.max(0, ORDER.indexOf(name))}`;
const TURNS = 6; // shown; the newest first
const TOOLS = 30;

export function TurnsPane({ view, stale }) {
  const { turns } = view;
  const names = ORDER.filter((name) => turns.some((turn) => turn.parts.some(([one, from, to]) => one === name && to > from)));
  const felt = turns.map((turn) => turn.felt_ms);
  const side = felt.length > 0 && html`<span class="small quiet">p50 ${milliseconds(median(felt))} of ${count(felt.length)}</span>`;
  const longest = Math.max(1, ...felt.slice(-TURNS));
  return html`
    <${Pane} name="turns-pane" title="Answer times" side=${side} stale=${stale}>
      ${turns.length === 0 && html`<${Empty} title="No answer yet"><p>Each answer shows where its time went.</p></${Empty}>`}
      ${turns.length > 0 &&
      html`
        <div class="turns">
          <ol>${turns.slice(-TURNS).reverse().map((turn) => html`<${Turn} key=${turn.id} turn=${turn} longest=${longest} />`)}</ol>
          ${names.length > 0 && html`<p class="key" aria-hidden="true">${names.map((name) => html`<span><i class=${colourOf(name)}></i>${PARTS[name]}</span>`)}</p>`}
        </div>
      `}
    </${Pane}>
  `;
}

function Turn({ turn, longest }) {
  const parts = turn.parts.map(([name, from, to]) => `${PARTS[name] ?? spaced(name)} ${milliseconds(to - from)}`);
  const place = (from, to) => ({ left: `${(from / longest) * 100}%`, width: `${((to - from) / longest) * 100}%` });
  return html`
    <li>
      <p class="turn-head"><span class="quiet">${position(turn.at_ms)}</span><b>${milliseconds(turn.felt_ms)}</b></p>
      <div class="fall" role="img" aria-label=${parts.join(", ") || `answered after ${milliseconds(turn.felt_ms)}`}>
        ${turn.parts.length === 0 && html`<i class="p1" style=${place(0, turn.felt_ms)}></i>`}
        ${turn.parts.map(([name, from, to]) => html`<i class=${colourOf(name)} style=${place(from, to)}></i>`)}
      </div>
    </li>
  `;
}

// `reveal` asks for a hidden field of a live call; without it they stay hidden.
export function ToolsPane({ view, stale, reveal }) {
  const { tools } = view;
  const failed = tools.filter((tool) => tool.state === "failed").length;
  const side = tools.length > 0 && html`<span class="small quiet">${count(tools.length)}${failed ? html`, <b class="bad">${failed} failed</b>` : ""}</span>`;
  return html`
    <${Pane} name="tools" title="Tools" side=${side} stale=${stale}>
      ${tools.length === 0 && html`<${Empty} title="No tool was called"><p>Calls of tools show their input, output and time.</p></${Empty}>`}
      ${tools.slice(-TOOLS).reverse().map((tool) => html`<${Tool} key=${tool.id} tool=${tool} view=${view} reveal=${reveal} />`)}
    </${Pane}>
  `;
}

function Tool({ tool, view, reveal }) {
  const failed = tool.state === "failed";
  return html`
    <details class="tool-card ${failed ? "failed" : ""}">
      <summary>
        <span class=${failed ? "bad" : "good"} aria-hidden="true">${{ failed: "✕", done: "✓" }[tool.state] ?? "…"}</span>
        <b>${tool.name}</b><span class="visually-hidden">${tool.state}</span>
        <span class="quiet">${tool.state === "running" ? html`<${Running} tool=${tool} view=${view} />` : milliseconds(tool.ms)}</span>
      </summary>
      ${failed && html`<p class="error">${tool.output || "failed"}</p>`}
      <dl>
        <dt>called at ${position(tool.at_ms)}, input</dt><dd><pre tabindex="0">${pretty(tool.input) || UNKNOWN}</pre></dd>
        ${tool.state !== "running" && html`<dt>${failed ? "error" : "output"}</dt><dd><pre tabindex="0">${pretty(tool.output) || UNKNOWN}</pre></dd>`}
      </dl>
      ${tool.hidden.map((path) => html`<${Hidden} key=${path} tool=${tool} path=${path} reveal=${reveal} />`)}
    </details>
  `;
}

// A field named like a secret. It is shown to those who say why; that is logged.
function Hidden({ tool, path, reveal }) {
  const [asked, setAsked] = useState(false);
  const [answer, setAnswer] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    setAnswer(await reveal({ tool: tool.id, path, reason: event.target.elements.reason.value }));
  };
  if (answer?.ok) return html`<p class="small"><b>${path}</b> <code>${answer.value}</code></p>`;
  if (!asked) {
    return html`<p class="small quiet">${path} is hidden${reveal && html` <button type="button" onClick=${() => setAsked(true)}>Reveal…</button>`}</p>`;
  }
  return html`
    <form class="reveal small" onSubmit=${submit}>
      <label>Why do you look at ${path}? <input name="reason" maxlength="200" required autocomplete="off" /></label>
      <button type="submit">Reveal</button>
      ${answer && html`<p class="bad" role="alert">${answer.error}</p>`}
    </form>
  `;
}

function Running({ tool, view }) {
  useNow(250);
  return html`running for ${milliseconds(Math.max(0, callClock(view) - tool.at_ms))}`;
}

export function CostPane({ view, stale }) {
  const { cost } = view;
  const tokens = Object.entries(cost.tokens).filter(([, value]) => value);
  const limit = cost.limit_micro_usd === null ? "" : `, of ${dollars(cost.limit_micro_usd)}`;
  return html`
    <${Pane} name="cost" title="Cost" stale=${stale}>
      <dl class="figures">
        <div><dt>so far${limit}</dt><dd>${dollars(cost.micro_usd)}</dd></div>
        <div><dt>transcribed</dt><dd>${cost.transcribed_s ? `${Math.round(cost.transcribed_s)} s` : UNKNOWN}</dd></div>
        ${tokens.map(([kind, value]) => html`<div><dt>${spaced(kind)}</dt><dd>${count(value)}</dd></div>`)}
      </dl>
    </${Pane}>
  `;
}

// What the call came with: the carrier's parameters, and what the model was told at first.
export function AboutPane({ view, stale }) {
  const { row, parameters, instructions } = view;
  const facts = [["call", row.call], ["from", row.caller], ["to", row.called], ...Object.entries(parameters)].filter(([, value]) => value);
  return html`
    <${Pane} name="about" title="About this call" stale=${stale}>
      <dl class="about-facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
      ${instructions && html`<details class="tool-card"><summary><b>instructions</b></summary><pre tabindex="0">${instructions}</pre></details>`}
    </${Pane}>
  `;
}
