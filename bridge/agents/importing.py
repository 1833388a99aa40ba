"""Importing the user's own module; a mistake in it is told with its file, its line and what to do."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
import sysconfig
import traceback
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Final

from bridge.errors import ConfigError

_OURS: Final = Path(__file__).resolve().parents[1]
_STDLIB: Final = Path(sysconfig.get_paths()["stdlib"]).resolve()
_KEYWORD: Final = re.compile(r"Agent\.__init__\(\) got an unexpected keyword argument '(\w+)'")

_PROMPT: Final = "prompt"
"""What others call `instructions`."""


def imported(name: str, fields: Collection[str] = ()) -> ModuleType:
    """The module of that name, from the current folder too. Raises ConfigError that names the line of the
    mistake. `fields` are the names that an Agent takes, for one that it does not take.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigError(f"there is no module {missing!r}, neither installed nor in {here}") from error
        cure = "install it here, and name it in requirements.txt for the server"
        raise ConfigError(
            f"{_place(error)}{name} needs the module {missing!r}, which is not installed: {cure}"
        ) from error
    except ConfigError as error:  # ours, in words for users
        raise ConfigError(f"{_place(error)}{error}") from error
    except SystemExit as error:
        cure = "what shall run only as a script belongs under `if __name__ == '__main__':`"
        raise ConfigError(f"{_place(error)}importing {name} ends the process: {cure}") from error
    except Exception as error:  # user code, and this is the start: say whose fault it is
        told = _told(error, fields)
        raise ConfigError(f"{_place(error)}importing {name} raised {told}") from error


def _place(error: BaseException) -> str:
    """The file and the line of user code at which it happened, as far as that is known."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{_short(error.filename)}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if _is_users(frame.filename)]
    if not users:
        return ""
    line = f" ({users[-1].line.strip()})" if users[-1].line else ""
    return f"{_short(users[-1].filename)}, line {users[-1].lineno}{line}: "


def _is_users(filename: str) -> bool:
    path = Path(filename)
    if filename.startswith("<") or "site-packages" in path.parts:
        return False
    return not any(folder in path.resolve().parents for folder in (_OURS, _STDLIB))


def _short(filename: str) -> str:
    """Relative to where we are, if it is in there."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def _told(error: Exception, fields: Collection[str]) -> str:
    """The exception in one line, with Python's own suggestion where it has one."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    told = traceback.TracebackException.from_exception(error)
    words = " ".join("".join(told.format_exception_only()).split())
    keyword = _KEYWORD.search(str(error))
    if keyword is None or "Did you mean" in words:
        return words
    near = difflib.get_close_matches(keyword[1], [*fields, _PROMPT], 1)
    cure = (
        f"did you mean {near[0].replace(_PROMPT, 'instructions')}?"
        if near
        else "help(bridge.Agent) lists them"
    )
    return f"{words}; {cure}"
