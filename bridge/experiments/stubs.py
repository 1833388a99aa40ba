"""Tools that a module of the user's answers, in the place of the recordings."""

from __future__ import annotations

import inspect
import json
from typing import Final

from bridge.agents.importing import imported
from bridge.agents.tools import ToolError, error_text, result_text
from bridge.errors import ConfigError
from bridge.recording.recorded_tools import Stub

PREFIX: Final = "stub:"


def stub_of(where: str) -> Stub:
    """`stub:module`: functions of that module answer the tools of their names, with the arguments that the
    model sent; all other tools answer from the recording. Raises ConfigError for anything else.
    """
    if not where.startswith(PREFIX):
        raise ConfigError(f"tools are answered by recorded, stub:module or live, not {where!r}")
    module = imported(where.removeprefix(PREFIX))

    def stub(name: str, arguments: str) -> str | None:
        function = getattr(module, name, None)
        if not inspect.isfunction(function):
            return None
        if inspect.iscoroutinefunction(function):
            raise ConfigError(f"the stub {module.__name__}.{name} is async: a stub answers at once")
        try:
            return result_text(function(**json.loads(arguments or "{}")))
        except ToolError as error:
            return error_text(str(error))
        except TypeError as error:
            return error_text(f"The arguments do not fit: {error}")
        except (Exception, SystemExit) as error:  # noqa: BLE001  a tool that fails is an answer, and the experiment goes on
            return error_text(f"{type(error).__name__}: {error}")

    return stub
