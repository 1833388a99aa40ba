"""What the console does not show by itself: numbers, keys, and fields that are named like secrets."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from bridge.ops.redaction import Mask

HIDDEN: Final = "•••"
MOST_CHARACTERS: Final = 4_000
MOST_READ: Final = 32_768
"""Characters of one text that are looked through: this runs on the loop that carries sound."""
_DEEPEST: Final = 8
_SECRET_WORDS: Final = re.compile(
    r"token|secret|passw|passphrase|passcode|authori[sz]ation|credential|signature|cookie"
    r"|(api|private|access|encryption)_?key|(security|verification|access|auth|sort|one_?time)_?code"
    r"|card_?(no|num|number|code)|iban|social_?security|(account|routing)_?(no|num|number)s?(?![a-z])"
    r"|(?<![a-z])((credit|debit|bank)?cards?|pins?|pwd|auth|bearer|otps?|totp|mfa|cvv|cvc|cvn|ssn|tan)(?![a-z])"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_KEYS: Final = re.compile(r"(?<=\[The caller pressed )[0-9A-D*# ]+(?= on the keypad)")
_MASK: Final = Mask()
_SHOWN_DIGITS: Final = 2


def number(text: str) -> str:
    """`+1 … 34` of a number in E.164; a name that is no number stays; "" for a withheld one."""
    if not text.startswith("+"):
        digits = sum(map(str.isdigit, text))
        return text if digits < 6 else f"… {text[-_SHOWN_DIGITS:]}"
    return f"{text[:2]} … {text[-_SHOWN_DIGITS:]}"


def plain(text: str) -> str:
    """Words that are no JSON, without credentials and numbers."""
    return _MASK.text(text)


def shown(text: str) -> str:
    """`fields` for who reveals nothing."""
    return fields(text, "")[0]


def keys(text: str) -> str:
    """Words to the model, without the keys that they tell of."""
    return _KEYS.sub("•", text)


def fields(text: str, path: str) -> tuple[str, list[str]]:
    """JSON, or plain text, with values of fields that are named like secrets replaced, and credentials taken
    out as of the logs; and the paths of what was hidden, which begin with `path`.
    """
    if len(text) > MOST_READ:
        return f"({len(text)} characters, too many to show)", []
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _clipped(_MASK.text(text)), []
    hidden: list[str] = []
    shown = _shown(value, path, hidden, 0)
    return _clipped(_json(shown)), hidden


def revealed(text: str, path: list[str]) -> str | None:
    """The value at that path, as JSON; None where the path leads nowhere."""
    try:
        value = json.loads(text)
        for name in path:
            value = value[int(name)] if isinstance(value, list) else value[name]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return _clipped(_json(value))


def _json(value: Any) -> str:
    """As people read it; half of a surrogate pair, which no encoding has, stays escaped."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _shown(value: Any, path: str, hidden: list[str], depth: int) -> Any:
    if depth > _DEEPEST:
        return HIDDEN
    if isinstance(value, dict):
        found = {}
        for name, inner in value.items():
            where = f"{path}.{name}"
            if is_secret(name) and inner is not None and inner != "" and not isinstance(inner, bool):
                hidden.append(where)
                found[name] = HIDDEN
            else:
                found[name] = _shown(inner, where, hidden, depth + 1)
        return found
    if isinstance(value, list):
        return [_shown(inner, f"{path}.{at}", hidden, depth + 1) for at, inner in enumerate(value)]
    return _MASK.text(value) if isinstance(value, str) else value


def is_secret(name: str) -> bool:
    """Whether what has this name is not shown: `cardNumber`, `x-api-key`, `customer_pin_code`."""
    words = _CAMEL.sub("_", name).lower().replace("-", "_").replace(" ", "_")
    return _SECRET_WORDS.search(words) is not None


def _clipped(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
