"""What was said, encrypted for a store that others may read.

AES-256-GCM. A sealed text is a version byte, a byte that tells which key, twelve random bytes, and the
ciphertext. The name of its place is authenticated with it, so that what was said in one call cannot be put in
the place of another's. Not the owner's epoch: a third machine may have to read what the first one wrote.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from bridge.errors import ConfigError

logger = logging.getLogger(__name__)

VERSION: Final = 1
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 2


class Sealing(Protocol):
    """How records are kept from others."""

    def seal(self, place: str, plain: bytes) -> bytes | None:
        """The record as it may be stored in that place; None where it may not."""
        ...

    def open(self, place: str, sealed: bytes) -> bytes | None:
        """The record that was sealed for that place; None for one that cannot be read."""
        ...


class Clear:
    """For a store that is the memory of a process of this service."""

    def seal(self, _place: str, plain: bytes) -> bytes | None:
        """The same."""
        return plain

    def open(self, _place: str, sealed: bytes) -> bytes | None:
        """The same."""
        return sealed


class OnDisk:
    """For a store of one machine: records stay in its files, where the others find them."""

    def seal(self, _place: str, _plain: bytes) -> bytes | None:
        """Nothing may be stored."""
        return None

    def open(self, _place: str, _sealed: bytes) -> bytes | None:
        """Nothing can be read."""
        return None


class Withheld(OnDisk):
    """For a shared store without a key: no record goes there."""

    def __init__(self) -> None:
        logger.warning(
            "BRIDGE_STORE_KEY is not set: what was said stays on the machine that heard it, and a call that "
            "moves to another one begins anew"
        )


class KeyRing:
    """Keys of 32 bytes; the last one seals, and each opens what it has sealed. `told` is called for each
    record that cannot be read, which the log says once.
    """

    def __init__(self, keys: Sequence[bytes], told: Callable[[], None] = lambda: None) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  an extra
        except ImportError:
            what = "BRIDGE_STORE_KEY needs `cryptography`: pip install redis cryptography (the extra `redis`)"
            raise ConfigError(what) from None
        self._keys = [(_number(key), AESGCM(key)) for key in keys]
        self._told = told
        self._said = False

    def seal(self, place: str, plain: bytes) -> bytes | None:
        """See `Sealing.seal`. Random nonces are safe for 2^32 records a key."""
        number, key = self._keys[-1]
        head, nonce = bytes((VERSION, number)), os.urandom(_NONCE_BYTES)
        return head + nonce + key.encrypt(nonce, plain, head + place.encode())

    def open(self, place: str, sealed: bytes) -> bytes | None:
        """See `Sealing.open`."""
        head, nonce = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES]
        rest = sealed[_HEAD_BYTES + _NONCE_BYTES :]
        if head[:1] == bytes((VERSION,)):
            for number, key in reversed(self._keys):
                if head[1:] == bytes((number,)):
                    try:
                        return key.decrypt(nonce, rest, head + place.encode())
                    except Exception:  # noqa: BLE001, S112  InvalidTag, or ValueError for a text that is cut
                        continue
        self._told()
        if not self._said:
            self._said = True
            logger.warning("a record in the store cannot be read with BRIDGE_STORE_KEY: it counts as absent")
        return None


def _number(key: bytes) -> int:
    """Tells keys apart; two may have the same. Not their place in the ring, which moves as they rotate."""
    return hashlib.sha256(b"phonebridge store key" + key).digest()[0]
