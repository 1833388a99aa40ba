// The softphone's page: buttons, captions and figures. Sound lives in worklet.js, the socket in socket-worker.js.
"use strict";

const byId = (id) => document.getElementById(id);
const LOUD_DB = -40;
const LANES_S = 20;
const ABNORMAL = 1006; // RFC 6455, 7.4.1: no close frame came
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const TONES = {
  1: [697, 1209], 2: [697, 1336], 3: [697, 1477], 4: [770, 1209], 5: [770, 1336], 6: [770, 1477],
  7: [852, 1209], 8: [852, 1336], 9: [852, 1477], "*": [941, 1209], 0: [941, 1336], "#": [941, 1477],
};
const FAULTS = {
  drop: "The model's connection is cut. The bridge dials it again; you hear a filler at the latest after 2 s.",
  stall: "What the model sends is kept for 5 s. You hear a filler, and then all of it.",
  tools: "Tools run, but the model reads that they failed, until the call ends.",
  close: "The carrier's socket is closed. The call is over for this page.",
  silence: "No frames for 3 s. The call goes on.",
  marks: "Marks are kept back: the bridge must count by its own clock.",
  loss: "Frames of yours are lost.",
  delay: "Everything is late, both ways.",
  jitter: "Everything comes unevenly.",
};
const STATES = {
  ready: "Ready", asking: "Asking for the microphone", ringing: "Ringing", live: "Live",
  lost: "Model lost, dialling again", ended: "Ended", error: "Cannot call", busy: "Busy",
};

let why = ""; // the last call ended, as the bridge says it
let call = null; // of the call that goes on: its context, nodes, worker and figures

function state(name, words) {
  document.body.dataset.state = name;
  byId("state").textContent = words || STATES[name];
}

function card(words, action, run) {
  byId("card").hidden = !words;
  byId("card-text").textContent = words || "";
  const button = byId("card-action");
  button.hidden = !action;
  button.textContent = action || "";
  button.onclick = run || null;
  if (words) byId("card").focus();
}

// --- captions ------------------------------------------------------------------------------------------------------

const items = new Map(); // of the agent's items that are not finished: their line
let answeredAfter = "";

function line(kind, who) {
  const log = byId("captions");
  log.querySelector(".empty")?.remove();
  const paragraph = document.createElement("p");
  paragraph.className = kind;
  const words = piece("span", "");
  paragraph.append(piece("b", "", who), words);
  log.append(paragraph);
  return words;
}

// Scrolls to the end after a change, unless somebody reads above.
function atEnd(change) {
  const log = byId("captions");
  const wasThere = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change();
  if (wasThere) log.scrollTop = log.scrollHeight;
}

// Keys that follow each other stand in one line.
function pressed(digit) {
  const last = byId("captions").lastElementChild;
  if (last?.classList.contains("keys")) last.lastElementChild.textContent += ` ${digit}`;
  else line("you keys", "you").textContent = `pressed ${digit}`;
}

function tell(words) {
  byId("announce").textContent = words;
}

function piece(kind, className, ...content) {
  const element = document.createElement(kind);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function heardAndNot(span, heard, unheard, cutAfterMs) {
  const parts = [];
  if (heard) parts.push(piece("span", "heard", heard));
  if (unheard.trim()) parts.push(heard ? " " : "", piece("s", "", piece("span", "visually-hidden", "not heard: "), unheard.trim()));
  if (cutAfterMs !== undefined) {
    const rest = unheard.trim() ? "struck words were not heard" : "all words were heard";
    parts.push(piece("span", "aside", `cut after ${(cutAfterMs / 1000).toFixed(2)} s; ${rest}`));
  }
  span.replaceChildren(...parts);
}

// How long the caller waited stands under the answer: the one that is spoken, or else the next.
function agentLine() {
  const span = line("agent", "agent");
  if (answeredAfter) under(span, answeredAfter);
  answeredAfter = "";
  return span;
}

function under(span, words) {
  span.after(piece("span", "aside latency", words));
}

function inPlay() {
  for (const item of items.values()) {
    const sound = call ? call.received - item.before : 0;
    const share = sound > 0 ? Math.min(1, Math.max(0, (call.played - item.before) / sound)) : 0;
    let at = Math.round(item.text.length * share);
    while (at > 0 && at < item.text.length && item.text[at - 1] !== " ") at--;
    item.span.replaceChildren(item.text.slice(0, at), piece("span", "coming", item.text.slice(at)));
  }
}

const TOLD = {
  began: () => state("live"),
  turn: ({ text }) => {
    line("you", "you").textContent = text;
    tell(`You: ${text}`);
  },
  words: ({ item, text }) => {
    if (!items.has(item)) items.set(item, { span: agentLine(), text: "", before: call ? call.received : 0 });
    items.get(item).text += text;
    if (call) state("live"); // after a model that was lost, too
    inPlay();
  },
  spoken: ({ item, generated, heard, heard_ms: heardMs, cut }) => {
    const span = items.get(item)?.span ?? agentLine();
    items.delete(item);
    const unheard = cut ? generated.slice(generated.startsWith(heard) ? heard.length : 0) : "";
    heardAndNot(span, cut ? heard : generated || heard, unheard, cut ? heardMs : undefined);
    if (heard) tell(`Agent: ${heard}`);
  },
  phrase: ({ heard }) => {
    agentLine().textContent = heard;
    tell(`Agent: ${heard}`);
  },
  tool: ({ name, arguments: given }) => {
    line("tool", "tool").textContent = `${name}(${given})`;
  },
  transfer: ({ to }) => {
    line("note", "bridge").textContent = `would now dial ${to}; a browser's call ends here`;
    if (call) call.transferredTo = to;
  },
  noted: ({ what, detail }) => {
    line("note", "bridge").textContent = detail ? `${what}: ${detail}` : what;
    if (what === "the model was lost" && call) state("lost");
  },
  answered: ({ after_ms: afterMs }) => {
    const words = `answered after ${afterMs} ms`;
    const spoken = [...items.values()].pop();
    if (spoken) under(spoken.span, words);
    else answeredAfter = words;
    if (!call) return;
    call.bridgeMs = afterMs;
    state("live");
    figures();
  },
  ended: (event) => {
    for (const { span, text } of items.values()) heardAndNot(span, "", text);
    items.clear();
    const times = event.barge_ins === 1 ? "once" : `${event.barge_ins} times`;
    const barges = event.barge_ins ? `, interrupted ${times}` : "";
    const turns = event.turns === 1 ? "1 turn" : `${event.turns} turns`;
    line("note", "bridge").textContent = `ended: ${event.why}; ${turns}${barges}`;
    why = call?.transferredTo ? `Transferred to ${call.transferredTo}` : `Ended: ${event.why}`;
    state("ended", why);
  },
};

function follow(callSid) {
  const url = new URL("phone/events", location);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("call", callSid);
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    atEnd(() => TOLD[event.kind]?.(event));
  };
  return socket;
}

// --- figures -------------------------------------------------------------------------------------------------------

const decibel = (peak) => (peak > 0.001 ? 20 * Math.log10(peak) : -60);

function meter(id, peak) {
  const level = Math.max(-60, Math.min(0, decibel(peak)));
  const element = byId(id);
  element.setAttribute("aria-valuenow", Math.round(level));
  element.setAttribute("aria-valuetext", level <= LOUD_DB ? "silent" : `${Math.round(level)} decibel`);
  element.firstElementChild.style.transform = `scaleX(${(level + 60) / 60})`;
}

function figures() {
  if (!call) return;
  const felt = call.feltMs === undefined ? "–" : `${call.feltMs} ms`;
  byId("latency").textContent = felt;
  const bridge = call.bridgeMs === undefined ? "–" : `${call.bridgeMs} ms`;
  const output = call.context.outputLatency ? `${Math.round(call.context.outputLatency * 1000)} ms` : "unknown";
  byId("footer").textContent =
    `answered after ${felt} in this browser, ${bridge} at the bridge · underruns ${call.underruns} · speaker latency ${output}`;
}

function clock() {
  if (!call || call.startedAt === undefined) return;
  const seconds = Math.floor((Date.now() - call.startedAt) / 1000); // a sleeping tab's timer is late, its clock is not
  byId("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

const lanes = { you: [], agent: [] };

let drawnAt = 0;

function drawLanes() {
  if (performance.now() - drawnAt < (STILL.matches ? 1000 : 0)) return;
  drawnAt = performance.now();
  const canvas = byId("lanes");
  const width = (canvas.width = canvas.clientWidth * devicePixelRatio);
  const height = (canvas.height = 64 * devicePixelRatio);
  const context = canvas.getContext("2d");
  const now = drawnAt;
  const styles = getComputedStyle(document.documentElement);
  for (const [row, name] of ["you", "agent"].entries()) {
    context.fillStyle = styles.getPropertyValue(name === "you" ? "--caller" : "--link");
    lanes[name] = lanes[name].filter(({ at }) => now - at < LANES_S * 1000);
    for (const { at, peak } of lanes[name]) {
      const x = width * (1 - (now - at) / (LANES_S * 1000));
      const tall = Math.max(0, (decibel(peak) + 60) / 60) * (height / 2 - 4);
      context.fillRect(x, height / 2 * (row + 1) - tall - 2, Math.max(1, width / 220), tall);
    }
  }
}

// --- a call --------------------------------------------------------------------------------------------------------

async function microphone() {
  const deviceId = byId("microphone").value;
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: false };
  if (deviceId) audio.deviceId = { exact: deviceId };
  return navigator.mediaDevices.getUserMedia({ audio });
}

async function listDevices() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  for (const [id, kind] of [["microphone", "audioinput"], ["speaker", "audiooutput"]]) {
    const select = byId(id);
    const chosen = select.value;
    const options = devices
      .filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default")
      .map((device) => new Option(device.label || device.kind, device.deviceId));
    select.replaceChildren(new Option("Default", ""), ...options);
    select.value = options.some((option) => option.value === chosen) ? chosen : "";
  }
  byId("speaker-label").hidden = !("setSinkId" in AudioContext.prototype);
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: answer.status, ...(await answer.json()) };
}

const MICROPHONE = {
  NotAllowedError: "The microphone is not allowed. Allow it beside the address, and call again.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "Another program has the microphone.",
};

async function place(withMicrophone) {
  card("");
  byId("call").disabled = true;
  const context = new AudioContext(); // made in the click, or browsers keep it suspended
  context.resume();
  let input = null;
  if (withMicrophone) {
    state("asking");
    try {
      input = await microphone();
    } catch (error) {
      context.close();
      byId("call").disabled = false;
      state("error");
      card(MICROPHONE[error.name] || `The microphone cannot be used: ${error.message}`, "Call without a microphone", () => place(false));
      return;
    }
    listDevices();
  }
  state("ringing");
  let answer;
  try {
    await context.audioWorklet.addModule("phone/worklet.js");
    answer = await post("phone/session", {});
  } catch {
    answer = { error: "The server does not answer. Is it still running?" };
  }
  if (!answer.call) {
    context.close();
    input?.getTracks().forEach((track) => track.stop());
    byId("call").disabled = false;
    state(answer.busy ? "busy" : "error");
    card(answer.busy || answer.error, "Try again", () => place(withMicrophone));
    return;
  }
  begin(context, input, answer);
}

function begin(context, input, answer) {
  items.clear();
  answeredAfter = why = "";
  byId("captions").replaceChildren();
  byId("latency").textContent = "–";
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  const playback = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
  const worker = new Worker("phone/socket-worker.js");
  const up = new MessageChannel();
  const down = new MessageChannel();
  capture.port.postMessage({ port: up.port1 }, [up.port1]);
  playback.port.postMessage({ port: down.port1 }, [down.port1]);
  playback.connect(context.destination);
  call = {
    answer, context, capture, playback, worker, input, source: null, muted: false, underruns: 0,
    played: 0, received: 0, loudAt: 0, spurtAt: 0, events: follow(answer.call),
  };
  listen(input);
  capture.port.onmessage = ({ data }) => {
    if (!call) return;
    meter("you", data.peak);
    lanes.you.push({ at: performance.now(), peak: data.peak });
    call.loudAt = data.loudAt;
    call.frames = data.frames;
    clock();
    drawLanes();
  };
  playback.port.onmessage = ({ data }) => {
    if (!call) return;
    if (data.spurtAt !== undefined) {
      if (call.loudAt > call.spurtAt) call.feltMs = Math.round((data.spurtAt - call.loudAt) * 1000);
      call.spurtAt = data.spurtAt;
    } else if (data.cleared === undefined) {
      meter("agent", data.peak);
      lanes.agent.push({ at: performance.now(), peak: data.peak });
      Object.assign(call, { played: data.played, received: data.received, underruns: data.underruns });
      figures();
      inPlay();
    }
  };
  worker.onmessage = ({ data }) => {
    if (data.open) {
      call.startedAt = Date.now();
      state("live");
    } else ended(data.closed);
  };
  const url = new URL(answer.path || "media-stream", location);
  url.protocol = url.protocol.replace("http", "ws");
  const { call: sid, account, stream, parameters } = answer;
  const wanted = { url: url.href, call: sid, account, stream, parameters, capture: up.port2, sound: down.port2 };
  worker.postMessage({ place: wanted }, [up.port2, down.port2]);
  for (const element of document.querySelectorAll("select[data-fault]")) {
    worker.postMessage({ fault: element.dataset.fault, value: Number(element.value) });
  }
  if (byId("speaker").value && context.setSinkId) context.setSinkId(byId("speaker").value);
  const button = byId("call");
  button.disabled = false;
  button.textContent = "Hang up";
  button.classList.add("hang-up");
  byId("mute").disabled = false;
  navigator.wakeLock?.request("screen").then((lock) => call && (call.lock = lock), () => {});
}

function listen(input) {
  call.source?.disconnect();
  call.input?.getTracks().forEach((track) => call.input !== input && track.stop());
  call.input = input;
  if (!input) return;
  call.source = call.context.createMediaStreamSource(input);
  call.source.connect(call.capture);
}

function ended(code) {
  if (!call) return;
  const { context, input, worker, lock } = call;
  input?.getTracks().forEach((track) => track.stop());
  worker.terminate();
  context.close();
  lock?.release();
  const everStarted = call.startedAt !== undefined;
  const lost = everStarted && !why && !call.hungUp && code === ABNORMAL;
  call = null;
  meter("you", 0);
  meter("agent", 0);
  state("ended", why || "Ended");
  if (!everStarted || lost) {
    state("error", lost ? "Connection lost" : undefined);
    const words = lost ? "The server is gone in the middle of the call. Is it still running?" : `The call was not taken (${code}).`;
    card(words, "Call again", () => place(true));
  }
  const button = byId("call");
  button.textContent = "Call again";
  button.classList.remove("hang-up");
  const mute = byId("mute");
  mute.disabled = true;
  mute.setAttribute("aria-pressed", "false");
}

function hangUp() {
  call.hungUp = true;
  const { call: sid, account } = call.answer;
  call.worker.postMessage({ hangUp: true, call: sid, account });
}

function mute() {
  if (!call) return;
  call.muted = !call.muted;
  call.capture.port.postMessage({ muted: call.muted });
  byId("mute").setAttribute("aria-pressed", String(call.muted));
}

function press(digit) {
  const button = document.querySelector(`[data-key="${CSS.escape(digit)}"]`);
  if (!STILL.matches) button.animate?.([{ opacity: 0.5 }, { opacity: 1 }], 200);
  if (!call) return;
  call.worker.postMessage({ digit });
  atEnd(() => pressed(digit));
  const gain = new GainNode(call.context, { gain: 0.08 });
  gain.connect(call.context.destination);
  for (const frequency of TONES[digit]) {
    const tone = new OscillatorNode(call.context, { frequency });
    tone.connect(gain);
    tone.start();
    tone.stop(call.context.currentTime + 0.12);
  }
}

async function breakIt(element) {
  const fault = element.dataset.fault;
  byId("fault-note").textContent = call ? FAULTS[fault] : "Place a call first.";
  if (!call) return;
  if (["drop", "stall", "tools"].includes(fault)) await post("phone/faults", { call: call.answer.call, fault });
  else if (fault === "marks") {
    const on = element.getAttribute("aria-pressed") !== "true";
    element.setAttribute("aria-pressed", String(on));
    call.worker.postMessage({ fault, value: on });
  } else call.worker.postMessage({ fault, value: Number(element.value) });
}

// --- the page ------------------------------------------------------------------------------------------------------

byId("call").onclick = () => (call ? hangUp() : place(true));
byId("mute").onclick = mute;
document.querySelectorAll("[data-key]").forEach((button) => (button.onclick = () => press(button.dataset.key)));
document.querySelectorAll("button[data-fault]").forEach((button) => (button.onclick = () => breakIt(button)));
document.querySelectorAll("select[data-fault]").forEach((select) => (select.onchange = () => breakIt(select)));
byId("speaker").onchange = () => call?.context.setSinkId?.(byId("speaker").value);
byId("microphone").onchange = async () => call && listen(await microphone());
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key in TONES) press(event.key);
  else if (event.key === "c") byId("call").click();
  else if (event.key === "m") mute();
});
addEventListener("pagehide", () => call && hangUp());

if (!isSecureContext || !navigator.mediaDevices || !("audioWorklet" in AudioContext.prototype)) {
  state("error");
  byId("call").disabled = true;
  card("A browser gives the microphone to a page of this machine or of https only. Open it as http://127.0.0.1 with the same port, through `ssh -L` from another machine.");
} else {
  navigator.mediaDevices.addEventListener("devicechange", async () => {
    await listDevices();
    const gone = call?.input && call.input.getTracks().some((track) => track.readyState === "ended");
    if (gone) microphone().then(listen, () => {});
  });
}
