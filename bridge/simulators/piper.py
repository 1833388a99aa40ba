"""Piper's voices (https://github.com/OHF-Voice/piper1-gpl), from a file: `voice.onnx` with `voice.onnx.json`.

`piper-tts` is GPL-3 and no part of this project: it is loaded where it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError

from .speech_sound import pcmu_of


class PiperVoice:
    """The voice of that file. Raises ConfigError for what is missing, or is no voice."""

    def __init__(self, path: Path) -> None:
        described = Path(f"{path}.json")
        for file in (path, described):
            if not file.is_file():
                raise ConfigError(f"BRIDGE_VOICE_FILE: there is no {file}; Piper's voices are two files")
        if importlib.util.find_spec("piper") is None:
            raise ConfigError(
                f"BRIDGE_VOICE_FILE is a Piper voice ({path.name}), and piper-tts is not installed: "
                "pip install piper-tts"
            )
        piper: Any = importlib.import_module("piper")
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # calls have the other cores
        try:
            self._voice: Any = piper.PiperVoice.load(path)
            self._voice.session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # whatever the runtime raises for a file that is no model
            raise ConfigError(f"BRIDGE_VOICE_FILE: {path} is no Piper voice: {error}") from error
        self.name = f"piper {path.stem}"

    def pcmu(self, sentence: str) -> bytes:
        """One sentence."""
        chunks = list(self._voice.synthesize(sentence)) if sentence.strip() else []
        return (
            pcmu_of(b"".join(one.audio_int16_bytes for one in chunks), chunks[0].sample_rate)
            if chunks
            else b""
        )
