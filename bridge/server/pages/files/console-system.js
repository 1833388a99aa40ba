// How the process does, in a few figures.
import { html } from "./htm-preact.js";
import { count, dollars, many, milliseconds } from "./console-words.js";

export function SystemFacts({ store }) {
  const { system, session } = store;
  if (!system) return null;
  return html`
    <dl class="system small">
      <div class="machine"><dt>machine</dt><dd>${session.machine}</dd></div>
      <div><dt>calls</dt><dd>${count(system.calls)} of ${count(system.max_calls)}</dd></div>
      <div><dt>today</dt><dd>${dollars(system.day_micro_usd)}</dd></div>
      <div><dt>loop lag p99</dt><dd>${milliseconds(system.lag_p99_ms)}</dd></div>
      <div class="seldom"><dt>looking on</dt><dd>${many(system.viewers, "page")}</dd></div>
    </dl>
  `;
}
