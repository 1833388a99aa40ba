"""Turn detection as a developer writes it, checked to the last key before anybody calls.

API reference, session.update, `audio.input.turn_detection`. A key that the vendor does not know loses the
whole configuration, and a threshold of 5 makes a model deaf, so both are refused where they are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.core.messages import SemanticVad, ServerVad, TurnDetection
from bridge.errors import ConfigError

EAGERNESS: Final = ("auto", "low", "medium", "high")
IDLE_TIMEOUT_MS: Final = range(5_000, 30_001)


def turn_detection(given: TurnDetection | Mapping[str, Any] | None) -> TurnDetection | None:
    """What was written, as the message it becomes; None (voice detection off) stays None.

    A mapping needs `type`; keys that are left out have the vendor's defaults (threshold 0.5,
    prefix_padding_ms 300, silence_duration_ms 500, create_response and interrupt_response true). Raises
    ConfigError for anything else, naming the key.
    """
    if given is None:
        return None
    if isinstance(given, ServerVad | SemanticVad):
        kind: Any = "server_vad" if isinstance(given, ServerVad) else "semantic_vad"
        values = {name: getattr(given, name) for name in given.__struct_fields__}
    elif isinstance(given, Mapping):
        values = dict(given)
        kind = values.pop("type", None)
    else:
        raise ConfigError(f"turn_detection is a mapping, ServerVad or SemanticVad, not {given!r}")
    if kind not in _CHECKS:
        raise ConfigError(f"turn_detection.type is one of {', '.join(_CHECKS)}, not {kind!r}")
    checks = _CHECKS[kind]
    for name, value in values.items():
        if name not in checks:
            raise ConfigError(f"turn_detection of type {kind} has no {name!r}; it has {', '.join(checks)}")
        what = checks[name](value)
        if what is not None:
            raise ConfigError(f"turn_detection.{name} is {what}, not {value!r}")
    return ServerVad(**values) if kind == "server_vad" else SemanticVad(**values)


def _share(value: Any) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if number and 0 <= value <= 1 else "a number from 0 to 1"


def _milliseconds(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return None if whole and value >= 0 else "a whole number of milliseconds, 0 or more"


def _idle(value: Any) -> str | None:
    if value is None or (type(value) is int and value in IDLE_TIMEOUT_MS):
        return None
    return f"{IDLE_TIMEOUT_MS[0]} to {IDLE_TIMEOUT_MS[-1]} milliseconds, or None"


def _switch(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _eagerness(value: Any) -> str | None:
    return None if value in EAGERNESS else f"one of {', '.join(EAGERNESS)}"


_CHECKS: Final[dict[Any, dict[str, Callable[[Any], str | None]]]] = {
    "server_vad": {
        "threshold": _share,
        "prefix_padding_ms": _milliseconds,
        "silence_duration_ms": _milliseconds,
        "create_response": _switch,
        "interrupt_response": _switch,
        "idle_timeout_ms": _idle,
    },
    "semantic_vad": {
        "eagerness": _eagerness,
        "create_response": _switch,
        "interrupt_response": _switch,
    },
}
