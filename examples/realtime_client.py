"""No phone and no microphone: a WAV file is said to the model, and what it answers is written to another."""

import asyncio
import sys
import wave
from pathlib import Path

from bridge import Audio, AudioInterrupted, Failed, ModelEvent, Phase, RealtimeModel, SessionOptions, Spoken

HZ, FRAME_MS = 24_000, 20
SILENCE = b"\0\0" * (HZ * FRAME_MS // 1000)
OPTIONS = SessionOptions(instructions="Answer in one sentence.", input_format="pcm16", output_format="pcm16")


class Heard:
    """What a listener would have heard: of an item that was talked over, no more than was played."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, int], bytearray] = {}

    def __call__(self, event: ModelEvent) -> None:
        match event:
            case Audio(_, item_id, part, sound):
                self.items.setdefault((item_id, part), bytearray()).extend(sound)
            case AudioInterrupted(item_id, part, heard_ms):
                del self.items[item_id, part][heard_ms * HZ // 1000 * 2 :]
            case Spoken(_, _, words, _, cut):
                sys.stdout.write(f"{words}{' …' if cut else ''}\n")
            case Failed(error, what):
                sys.stderr.write(f"{what}: {error}\n")


async def talk(model: RealtimeModel, source: Path, target: Path, patience_s: float = 3.0) -> None:
    """Say the source (16-bit mono WAV, 24 kHz) as fast as it sounds, and listen until nobody speaks."""
    heard = Heard()
    model.add_listener(heard)
    with wave.open(str(source)) as said:
        speech = said.readframes(said.getnframes())
    await model.connect()
    idle_s, at, due_s = 0.0, 0, asyncio.get_running_loop().time()
    while idle_s < patience_s:
        frame = speech[at : at + len(SILENCE)]
        await model.send_audio(frame or SILENCE)  # silence ends a turn: the server counts sound, not time
        at, due_s = at + len(SILENCE), due_s + FRAME_MS / 1000
        idle_s = 0.0 if frame or model.phase is not Phase.IDLE else idle_s + FRAME_MS / 1000
        await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
    await model.close()
    with wave.open(str(target), "wb") as out:
        out.setparams((1, 2, HZ, 0, "NONE", ""))
        out.writeframes(b"".join(heard.items.values()))


if __name__ == "__main__":
    asyncio.run(talk(RealtimeModel(options=OPTIONS), Path(sys.argv[1]), Path(sys.argv[2])))
