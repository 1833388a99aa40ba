// What one may do to a live call. Each wish is sent once, and says what became of it.
import { html, useEffect, useRef, useState } from "./htm-preact.js";
import { useKeys } from "./console-keys.js";
import { Listening } from "./console-listen.js";
import { SureButton, useNow } from "./console-parts.js";
import { isOver } from "./console-rows.js";

const TOLD_MS = 6000;
const TEXTS = {
  say: { label: "Say to the caller", hint: "Spoken word for word, in the agent's voice.", button: "Say", done: "It will be said." },
  whisper: { label: "Whisper to the model", hint: "The model reads it. The caller hears nothing.", button: "Whisper", done: "The model was told." },
};

export function Actions({ view, session, connection }) {
  const { call, row, targets, phone } = view;
  const over = isOver(row);
  const [open, setOpen] = useState(null);
  const [told, setTold] = useTold();
  const [listening, listen] = useListening(call, setTold);
  const wish = async (action, wanted, done) => {
    const answer = await connection.wish(row, action, wanted);
    setTold(answer.ok ? { words: done } : { words: `Not done: ${answer.error ?? `the server answered ${answer.status}`}`, bad: true });
    return answer.ok;
  };
  const mute = () => wish("mute", { on: !row.muted }, row.muted ? "The model speaks again." : "The model is muted.");
  const opener = useRef(); // which has the focus again afterwards
  const close = () => {
    setOpen(null);
    opener.current?.focus();
  };
  const toggle = (name) => (event) => {
    opener.current = event.currentTarget;
    setOpen(open === name ? null : name);
  };
  useKeys({
    l: () => session.may_listen && !over && listen(), m: () => !over && mute(), Escape: () => (open ? close() : (location.hash = "#/live")),
  });
  if (over) return told.words ? html`<${Told} told=${told} />` : null;
  const opens = (name, label, disabled) => html`
    <button type="button" aria-expanded=${String(open === name)} disabled=${disabled} onClick=${toggle(name)}>${label}</button>
  `;
  return html`
    <div class="actions" role="toolbar" aria-label="Actions on this call">
      ${opens("say", "Say")}${opens("whisper", "Whisper")}
      <button type="button" aria-pressed=${String(row.muted)} onClick=${mute}>${row.muted ? "Unmute model" : "Mute model"}</button>
      ${session.may_listen && html`<button type="button" aria-pressed=${String(Boolean(listening))} onClick=${listen}>${listening ? "Stop listening" : "Listen in"}</button>`}
      ${opens("transfer", "Transfer", !targets.length)}
      ${phone !== null && opens("take_over", "Take over")}
      <span class="grow"></span>
      <${SureButton} label="Hang up" sure="Really hang up" onSure=${() => wish("hang_up", {}, "Hanging up.")} />
    </div>
    ${TEXTS[open] && html`<${Text} key=${open} action=${open} wish=${wish} close=${close} />`}
    ${open === "transfer" && html`<${Transfer} targets=${targets} wish=${wish} close=${close} />`}
    ${open === "take_over" && html`<${TakeOver} phone=${phone} wish=${wish} close=${close} />`}
    ${listening && html`<${Hearing} listening=${listening} />`}
    <${Told} told=${told} />
  `;
}

const Told = ({ told }) => html`<div role=${told.bad ? "alert" : "status"}>${told.words && html`<p class="toast">${told.words}</p>`}</div>`;

function useTold() {
  const [told, setTold] = useState({ words: "" });
  useEffect(() => {
    if (!told.words) return undefined;
    const timer = setTimeout(() => setTold({ words: "" }), TOLD_MS);
    return () => clearTimeout(timer);
  }, [told]);
  return [told, setTold];
}

function useListening(call, setTold) {
  const [listening, setListening] = useState(null);
  const now = useRef(null);
  now.current = listening;
  useEffect(() => () => now.current?.stop(), [call]);
  const toggle = () => {
    if (listening) return listening.stop();
    setListening(new Listening(call, (why) => {
      setListening(null);
      if (why) setTold({ words: why, bad: true });
    }));
  };
  return [listening, toggle];
}

function Text({ action, wish, close }) {
  const { label, hint, button, done } = TEXTS[action];
  const field = useRef();
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    const text = field.current.value.trim();
    if (text && (await wish(action, { text }, done))) close();
  };
  return html`
    <form class="composer" onSubmit=${submit}>
      <label for="composer">${label}</label>
      <input id="composer" ref=${field} maxlength="2000" autocomplete="off" aria-describedby="composer-hint" onKeyDown=${(event) => event.key === "Escape" && close()} />
      <button type="submit" class="primary">${button}</button>
      <p id="composer-hint" class="hint">${hint}</p>
    </form>
  `;
}

function Transfer({ targets, wish, close }) {
  const field = useRef();
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    const to = field.current.value;
    if (await wish("transfer", { to }, `Transferring to ${to}.`)) close();
  };
  return html`
    <form class="composer" onSubmit=${submit}>
      <label for="target">Transfer to</label>
      <select id="target" ref=${field} onKeyDown=${(event) => event.key === "Escape" && close()}>${targets.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>
      <button type="submit" class="primary">Transfer</button>
      <p class="hint">The caller leaves the agent and is called through.</p>
    </form>
  `;
}

function TakeOver({ phone, wish, close }) {
  const button = useRef();
  useEffect(() => button.current.focus(), []);
  const take = async () => (await wish("take_over", {}, `Your phone (${phone}) is called.`)) && close();
  return html`
    <div class="composer">
      <p class="grow small">Your phone, <b>${phone}</b>, is called. When you answer, the caller is put through to you.</p>
      <button type="button" class="primary" ref=${button} onClick=${take}>Call my phone</button>
      <button type="button" onClick=${close}>Cancel</button>
    </div>
  `;
}

function Hearing({ listening }) {
  useNow(100);
  return html`
    <div class="listening">
      <strong>You listen in.</strong>
      ${[["caller", "caller, left"], ["heard", "agent, right"]].map(([name, words]) => html`<span>${words} <${Meter} name=${name} words=${words} peak=${listening.peaks[name]} /></span>`)}
      <span class="quiet">It is written in the call's record.</span>
    </div>
  `;
}

function Meter({ name, words, peak }) {
  const db = peak > 0.001 ? Math.round(20 * Math.log10(peak)) : -60;
  const share = Math.max(0, Math.min(1, (db + 60) / 60));
  return html`
    <span class="meter ${name}" role="meter" aria-label=${words} aria-valuemin="-60" aria-valuemax="0" aria-valuenow=${db} aria-valuetext=${db > -40 ? `${db} decibel` : "silent"}>
      <i style=${{ transform: `scaleX(${share})` }}></i>
    </span>
  `;
}
