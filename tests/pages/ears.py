"""What a page's loudspeaker plays and its microphone hears, by a node of the test's own on the audio thread.

Both tracks have one clock, that of the sound, and each block has the wall clock's time as well: a busy
machine may keep the page waiting, and moves neither.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..browser import Page

BLOCK = 512
LOUD = 0.05
_PROCESSOR = """
registerProcessor("ear", class extends AudioWorkletProcessor {
  process(inputs) {
    this.block ??= new Int16Array(512);
    this.filled ??= 0;
    const input = inputs[0][0];
    for (let k = 0; k < 128; k++) this.block[this.filled++] = input ? Math.round(32767 * input[k]) : 0;
    if (this.filled === 512) {
      this.port.postMessage({ at: currentTime + 128 / sampleRate, wall: Date.now(), block: this.block });
      this.filled = 0;
    }
    return true;
  }
});
"""
_LISTEN = """
(() => {
  const processor = URL.createObjectURL(new Blob([%r], {type: "text/javascript"}));
  const addModule = AudioWorklet.prototype.addModule;
  AudioWorklet.prototype.addModule = async function (url) {
    await addModule.call(this, processor);
    return addModule.call(this, url);
  };
  const connect = AudioNode.prototype.connect;
  window.tracks = {};
  const ear = (node, name) => {
    const track = window.tracks[name] ??= {rate: node.context.sampleRate, at: [], wall: [], blocks: []};
    const mono = {channelCount: 1, channelCountMode: "explicit"};
    const listener = new AudioWorkletNode(node.context, "ear", mono);
    listener.port.onmessage = ({data}) => {
      track.at.push(data.at);
      track.wall.push(data.wall);
      track.blocks.push(data.block);
    };
    connect.call(node, listener);
    connect.call(listener, node.context.destination);  // silent: it has no output
  };
  AudioNode.prototype.connect = function (to, ...rest) {
    if (this instanceof MediaStreamAudioSourceNode) ear(this, "microphone");
    else if (to instanceof ChannelMergerNode) ear(this, rest[1] ? "right" : "left");
    else if (to instanceof AudioDestinationNode && this instanceof AudioWorkletNode) ear(this, "loudspeaker");
    return connect.call(this, to, ...rest);
  };
})();
"""
_TRACK = """(() => {
  const track = window.tracks[%r];
  const bytes = new Uint8Array(track.blocks.length * 1024);
  track.blocks.forEach((block, at) => bytes.set(new Uint8Array(block.buffer), at * 1024));
  let text = "";
  for (let at = 0; at < bytes.length; at += 1024) text += String.fromCharCode(...bytes.slice(at, at + 1024));
  return {rate: track.rate, at: track.at, wall: track.wall, sound: btoa(text)};
})()"""


@dataclass
class Track:
    """`sound` from -1 to 1; `at_s` is the sound's clock at the end of each block, `wall_ms` the wall's."""

    rate_hz: float
    at_s: np.ndarray
    wall_ms: np.ndarray
    sound: np.ndarray

    @property
    def peaks(self) -> np.ndarray:
        return np.abs(self.sound).reshape(-1, BLOCK).max(axis=1)

    def loud_s(self, over: float = LOUD) -> np.ndarray:
        """When it was loud, by the sound's clock."""
        return self.at_s[self.peaks > over]

    def loud_wall_ms(self, over: float = LOUD) -> np.ndarray:
        """When it was loud, by the wall's clock."""
        return self.wall_ms[self.peaks > over]

    def wall_ms_of(self, at_s: float) -> float:
        """The wall's clock at a moment of the sound's."""
        return float(self.wall_ms[np.searchsorted(self.at_s, at_s)])

    def spurts(self, *, gap_s: float = 0.4, over: float = LOUD) -> list[tuple[float, float]]:
        """From when to when it was loud, by the sound's clock, with pauses up to `gap_s` in between."""
        loud = self.loud_s(over)
        if not len(loud):
            return []
        breaks = [(a, b) for a, b in pairwise(loud) if b - a > gap_s]
        starts = [loud[0], *(b for _, b in breaks)]
        ends = [*(a for a, _ in breaks), loud[-1]]
        return [(float(start), float(end)) for start, end in zip(starts, ends, strict=True)]

    def between(self, start_s: float, end_s: float, rate_hz: int) -> np.ndarray:
        """A stretch of it at another rate."""
        first_s = self.at_s[0] - BLOCK / self.rate_hz
        count = int((end_s - start_s) * rate_hz)
        at = (start_s - first_s + np.arange(count) / rate_hz) * self.rate_hz
        return np.interp(at, np.arange(len(self.sound)), self.sound, left=0, right=0)


def listen(page: Page) -> None:
    """To every page to come. Its policy, which allows no script of a test's, is set aside."""
    page.command("Page.setBypassCSP", enabled=True)
    page.before_each_page(_LISTEN % _PROCESSOR)


def track(page: Page, name: str) -> Track:
    """All of the `loudspeaker` or the `microphone` so far; of a page that plays on two sides, of `left` or
    `right`.
    """
    found = page.value(_TRACK % name)
    sound = np.frombuffer(b64decode(found["sound"]), "<i2") / 32_768
    return Track(found["rate"], np.array(found["at"]), np.array(found["wall"]), sound)
