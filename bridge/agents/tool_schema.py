"""What a tool's function takes: a JSON schema for the model, and a check of what the model sends.

Hints become the schema's types, defaults make an argument optional, the docstring describes (its `Args:`
section or `:param x:` lines the arguments). A parameter annotated `Session` is ours to fill and the model
never sees it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from bridge.agents.session import Session
from bridge.errors import ConfigError

_SHOWN_CHARACTERS: Final = 60
_SECTION: Final = re.compile(r"^(Args|Arguments|Parameters):\s*$")
_OTHER_SECTION: Final = re.compile(r"^(Returns?|Raises|Yields|Examples?|Notes?):\s*$")
_GOOGLE: Final = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_REST: Final = re.compile(r"^:(?:param|parameter|arg)\s+(?:[\w.\[\]]+\s+)?(\w+):\s*(.*)$")
_REST_OTHER: Final = re.compile(r"^:(?:returns?|rtype|raises?|type)\b")


class WrongArguments(ValueError):
    """The model called a tool with arguments that do not fit; what it says is for the model to read."""


class Signature:
    """The parameters of one function. Raises ConfigError if the model could not call it.

    `schema` is what the model is shown, `description` the docstring without its sections on arguments,
    `session_parameter` the name under which the function wants the `Session`, None if it does not.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.session_parameter: str | None = None
        self.description, described = docstring(function)
        fields: dict[str, Any] = {}
        self._names: list[str] = []
        hints = _hints(function, name)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise ConfigError(f"tool {name}: {parameter.name} is no argument that a model can name")
            if parameter.name not in hints:
                raise ConfigError(f"tool {name}: its argument {parameter.name} needs a type hint")
            hint = hints[parameter.name]
            if hint is Session:
                self.session_parameter = parameter.name
                continue
            # Fields are numbered: a name such as `json` or `copy` would hide one of pydantic's own.
            default = ... if parameter.default is parameter.empty else parameter.default
            told: dict[str, Any] = {"alias": parameter.name}
            if parameter.name in described:
                told["description"] = described[parameter.name]
            field: Any = Field(default, **told)
            fields[f"argument_{len(self._names)}"] = (hint, field)
            self._names.append(parameter.name)
        try:
            self._model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
            self.schema = _trimmed(self._model.model_json_schema(by_alias=True))
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            what = str(error).partition("\n")[0]
            raise ConfigError(f"tool {name}: an argument's type has no JSON schema: {what}") from error

    def arguments(self, text: str) -> dict[str, Any]:
        """The arguments that the model sent, as the function wants them. Raises WrongArguments."""
        return self._checked(lambda: self._model.model_validate_json(text or "{}"))

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The same for arguments that are Python values already."""
        return self._checked(lambda: self._model.model_validate(dict(given)))

    def _checked(self, check: Callable[[], BaseModel]) -> dict[str, Any]:
        try:
            model = check()
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False)
            wrong = "; ".join(_complaint(detail) for detail in details)
            raise WrongArguments(f"The arguments do not fit. {wrong}. Call again with what fits.") from None
        return {name: getattr(model, f"argument_{index}") for index, name in enumerate(self._names)}


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        what = f"{error}; import it where the program runs too, not only under TYPE_CHECKING"
        raise ConfigError(f"tool {name}: a type hint cannot be read: {what}") from error
    except TypeError:  # an object that is called: its hints are its method's
        return get_type_hints(type(function).__call__, include_extras=True)


def _complaint(detail: Mapping[str, Any]) -> str:
    where = ".".join(str(step) for step in detail["loc"])
    what: str = detail["msg"]
    if detail["type"] == "missing":
        return f"`{where}` is missing"
    if detail["type"] == "extra_forbidden":
        return f"there is no argument `{where}`"
    shown = repr(detail["input"])
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
    return f"{f'`{where}`' if where else 'They'}: {what[:1].lower()}{what[1:]}, got {shown}"


def _trimmed(schema: dict[str, Any]) -> dict[str, Any]:
    """Without titles, which say nothing that the names do not, and cost tokens in every response."""
    properties = schema.get("properties", {})
    kept = {name: _untitled(value) for name, value in properties.items()}
    rest = {name: _untitled(value) for name, value in schema.items() if name not in ("title", "properties")}
    return {"type": "object", "properties": kept, **rest}


def _untitled(node: Any) -> Any:
    if isinstance(node, list):
        return [_untitled(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    # A property may be called title: those of a `properties` are names, not keywords.
    return {
        name: {key: _untitled(value) for key, value in inner.items()}
        if name in ("properties", "$defs") and isinstance(inner, dict)
        else _untitled(inner)
        for name, inner in node.items()
        if not (name == "title" and isinstance(inner, str))
    }


def docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A function's description, and what it says of each argument; empty where it says nothing."""
    lines = (inspect.getdoc(function) or "").splitlines()
    said: list[str] = []
    described: dict[str, str] = {}
    argument, section = "", ""
    for line in lines:
        rest = _REST.match(line)
        if _SECTION.match(line):
            section, argument = "arguments", ""
        elif _OTHER_SECTION.match(line) or _REST_OTHER.match(line):
            section, argument = "other", ""
        elif rest:
            section, argument = "rest", rest[1]
            described[argument] = rest[2].strip()
        elif section == "arguments" and (named := _GOOGLE.match(line)) and not _deeper(line, lines):
            argument = named[1]
            described[argument] = named[2].strip()
        elif section and (line.startswith((" ", "\t")) or not line):
            if argument and line.strip():
                described[argument] = f"{described[argument]} {line.strip()}".strip()
        else:
            section, argument = "", ""
            said.append(line)
    return "\n".join(said).strip(), described


def _deeper(line: str, lines: list[str]) -> bool:
    """Whether a line of the arguments' section is further in than its first one: it continues another."""
    start = next(index for index, known in enumerate(lines) if _SECTION.match(known)) + 1
    first = next((known for known in lines[start:] if known.strip()), line)
    return len(line) - len(line.lstrip()) > len(first) - len(first.lstrip())
