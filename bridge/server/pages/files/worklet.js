// The softphone's ear and mouth, on the audio thread: device rate to 8 kHz mu-law in frames of 160 bytes, and back.
// ITU-T G.711: mu-law; RFC 3551, 4.5.14: 20 ms a frame.
"use strict";

const RATE = 8000;
const FRAME = 160;
const SILENCE = 0xff;
const PHASES = 32;
const BYTES_A_MS = 8;
const LEAD_MS = 60; // kept before a spurt that arrives paced is played: without it each late frame is a gap
const REPORT_S = 0.1;
const LOUD = 0.01; // -40 dBFS

const BIAS = 0x84;

// In steps of 14 bits, as every other encoder does.
function encode(sample) {
  const value = Math.max(-32768, Math.min(32767, Math.floor(sample * 32768))) >> 2;
  const magnitude = Math.min(Math.abs(value), 8158) + (BIAS >> 2);
  const exponent = 26 - Math.clz32(magnitude);
  return ~((value < 0 ? 0x80 : 0) | (exponent << 4) | ((magnitude >> (exponent + 1)) & 0x0f)) & 0xff;
}

const DECODED = Float32Array.from({ length: 256 }, (_, code) => {
  const byte = ~code & 0xff;
  const magnitude = (((byte & 0x0f) << 3) + BIAS) << ((byte >> 4) & 7);
  return ((byte & 0x80 ? BIAS - magnitude : magnitude - BIAS)) / 32768;
});

// Low-pass filters for positions between samples: one row a phase, each of 2 * half taps that add up to 1.
function filters(half, cutoff) {
  return Array.from({ length: PHASES }, (_, phase) => {
    const taps = new Float32Array(2 * half);
    let sum = 0;
    for (let k = 0; k < taps.length; k++) {
      const x = k - half + 1 - phase / PHASES;
      const angle = Math.PI * 2 * cutoff * x;
      const window = 0.42 + 0.5 * Math.cos((Math.PI * x) / half) + 0.08 * Math.cos((2 * Math.PI * x) / half);
      taps[k] = (x === 0 ? 2 * cutoff : Math.sin(angle) / (Math.PI * x)) * Math.max(0, window);
      sum += taps[k];
    }
    return taps.map((tap) => tap / sum);
  });
}

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE;
    this.half = Math.ceil(24 * this.step);
    this.rows = filters(this.half, 3400 / sampleRate);
    this.ring = new Float32Array(1 << 15);
    this.mask = this.ring.length - 1;
    this.written = this.half; // the filter begins in silence
    this.at = this.half;
    this.frame = new Uint8Array(FRAME);
    this.filled = 0;
    this.frames = 0;
    this.muted = false;
    this.peak = 0;
    this.loudAt = 0;
    this.reportAt = 0;
    this.port.onmessage = ({ data }) => {
      if (data.port) this.out = data.port;
      if ("muted" in data) this.muted = data.muted;
    };
  }

  process(inputs) {
    const input = inputs[0][0];
    const count = input ? input.length : 128;
    for (let k = 0; k < count; k++) this.ring[this.written++ & this.mask] = input ? input[k] : 0;
    while (this.at + this.half < this.written) {
      const whole = Math.floor(this.at);
      const row = this.rows[Math.min(PHASES - 1, Math.floor((this.at - whole) * PHASES))];
      let sum = 0;
      for (let k = 0; k < row.length; k++) sum += row[k] * this.ring[(whole - this.half + 1 + k) & this.mask];
      this.take(sum);
      this.at += this.step;
    }
    if (currentTime >= this.reportAt) {
      this.reportAt = currentTime + REPORT_S;
      this.port.postMessage({ peak: this.peak, loudAt: this.loudAt, frames: this.frames });
      this.peak = 0;
    }
    return true;
  }

  take(sample) {
    const size = this.muted ? 0 : Math.abs(sample);
    if (size > this.peak) this.peak = size;
    if (size > LOUD) this.loudAt = currentTime;
    this.frame[this.filled++] = this.muted ? SILENCE : encode(sample);
    if (this.filled < FRAME) return;
    this.filled = 0;
    this.frames++;
    if (this.out) this.out.postMessage(this.frame.slice()); // muted, the call's clock goes on
  }
}

class Playback extends AudioWorkletProcessor {
  constructor({ processorOptions = {} } = {}) {
    super();
    this.lead = (processorOptions.leadMs ?? LEAD_MS) * BYTES_A_MS;
    this.most = (processorOptions.mostMs ?? Infinity) * BYTES_A_MS; // waiting; what is older is skipped
    this.step = RATE / sampleRate;
    this.half = 8;
    this.rows = filters(this.half, 3700 / RATE);
    this.queue = []; // sound and marks, in the order in which they came
    this.inChunk = 0;
    this.waiting = 0; // bytes
    this.recent = new Float32Array(2 * this.half);
    this.phase = 0;
    this.playing = false;
    this.cameAt = 0;
    this.emptyAt = -1;
    this.played = 0;
    this.received = 0;
    this.underruns = 0;
    this.peak = 0;
    this.silentFor = 0;
    this.reportAt = 0;
    this.port.onmessage = ({ data }) => {
      if (data.port) {
        this.out = data.port;
        this.out.onmessage = ({ data: message }) => this.take(message);
      }
    };
  }

  take(message) {
    if (message.sound) {
      if (!this.waiting) {
        this.cameAt = currentTime;
        if (this.emptyAt >= 0 && currentTime - this.emptyAt < 0.1) this.underruns++;
      }
      this.queue.push(message.sound);
      this.waiting += message.sound.length;
      this.received += message.sound.length;
      if (this.waiting > this.most) this.skip();
    } else if (message.mark !== undefined) {
      this.queue.push(message.mark);
      if (!this.waiting) this.passMarks(); // nothing is before it
    } else if (message.clear) {
      const marks = this.queue.filter((entry) => typeof entry === "string");
      this.received -= this.waiting;
      this.queue = [];
      this.inChunk = this.waiting = 0;
      this.playing = false;
      this.emptyAt = -1;
      this.recent.fill(0);
      marks.forEach((mark) => this.out.postMessage(mark));
      this.port.postMessage({ cleared: this.played });
    }
  }

  // Down to the lead, in whole pieces of sound.
  skip() {
    while (this.waiting - (this.queue[0].length - this.inChunk) >= this.lead) {
      this.waiting -= this.queue.shift().length - this.inChunk;
      this.inChunk = 0;
    }
  }

  passMarks() {
    while (this.queue.length && typeof this.queue[0] === "string") this.out.postMessage(this.queue.shift());
  }

  next() {
    this.passMarks();
    if (!this.queue.length) {
      if (this.playing) {
        this.playing = false;
        this.emptyAt = currentTime;
      }
      return 0;
    }
    const sample = DECODED[this.queue[0][this.inChunk++]];
    this.played++;
    this.waiting--;
    if (this.inChunk === this.queue[0].length) {
      this.queue.shift();
      this.inChunk = 0;
      this.passMarks();
    }
    return sample;
  }

  process(_, outputs) {
    const output = outputs[0][0];
    if (!this.playing && this.waiting && (this.waiting >= this.lead || currentTime - this.cameAt >= this.lead / RATE)) {
      this.playing = true;
    }
    for (let k = 0; k < output.length; k++) {
      this.phase += this.step;
      while (this.phase >= 1) {
        this.phase -= 1;
        this.recent.copyWithin(0, 1);
        this.recent[this.recent.length - 1] = this.playing ? this.next() : 0;
      }
      const row = this.rows[Math.floor(this.phase * PHASES)];
      let sum = 0;
      for (let n = 0; n < row.length; n++) sum += row[n] * this.recent[n];
      output[k] = sum;
      const size = Math.abs(sum);
      if (size > this.peak) this.peak = size;
      if (size > LOUD) {
        if (this.silentFor > 0.3 * sampleRate) this.port.postMessage({ spurtAt: currentTime });
        this.silentFor = 0;
      } else this.silentFor++;
    }
    for (let channel = 1; channel < outputs[0].length; channel++) outputs[0][channel].set(output);
    if (currentTime >= this.reportAt) {
      this.reportAt = currentTime + REPORT_S;
      const { peak, played, received, underruns } = this;
      this.port.postMessage({ peak, played, received, underruns });
      this.peak = 0;
    }
    return true;
  }
}

registerProcessor("capture", Capture);
registerProcessor("playback", Playback);
