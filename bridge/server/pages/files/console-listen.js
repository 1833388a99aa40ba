// Listening in: the caller on the left, what they hear on the right, by the softphone's own worklet.
const LEAD_MS = 200;
const MOST_MS = 800; // a page that fell behind skips what is older
const CALLER = 0;
const HEAD_BYTES = 5; // the channel, and the call's milliseconds

export class Listening {
  // `changed(why)` is told when it is over, with the reason if it was not wished.
  constructor(call, changed) {
    this.changed = changed;
    this.peaks = { caller: 0, heard: 0 };
    this.bytes = 0;
    this.context = new AudioContext(); // made in the click, or browsers keep it suspended
    this.context.resume();
    const url = new URL(`console/calls/${encodeURIComponent(call)}/audio`, location);
    url.protocol = url.protocol.replace("http", "ws");
    this.started = this.begin(url).catch((error) => this.stop(`Sound cannot be played: ${error.message}`));
  }

  async begin(url) {
    await this.context.audioWorklet.addModule("console/worklet.js");
    const merger = new ChannelMergerNode(this.context, { numberOfInputs: 2 });
    merger.connect(this.context.destination);
    const ports = ["caller", "heard"].map((name, side) => {
      const processorOptions = { leadMs: LEAD_MS, mostMs: MOST_MS };
      const node = new AudioWorkletNode(this.context, "playback", { numberOfInputs: 0, outputChannelCount: [1], processorOptions });
      node.connect(merger, 0, side);
      const { port1, port2 } = new MessageChannel();
      node.port.postMessage({ port: port1 }, [port1]);
      node.port.onmessage = ({ data }) => data.peak !== undefined && (this.peaks[name] = data.peak);
      return port2;
    });
    if (this.over) return;
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") return;
      const message = new Uint8Array(data);
      const sound = message.slice(HEAD_BYTES);
      this.bytes += sound.length;
      ports[message[0] === CALLER ? 0 : 1].postMessage({ sound });
    };
    this.socket.onclose = ({ code, reason }) => this.stop(reason || (code === 1000 || code === 1001 ? "" : "Listening was refused, or the connection is lost."));
  }

  stop(why = "") {
    if (this.over) return;
    this.over = true;
    this.socket?.close();
    this.context.close();
    this.changed(why);
  }
}
