// The carrier's side of a call, in a Worker: a page that hangs for a second costs the call nothing.
// Twilio Media Streams, "WebSocket messages".
"use strict";

const SILENT_MS = 3000;

let socket = null;
let stream = "";
let playback = null;
let sequence = 1;
let chunk = 0;
let seed = 1;
const faults = { loss: 0, delay: 0, jitter: 0, marks: false, silentUntil: 0 };
let lastDue = 0;
let pinged = null;

const text = (bytes) => btoa(String.fromCharCode(...bytes));
const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

// Seeded, so that a loss can be had again.
function chance() {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}

function send(event, rest) {
  if (socket && socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ event, sequenceNumber: String(sequence++), streamSid: stream, ...rest }));
  }
}

function later(run) {
  const wanted = faults.delay + (faults.jitter ? (chance() * 2 - 1) * faults.jitter + faults.jitter : 0);
  if (!wanted && lastDue <= performance.now()) return run();
  lastDue = Math.max(lastDue, performance.now() + wanted); // late, but in order, as TCP keeps it
  setTimeout(run, lastDue - performance.now());
}

function frame(sound) {
  const at = chunk++;
  if (performance.now() < faults.silentUntil || chance() * 100 < faults.loss) return;
  later(() => {
    const media = { track: "inbound", chunk: String(at + 1), timestamp: String(at * 20), payload: text(sound) };
    send("media", { media });
  });
}

function place({ url, call, account, parameters, stream: name, capture, sound }) {
  stream = name;
  sequence = 1;
  chunk = 0;
  playback = sound;
  playback.onmessage = ({ data: mark }) => {
    if (!faults.marks) send("mark", { mark: { name: mark } });
  };
  socket = new WebSocket(url);
  socket.onopen = () => {
    socket.send(JSON.stringify({ event: "connected", protocol: "Call", version: "1.0.0" }));
    send("start", {
      start: {
        accountSid: account,
        streamSid: stream,
        callSid: call,
        tracks: ["inbound"],
        mediaFormat: { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 },
        customParameters: parameters,
      },
    });
    capture.onmessage = ({ data }) => frame(data);
    postMessage({ open: true });
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.event === "media") {
      const played = bytes(message.media.payload);
      later(() => playback.postMessage({ sound: played }));
    } else if (message.event === "mark") later(() => playback.postMessage({ mark: message.mark.name }));
    else if (message.event === "clear") later(() => playback.postMessage({ clear: true }));
  };
  socket.onclose = ({ code }) => {
    capture.onmessage = null;
    socket = null;
    postMessage({ closed: code });
  };
}

onmessage = ({ data }) => {
  if (data.place) place(data.place);
  else if (data.digit) send("dtmf", { dtmf: { track: "inbound_track", digit: data.digit } });
  else if (data.hangUp) {
    send("stop", { stop: { accountSid: data.account, callSid: data.call } });
    if (socket) socket.close(1000);
  } else if (data.fault === "close") {
    if (socket) socket.close(3999);
  } else if (data.fault === "silence") faults.silentUntil = performance.now() + SILENT_MS;
  else if (data.fault) faults[data.fault] = data.value;
};
