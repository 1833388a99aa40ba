"""Settings of the console: who may look at calls, hear them, and take them over."""

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from bridge.settings.values import Wrong, read_by, secret
from bridge.sockets.peers import is_loopback

if TYPE_CHECKING:
    from bridge.settings.settings import Settings

LEAST_TOKEN_CHARS: Final = 32


def token(text: str) -> SecretStr:
    """The key of the console, long enough that it cannot be guessed."""
    found = secret(text)
    if len(found.get_secret_value()) < LEAST_TOKEN_CHARS:
        raise Wrong(
            f"has fewer than {LEAST_TOKEN_CHARS} characters", "make one with `openssl rand -base64 32`"
        )
    return found


class ConsoleSettings(BaseSettings):
    """Without a token there is no console, but in `phonebridge demo`."""

    console_token: Annotated[SecretStr | None, read_by(token)] = Field(
        None, validation_alias="BRIDGE_CONSOLE_TOKEN"
    )
    console_listen: bool = Field(False, validation_alias="BRIDGE_CONSOLE_LISTEN")
    console_phone: str | None = Field(None, validation_alias="BRIDGE_CONSOLE_PHONE")

    def _console_secrets(self) -> tuple[SecretStr, ...]:
        """What of these may stand in no log."""
        return () if self.console_token is None else (self.console_token,)


def mistakes(settings: "Settings") -> list[tuple[str, str, str]]:
    """What only shows when these are seen together: name, what is wrong, cure."""
    found = []
    if settings.console_token is not None:
        key = settings.console_token.get_secret_value()
        others = [*settings.twilio_auth_token, *settings.api_keys.values()]
        if any(other.get_secret_value() == key for other in others):
            cure = "make one of its own: it opens every call's words, and no program should have it"
            found.append(("BRIDGE_CONSOLE_TOKEN", "is the same as another key", cure))
        tls = (settings.public_url or "").startswith("https://")
        if not (tls or settings.insecure or is_loopback(settings.host)):
            cure = "set PUBLIC_URL to the https:// address of the proxy in front, or HOST to 127.0.0.1"
            found.append(("BRIDGE_CONSOLE_TOKEN", "is set, and would be sent over plain http", cure))
    if settings.console_phone is not None and settings.console_phone not in settings.transfers:
        cure = f"name one of them ({', '.join(settings.transfers) or 'there are none yet'})"
        found.append(("BRIDGE_CONSOLE_PHONE", "names no target of BRIDGE_TRANSFERS", cure))
    return found
