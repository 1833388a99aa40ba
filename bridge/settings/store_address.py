"""The parts of the shared store's URL. `urlsplit` reads one host: some versions refuse an IPv6 address that
stands among several, and sentinels are several.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = range(1, 65_536)


class StoreAddress(NamedTuple):
    """`credentials` is what stands before the @, as it is written: `user:password`, or empty."""

    scheme: str
    credentials: str
    where: str
    """Hosts and ports as they are written, comma-separated."""
    path: str
    query: str

    @property
    def hosts(self) -> tuple[tuple[str, int | None], ...]:
        """Names, empty where one is missing, or addresses without brackets. Raises ValueError for a host or a
        port that cannot be read.
        """
        return tuple(map(_host, self.where.split(",")))

    @property
    def password(self) -> str:
        """As it is written, %40 and all; empty without one."""
        return self.credentials.partition(":")[2]


def store_address(url: str) -> StoreAddress:
    """The parts of that URL; any text has them."""
    scheme, _, rest = url.strip().partition("://")
    rest, _, query = rest.partition("?")
    netloc, slash, path = rest.partition("/")
    credentials, _, where = netloc.rpartition("@")
    return StoreAddress(scheme, credentials, where, slash + path, query)


def _host(text: str) -> tuple[str, int | None]:
    one = urlsplit(f"//{text}")
    if one.port is not None and one.port not in _PORTS:
        raise ValueError(one.port)
    return one.hostname or "", one.port
