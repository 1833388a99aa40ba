"""What can be said without any model: short phrases, raw mu-law at 8 kHz, each with the words it holds.

The words matter as much as the sound: what the caller heard goes into the conversation, and the model is told
of it in words. How each sound was made is in SOUNDS.md, next to this file.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Final

from ..errors import ConfigError

LANGUAGES: Final = ("de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt", "zh")
"""ISO 639-1. In each of them there are all phrases."""
_DEMO = "demo"


def phrase_names(language: str = "en") -> tuple[str, ...]:
    """The bundled phrases, in alphabetical order."""
    return tuple(sorted(_texts(language)))


def load(name: str, language: str = "en") -> bytes:
    """A phrase as mu-law, in whole frames of 160 bytes. Raises ConfigError for an unknown name."""
    return _sound(language, name)


def text(name: str, language: str = "en") -> str:
    """The words of a phrase. Raises ConfigError for an unknown name."""
    return _words(language, name)


def waiting() -> bytes:
    """A quiet sound without words that may be repeated while the caller waits."""
    return files(__name__).joinpath("waiting.ulaw").read_bytes()


def load_demo(name: str) -> bytes:
    """Speech for a demo call, as mu-law: `caller` is one side of it, `greeting` how the other begins."""
    return _sound(_DEMO, name)


def demo_text(name: str) -> str:
    """The words of that speech."""
    return _words(_DEMO, name)


@cache
def _texts(folder: str) -> dict[str, str]:
    try:
        texts: dict[str, str] = json.loads(files(__name__).joinpath(folder, "texts.json").read_bytes())
    except OSError as error:
        raise ConfigError(f"there are no bundled phrases in language {folder!r}") from error
    return texts


def _words(folder: str, name: str) -> str:
    texts = _texts(folder)
    if name not in texts:
        raise ConfigError(
            f"there is no bundled sound {name!r} in {folder!r}, only {', '.join(sorted(texts))}"
        )
    return texts[name]


@cache
def _sound(folder: str, name: str) -> bytes:
    _words(folder, name)  # a name that is in the list, and no path out of the folder
    return files(__name__).joinpath(folder, f"{name}.ulaw").read_bytes()
