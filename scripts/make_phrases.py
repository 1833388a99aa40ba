"""Makes the sounds of the bundled phrases from their words, in the languages named; all but English if none.

Needs espeak-ng and sox. The same versions make the same bytes again; SOUNDS.md says which were used. English
was made by the commands in SOUNDS.md.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from bridge.codecs.g711 import pcm_to_pcmu, pcmu_to_pcm, rms
from bridge.codecs.level import level_dbfs

FOLDER: Final = Path(__file__).resolve().parent.parent / "bridge" / "sounds"
FRAME_BYTES: Final = 160
LEVEL_DBFS: Final = -20.0
SPEECH_DBFS: Final = -40.0
SHORT: Final = frozenset({"filler", "filler_2", "still_there", "working"})


class Voice(NamedTuple):
    """Of espeak-ng, with its words a minute, and those of phrases that interrupt."""

    name: str
    speed: int = 160
    short_speed: int = 185


VOICES: Final = {
    "de": Voice("de+f2"),
    "en": Voice("en-us+f2", 150, 180),
    "es": Voice("es+f2"),
    "fr": Voice("fr-fr+f2"),
    "it": Voice("it+f2"),
    "ja": Voice("ja+f2"),
    "nl": Voice("nl+f2"),
    "pl": Voice("pl+f2"),
    "pt": Voice("pt+f2"),
    "zh": Voice("cmn+f2", 230, 230),
}
# espeak-ng 1.51 reads no kanji: it gets the same words in kana.
KANA: Final = {
    "apology": "もうしわけございません。こちらでもんだいがはっせいしました。しつれいいたします。",
    "busy": "もうしわけございません。ただいまかいせんがこみあっております。のちほどおかけなおしください。",
    "consent": "こちらはじどうおんせいアシスタントです。このつうわはろくおんされます。",
    "disclosure": "こちらはじどうおんせいアシスタントです。",
    "filler": "しょうしょうおまちください。",
    "filler_2": "ただいまかくにんしております。",
    "filler_3": "もうすこしじかんがかかります。おまちいただきありがとうございます。",
    "goodbye": "おでんわありがとうございました。しつれいいたします。",
    "restored": "もうしわけございません。いっしゅんとぎれました。つづけておはなしください。",
    "still_there": "まだいらっしゃいますか。",
    "unreached": "もうしわけございません。たんとうしゃにつながりませんでした。のちほどおかけなおしください。",
    "working": "おしらべします。",
}


def spoken(text: str, voice: Voice, speed: int, gain_db: float) -> bytes:
    """The words as mu-law, trimmed, faded, with 40 ms of silence at the end."""
    with tempfile.TemporaryDirectory() as folder:
        raw, cut = Path(folder, "raw.wav"), Path(folder, "cut.ulaw")
        speak = ["espeak-ng", "-v", voice.name, "-s", str(speed), "-p", "50", "-w", str(raw), text]
        subprocess.run(speak, check=True)
        trim = "silence 1 0.01 0.1% fade t 0.02 reverse silence 1 0.01 0.1% fade t 0.02 reverse"
        effects = f"gain -6 highpass 120 rate 8000 {trim} gain {gain_db:.1f} pad 0 0.04"
        subprocess.run(
            ["sox", "-D", raw, "-t", "ul", "-r", "8000", "-c", "1", cut, *effects.split()],  # noqa: S607
            check=True,
            stderr=subprocess.DEVNULL,  # that a sample was clipped: then less gain is tried
        )
        sound = cut.read_bytes()
    return sound[: len(sound) // FRAME_BYTES * FRAME_BYTES]


def level(sound: bytes) -> float:
    """Mean power of the frames in which there is speech."""
    frames = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
    powers = [rms(pcmu_to_pcm(frame)) ** 2 for frame in frames if level_dbfs(frame) >= SPEECH_DBFS]
    return 10 * math.log10(sum(powers) / len(powers) / 32_768**2)


def phrase(text: str, voice: Voice, speed: int) -> bytes:
    """At the level of all others."""
    gain_db = 4.0
    for _ in range(4):
        gain_db += LEVEL_DBFS - level(spoken(text, voice, speed, gain_db))
    return spoken(text, voice, speed, gain_db)


def waiting() -> bytes:
    """Two soft notes, a fifth apart, of 200 ms each: what a caller hears while we work."""
    samples: list[int] = []
    for hz in (392.0, 587.3):
        count = 1_600
        for at in range(count):
            envelope = math.sin(math.pi * at / count) ** 2
            samples.append(round(1_300 * envelope * math.sin(2 * math.pi * hz * at / 8_000)))
    raw = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    return pcm_to_pcmu(raw)


def main(languages: list[str]) -> None:
    """Write them, and what SOUNDS.md says of them."""
    (FOLDER / "waiting.ulaw").write_bytes(waiting())
    for language in languages or [name for name in VOICES if name != "en"]:
        voice = VOICES[language]
        texts = json.loads((FOLDER / language / "texts.json").read_bytes())
        for name, text in texts.items():
            said = KANA[name] if language == "ja" else text
            speed = voice.short_speed if name in SHORT else voice.speed
            sound = phrase(said, voice, speed)
            (FOLDER / language / f"{name}.ulaw").write_bytes(sound)
            print(f"| `{language}/{name}` | {len(sound) / 8_000:.2f} s | {text} | {level(sound):.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
