"""A certificate for loopback that lives as long as the process, for clients that speak TLS only.

`openssl` makes it: the packages that we run on make none.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bridge.errors import ConfigError

_MAKE: Final = (
    "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
)  # fmt: skip
_MAKE_S: Final = 20.0


class Certificate(NamedTuple):
    """Two PEM files; a client that trusts `certificate` as an authority accepts the server."""

    certificate: Path
    key: Path


@contextlib.contextmanager
def self_signed() -> Iterator[Certificate]:
    """A certificate for `localhost`, 127.0.0.1 and ::1; its files exist while the block runs. Raises
    `ConfigError` where there is no `openssl` to make one.
    """
    with tempfile.TemporaryDirectory(prefix="phonebridge-") as folder:
        made = Certificate(Path(folder, "certificate.pem"), Path(folder, "key.pem"))
        files = ["-keyout", str(made.key), "-out", str(made.certificate)]
        try:
            subprocess.run([*_MAKE, *files], check=True, capture_output=True, timeout=_MAKE_S)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigError(f"--tls needs the command openssl to make a certificate: {error}") from error
        yield made
