"""What a setting's text must look like, and what it becomes.

Each reader takes the text as it stands in the environment. It returns the value, or raises `Wrong`, which
says what is wrong and what to do about it without repeating a secret or a phone number.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, SecretStr
from twilio.request_validator import HMAC_SHA1, HMAC_SHA256

from bridge.settings.targets import EXTENSION, SipLogin, extension_keys, is_sip, sip_address
from bridge.sockets.peers import is_loopback
from bridge.sounds.phrases import SUFFIXES, WAITING, own_sound

_Value = TypeVar("_Value")

API_KEY_CHARS: Final = 16
"""The fewest characters a key has."""

ROUTES: Final = (
    "/incoming-call", "/media-stream", "/after-stream", "/stream-status", "/outbound-call", "/call-status",
    "/amd",
)  # fmt: skip
"""The routes that a carrier calls, below PUBLIC_URL."""

# No country's plan allows more than fifteen digits or a zero in front; seven is the shortest in use.
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
# NANPA: an area code is never N11; a switch may take +1 911 … for the call for help that it begins with.
_NANP: Final = re.compile(r"\+1(?![2-9]11)[2-9][0-9]{9}")
_TARGET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,39}")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")

# ITU-T, "List of Recommendation E.164 assigned country codes": mobile satellite and international networks.
_SATELLITE: Final = ("+870", "+881", "+882", "+883")
# Shared cost, personal numbers and international premium, then the national premium ranges of some countries
# (behind +1 the exchange 976 is one, whatever the area code). The list is not complete and need not be: the
# numbers are the operator's own, and this catches the slip of a finger.
_PREMIUM: Final = re.compile(
    r"\+(808|878|979|1900|1[0-9]{3}976|3290|3389|3190[069]|3480[367]|34905|358[67]00|3989|4190[016]|4390[01]|43930"
    r"|448[47]|449|4590|46900|469(39|44)|4782|4870|49137|49180|49900|55900|61190|64900|81990|852900)"
)


class Wrong(ValueError):
    """A value that cannot work: `what` is wrong with it, and the `cure`. Both are parts of a sentence."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}; {cure}")
        self.what: str = what
        self.cure: str = cure


class SharedKey(NamedTuple):
    """A key that webhooks are signed with instead of the auth token. `algorithm` None is any the SDK has."""

    secret: SecretStr
    algorithm: str | None


def read_by(reader: Callable[[str], object], unset: object = None) -> BeforeValidator:
    """Text goes through the reader; what a program has passed as a value already is left alone."""

    def read(given: object) -> object:
        if given is None:
            return unset
        return reader(given) if isinstance(given, str) else given

    return BeforeValidator(read)


def off_or(read: Callable[[str], _Value]) -> Callable[[str], _Value | None]:
    """The reader of something that `off` turns off: then it returns None."""
    return lambda text: None if text.strip().lower() == "off" else read(text.strip())


def expanded(text: str) -> Path:
    """A path whose ~ is the home folder."""
    return Path(text).expanduser()


def folder(text: str) -> Path:
    """A folder, which need not be there yet."""
    path = expanded(text)
    if path.exists() and not path.is_dir():
        raise Wrong("is not a folder", "name a folder")
    return path


def file(text: str) -> Path:
    """A file that is there."""
    path = expanded(text)
    if not path.is_file():
        raise Wrong("is not there", "name an existing file")
    return path


def phrase_words(folder: Path, language: str) -> dict[str, dict[str, str]]:
    """The words of each phrase in a folder, by language and name. It has texts.json and a NAME.ulaw for each
    name in there, like the bundled ones, in `language`; or folders like that, named by their languages; or
    both. Raises Wrong for a folder that is not like that.
    """
    below = sorted(path.parent for path in folder.glob("*/texts.json") if path.parent.name.isalpha())
    found = {path.name.lower(): _words(path) for path in below}
    if not below or (folder / "texts.json").exists():
        found[language] = _words(folder)
    return found


def _words(folder: Path) -> dict[str, str]:
    try:
        words = json.loads((folder / "texts.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        words = None
    if not isinstance(words, dict) or not all(
        isinstance(text, str) and (text or name == WAITING) for name, text in words.items()
    ):
        raise Wrong(
            "has no texts.json that says the words of each phrase",
            "see docs/guides/phrases.md, or `phonebridge phrases make`",
        )
    there = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.stat().st_size]
    names = [path.stem for path in there]
    silent = set(words) ^ set(names)
    if silent or not words:
        missing = ", ".join(sorted(silent)) or "all of them"
        raise Wrong(f"has either no words or no sound for: {missing}", "each needs both")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Wrong(f"has a .wav and a .ulaw of: {', '.join(twice)}", "leave one of them")
    for path in there:
        try:
            own_sound(folder, path.stem)
        except ValueError as error:
            raise Wrong(f"has {path.name}, which cannot be played: {error}", "take another file") from None
    return words


def default_journal() -> Path:
    """Where intents are kept by default: the user's state folder, else the one for temporary
    files.
    """
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return expanded(state) / "phonebridge" / "intents.jsonl"
    except RuntimeError:  # no home, as in many a container
        return Path(tempfile.gettempdir()) / "phonebridge" / "intents.jsonl"


def agent(text: str) -> str:
    """The import string of the user's agent."""
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text.strip()):
        raise Wrong("is not module:attribute", "name the agent as in my_agent:agent")
    return text.strip()


def account_sid(text: str) -> str:
    """`AC` and 32 hexadecimal digits."""
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", text.strip()):
        raise Wrong("is not an account SID", "copy the one that begins with AC from Twilio's console")
    return text.strip()


def secret(text: str) -> SecretStr:
    """A key or token, as it was copied."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        raise Wrong("begins with a quotation mark", "write it without, `docker --env-file` keeps them")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Wrong("holds a space or a character that no key has", "copy it again")
    return SecretStr(text)


def auth_tokens(text: str) -> tuple[SecretStr, ...]:
    """One auth token, or two with a comma between."""
    found = list(dict.fromkeys(piece.strip() for piece in text.split(",") if piece.strip()))
    if len(found) > 2:
        raise Wrong(f"holds {len(found)} tokens", "two are enough: the old one and the new one")
    for piece in found:
        if re.fullmatch(r"(AC|SK)[0-9a-fA-F]{32}", piece):
            kind = "account SID" if piece.startswith("AC") else "API key, which never signs a webhook"
            raise Wrong(f"is an {kind}", "copy the auth token that stands beside it in Twilio's console")
    return tuple(secret(piece) for piece in found)


def shared_keys(text: str) -> dict[str, SharedKey]:
    """`id=secret,…`, or `id:HMAC_SHA256=secret` where one algorithm only is to be accepted."""
    found: dict[str, SharedKey] = {}
    for piece in pieces(text):
        name, equals, value = piece.partition("=")
        key_id, colon, algorithm = (part.strip() for part in name.partition(":"))
        if not equals or not key_id or not value.strip():
            raise Wrong("holds a piece that is not id=secret", "write id=secret, with commas between several")
        if colon and algorithm.upper() not in (HMAC_SHA1, HMAC_SHA256):
            raise Wrong(f"names an unknown algorithm for {key_id}", f"write {HMAC_SHA1} or {HMAC_SHA256}")
        found[key_id] = SharedKey(secret(value), algorithm.upper() or None)
    return found


def api_keys(text: str) -> dict[str, SecretStr]:
    """`name=secret,…`: the keys of the operator's programs, by the names that logs tell."""
    found: dict[str, SecretStr] = {}
    for piece in pieces(text):
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not value:
            raise Wrong(
                "holds a piece that is not name=secret", "write ops=secret, with commas between several"
            )
        if not _TARGET.fullmatch(name):
            raise Wrong("holds a name that is no name", "use at most 40 letters, digits, spaces and . _ -")
        if name in found:
            raise Wrong(f"names {name!r} twice", "give each key a name of its own")
        if len(value) < API_KEY_CHARS:
            cure = f"take at least {API_KEY_CHARS} random characters, as `openssl rand -hex 24` prints them"
            raise Wrong(f"the key of {name!r} is too short to be a secret", cure)
        found[name] = secret(value)
    if len({key.get_secret_value() for key in found.values()}) < len(found):
        raise Wrong("has the same key under two names", "give each program a key of its own")
    return found


def transfers(text: str) -> dict[str, str]:
    """`name=+1555…,…`: where a call may be sent, by name. See `targets.py` for the three kinds."""
    found: dict[str, str] = {}
    for piece in pieces(text):
        name, equals, number = (part.strip() for part in piece.partition("="))
        if not equals or not number:
            cure = "write billing=+1555… or desk=sip:…, with commas between several"
            raise Wrong("holds a piece that is not name=number", cure)
        if not _TARGET.fullmatch(name):
            raise Wrong("holds a name that is no name", "use at most 40 letters, digits, spaces and . _ -")
        if name in found:
            raise Wrong(f"names {name!r} twice", "give each target a name of its own")
        found[name] = _target(name, number)
    return found


def sip_logins(text: str) -> dict[str, SipLogin]:
    """`host=user:password,…`: what proves us to the SIP hosts that calls are sent to."""
    found: dict[str, SipLogin] = {}
    for piece in pieces(text):
        host, equals, login = (part.strip() for part in piece.partition("="))
        user, colon, password = login.partition(":")
        if not (equals and colon and user and password):
            cure = "write pbx.example.com=user:password, with commas between several"
            raise Wrong("holds a piece that is not host=user:password", cure)
        if not _HOST.fullmatch(host.lower()):
            raise Wrong("holds a host that is no name", "write it as in the targets' addresses")
        found[host.lower()] = SipLogin(user, secret(password))
    return found


def hold_music(text: str) -> dict[str, str]:
    """`name=https://…,…`: what callers may hear on hold, by name. The carrier fetches it."""
    found: dict[str, str] = {}
    for piece in pieces(text):
        name, equals, address = (part.strip() for part in piece.partition("="))
        if not equals or not _TARGET.fullmatch(name):
            cure = "write jazz=https://example.com/jazz.mp3, with commas between several"
            raise Wrong("holds a piece that is not name=address", cure)
        if _split(address).scheme != "https":
            raise Wrong(f"the address of {name!r} does not begin with https://", "name a file on the web")
        found[name] = address
    return found


def _target(name: str, text: str) -> str:
    """One target, as settings keep it. The address itself never gets into a message: messages are logged."""
    if is_sip(text):
        address = sip_address(text)
        if address is None:
            raise Wrong(f"the address of {name!r} is no SIP address", "write sip:user@host, without password")
        return address
    number, extension, keys = text.partition(EXTENSION)
    plain, pressed = _number(name, number), extension_keys(keys)
    if not extension:
        return plain
    if pressed is None:
        cure = "write ;ext= and up to 32 of 0-9 * # A-D, with w for half a second's wait"
        raise Wrong(f"the extension of {name!r} is not made of keys", cure)
    return f"{plain}{EXTENSION}{pressed}"


def _number(name: str, number: str) -> str:
    """The number itself never gets into a message: messages are logged."""
    plain = plain_number(number)
    if plain is None:
        raise Wrong(
            f"the number of {name!r} is not E.164",
            "write + and country code, then digits only, like +15550100001",
        )
    if kind := costly(plain):
        raise Wrong(f"the number of {name!r} is a {kind} number", "calls are not sent there; take another")
    return plain


def plain_number(number: str) -> str | None:
    """The number without the blanks, brackets, dots and dashes that people write; None if it is not E.164."""
    plain = re.sub(r"[ ().-]", "", number)
    if not _E164.fullmatch(plain) or (plain.startswith("+1") and not _NANP.fullmatch(plain)):
        return None
    return plain


def costly(number: str) -> str | None:
    """`satellite` or `premium`, where an E.164 number is known as one; else None."""
    if number.startswith(_SATELLITE):
        return "satellite"
    return "premium" if _PREMIUM.match(number) else None


def numbers(text: str) -> tuple[str, ...]:
    """`+1555…,…`: the numbers that calls are placed from, the usual one first."""
    return tuple(dict.fromkeys(_number(f"place {at}", piece) for at, piece in enumerate(pieces(text), 1)))


def public_url(text: str) -> str:
    """The base URL that the carrier sees, as it signs it: no port, no slash at the end.

    Signatures are made over the URL to the byte, so whatever could be written in two ways is refused.
    """
    parts = _split(text.strip())
    if parts.scheme not in ("https", "http"):
        raise Wrong("does not begin with https://", "write it as a browser would, https://voice.example.com")
    host = (parts.hostname or "").rstrip("]").lstrip("[")
    local = is_loopback(host)
    if parts.scheme == "http" and not local:
        raise Wrong("begins with http://", "write https://: Twilio opens streams over TLS only")
    if parts.scheme == "https" and local and parts.port is None:  # with one, a proxy of a test's is meant
        raise Wrong(
            "is https on this machine, where the carrier cannot come",
            "write the address of the tunnel or proxy; to try without a carrier, BRIDGE_INSECURE=1 and no "
            "PUBLIC_URL",
        )
    _check_plain(parts)
    _check_public_host(host, local)
    return f"{parts.scheme}://{_netloc(parts, host, local)}{_base_path(parts.path)}"


def _check_public_host(host: str, local: bool) -> None:
    if "_" in host:
        raise Wrong("has an underscore in its host name", "take another: Twilio sends no callbacks there")
    if ":" not in host and not _HOST.fullmatch(host):
        raise Wrong("has no host name that Twilio could ask for", "write it in ASCII (xn--…), without spaces")
    try:
        private = not local and not ipaddress.ip_address(host).is_global
    except ValueError:
        private = not local and "." not in host
    if private:
        raise Wrong("names a host of a private network", "write the name by which the internet reaches us")


def _netloc(parts: SplitResult, host: str, local: bool) -> str:
    name = f"[{host}]" if ":" in host else host
    usual = 443 if parts.scheme == "https" else 80
    port = parts.port if parts.port not in (None, usual) else None
    if port is not None and not local:
        # Twilio, "Webhooks security": for voice over HTTPS the port is dropped before signing; and "Error
        # 31910":
        # streams come to port 443.
        raise Wrong("has a port", "leave it off and let the proxy listen on 443: Twilio signs without port")
    return f"{name}:{port}" if port is not None else name


def _base_path(path: str) -> str:
    path = path.rstrip("/")
    for route in ROUTES:
        if path.endswith(route):
            raise Wrong(f"ends with {route}", "leave that off: this is the base that our routes are added to")
    if not _PATH.fullmatch(path) or any(segment in (".", "..") for segment in path.split("/")):
        raise Wrong("has a path that could be written in two ways", "use plain letters and single slashes")
    return path


def websocket_url(text: str) -> str:
    """The upstream's base URL."""
    parts = _split(text.strip())
    if parts.scheme not in ("wss", "ws"):
        raise Wrong("does not begin with wss://", "write a websocket address, like wss://api.openai.com")
    if parts.scheme == "ws" and not is_loopback(parts.hostname):
        raise Wrong("begins with ws://", "write wss://: keys and voices go unencrypted to this machine only")
    _check_plain(parts, query=True)
    return parts.geturl()


def api_url(text: str) -> str:
    """Base of the carrier's REST API, without a slash at the end."""
    parts = _split(text.strip())
    if parts.scheme not in ("https", "http"):
        raise Wrong("does not begin with https://", "write https://api.twilio.com, or leave it unset")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Wrong("begins with http://", "write https://: tokens go unencrypted to this machine only")
    _check_plain(parts)
    return parts.geturl().rstrip("/")


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port  # only reading it shows that it is no number
    except ValueError:
        raise Wrong("is no URL", "write it as a browser would show it") from None
    if "://" in text and not parts.hostname:
        raise Wrong("has no host", "write it as a browser would show it")
    return parts


def _check_plain(parts: SplitResult, *, query: bool = False) -> None:
    if parts.username is not None or parts.password is not None:
        raise Wrong("has a user name or password", "leave it off")
    if parts.fragment or (parts.query and not query):
        raise Wrong("has a query or a fragment", "leave off everything from the ? or # on")


def pieces(text: str) -> Iterable[str]:
    """What stands between commas, without what is empty."""
    return [piece for piece in text.split(",") if piece.strip()]
