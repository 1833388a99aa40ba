"""MCP servers that the model calls by itself, passed through to the vendor.

Their credentials must reach only the vendor: not the core, not a log, not a recording. So a
configuration holds a placeholder, and the socket puts the credential in as the frame leaves.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import SecretStr

from bridge.errors import ConfigError
from bridge.sockets.dial import OnClose, OnFrame, Socket
from bridge.sockets.frames import Message

_CONFIGURES: Final = '{"type":"session.update"'
_PLACEHOLDER: Final = "placeholder-"
_TELLS: Final = '"session.'
_HEAD_CHARACTERS: Final = 200
"""Where a server event says its type; the rest may be half a second of sound."""

Approval = Literal["always", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """A server of tools that the vendor calls for the model. API reference, session.update, `tools`.

    `label` names it. Exactly one of `url`, `connector_id` and `tunnel_id` says where it is. `authorization`
    and `headers` are credentials. `allowed_tools` are names, None for all. With `require_approval="always"`
    the agent's `approve` is asked before each call.
    """

    label: str
    url: str | None = None
    connector_id: str | None = None
    tunnel_id: str | None = None
    description: str | None = None
    allowed_tools: Sequence[str] | None = None
    require_approval: Approval = "always"
    authorization: SecretStr | str | None = field(default=None, repr=False)
    headers: Mapping[str, SecretStr | str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.label:
            raise ConfigError("an MCP server needs a label")
        if sum(where is not None for where in (self.url, self.connector_id, self.tunnel_id)) != 1:
            raise ConfigError(
                f"MCP server {self.label}: one of url, connector_id and tunnel_id says where it is"
            )
        if self.url is not None and not self.url.startswith("https://"):
            raise ConfigError(f"MCP server {self.label}: its url begins with https://")
        if self.require_approval not in ("always", "never"):
            raise ConfigError(f"MCP server {self.label}: require_approval is always or never")

    def wire(self, vault: Vault) -> dict[str, Any]:
        """The server as the model gets it, with placeholders from the vault in place of secrets."""
        told: dict[str, Any] = {
            "type": "mcp",
            "server_label": self.label,
            "server_url": self.url,
            "connector_id": self.connector_id,
            "tunnel_id": self.tunnel_id,
            "server_description": self.description,
            "allowed_tools": None if self.allowed_tools is None else list(self.allowed_tools),
            "require_approval": self.require_approval,
            "authorization": None if self.authorization is None else vault.hide(self.authorization),
            "headers": {name: vault.hide(value) for name, value in self.headers.items()} or None,
        }
        return {name: value for name, value in told.items() if value is not None}


class Vault:
    """The secrets of all configurations of this process, by placeholder. The same secret has the same
    placeholder, which cannot be guessed; so no text of a caller's can draw a secret out.
    """

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._placeholders)

    def hide(self, secret: SecretStr | str) -> str:
        """The placeholder that stands for it."""
        plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        return self._placeholders.setdefault(plain, f"{_PLACEHOLDER}{secrets.token_hex(16)}")

    def fill(self, frame: Message) -> Message:
        """The frame as it leaves: secrets in place of their placeholders, in a session.update and nowhere
        else.
        """
        if not isinstance(frame, str) or not frame.startswith(_CONFIGURES) or _PLACEHOLDER not in frame:
            return frame
        for plain, placeholder in list(self._placeholders.items()):  # user loops add to it
            frame = frame.replace(placeholder, json.dumps(plain)[1:-1])
        return frame

    def take_out(self, frame: Message) -> Message:
        """The frame as it may be read and recorded: a server that tells the session in force may repeat what
        we sent.
        """
        if not isinstance(frame, str) or _TELLS not in frame[:_HEAD_CHARACTERS]:
            return frame
        for plain, placeholder in list(self._placeholders.items()):
            frame = frame.replace(json.dumps(plain)[1:-1], placeholder)
        return frame


class FillingSocket:
    """An upstream socket that puts secrets in on the way out, and takes them out of what comes back.
    Everything else is the socket's own.
    """

    def __init__(self, socket: Socket, vault: Vault) -> None:
        self._socket = socket
        self._vault = vault

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        self._socket.start(lambda frame: on_frame(self._vault.take_out(frame)), on_close)

    def send(self, frame: Message, *more: Message) -> None:
        self._socket.send(*map(self._vault.fill, (frame, *more)))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._socket.close(code, reason)

    @property
    def outbox_bytes(self) -> int:
        return self._socket.outbox_bytes
