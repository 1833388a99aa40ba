"""Which requests may reach this process at all, before anybody asks what they prove.

Two rules. A web page of another site may open no socket and send no form here: a browser sends both wherever
a page says, to this machine too. And where no call is signed (BRIDGE_INSECURE), only this machine is served.

WHATWG Fetch, "`Origin` header"; W3C, "Fetch Metadata Request Headers".
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

LOOPBACK_ONLY: Final = "loopback only"
"""What `/readyz` says to whom an insecure bridge does not serve."""

_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_IN_PROCESS: Final = "testclient"
"""The peer that Starlette's test client names. A server names an address; one that takes the peer from
`X-Forwarded-For` leaves that header in the request, which is refused for it."""
# RFC 7239 and RFC 9110, section 7.6.3, and what proxies and tunnels add of their own. Behind one of them
# every peer is loopback.
_RELAYED: Final = re.compile(
    "forwarded|via|cdn-loop|client-ip|x-real-ip|true-client-ip|x-client-ip|x-remote-(ip|addr)|x-cluster-client-ip"
    "|x-proxyuser-ip|x-cloud-trace-context|x-amzn-trace-id|(x-forwarded|x-original-|x-envoy-|x-azure-|x-arr-"
    "|x-amz-cf-|x-appengine-|x-vercel-|x-nf-|x-railway-|x-localtunnel-|x-fd-|x-akamai-|akamai-|fastly-|cf-|fly-"
    "|ngrok-|tailscale-).*"
)
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:]+)(?::[0-9]*)?")
_ORIGIN: Final = re.compile(rf"https?://{_HOST.pattern}")
_SHOWN_CHARACTERS: Final = 100


def is_loopback(host: str | None) -> bool:
    """Whether nothing but this machine can be at that host, a name or an address without brackets."""
    if host is None:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)  # a socket for both families shows 127.0.0.1 so
    return (mapped or address).is_loopback


def authority(host: str, port: int | None) -> str:
    """Host and port as a URL has them; no port for None."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def of_this_machine(headers: Headers) -> bool:
    """Whether no page but one of this machine sent this: every `Origin`, if there is one, is at loopback."""
    found = [_ORIGIN.fullmatch(origin.lower()) for origin in headers.getlist("origin")]
    return all(one is not None and one[1] in _NAMES for one in found)


class Peers:
    """What is asked of every request. `public_url` and `host` are the configured addresses: nothing that a
    request says about its own target is compared with what it says about its source.

    A peer without an address (a Unix socket) is not known to be of this machine: what listens there stands
    behind a proxy.
    """

    def __init__(self, *, insecure: bool, public_url: str | None, host: str) -> None:
        self._insecure = insecure
        self._names = {*_NAMES, authority(host, None)} if is_loopback(host) else {*_NAMES}
        parts = urlsplit(public_url or "")
        self._origins = {f"{parts.scheme}://{parts.netloc}"} if public_url else set[str]()

    def fault(self, connection: HTTPConnection) -> str | None:
        """Why this form or socket is not taken, in words that may be logged; None if it is."""
        return self.local_fault(connection) or self._page_fault(connection)

    def local_fault(self, connection: HTTPConnection) -> str | None:
        """Why an insecure bridge does not serve this request; None if it does, and where calls are signed."""
        found = self._elsewhere(connection) if self._insecure else None
        return None if found is None else f"BRIDGE_INSECURE serves this machine only, and {found}"

    def is_local(self, connection: HTTPConnection) -> bool:
        """Whether this request comes from this machine, straight, and calls it by one of its own names."""
        return self._elsewhere(connection) is None

    def _elsewhere(self, connection: HTTPConnection) -> str | None:
        """What tells that a request does not come from this machine; None if nothing does."""
        peer = connection.client.host if connection.client else None
        if peer != _IN_PROCESS and not is_loopback(peer):
            return f"the peer is {peer or 'without an address'}"
        for name in connection.headers:
            if _RELAYED.fullmatch(name):
                return f"{name} tells of a proxy or a tunnel"
        if self._named(connection.headers) not in self._names | self._bound(connection):
            return "Host is another name than 127.0.0.1"
        return None

    def _page_fault(self, connection: HTTPConnection) -> str | None:
        """A carrier sends no `Origin`; a page's browser does with every socket and every POST. A GET of a
        page (an image, a link, a form) has none, and says in `Sec-Fetch-Site` where it comes from.
        """
        origins = connection.headers.getlist("origin")
        if origins and not (len(origins) == 1 and self._is_ours(origins[0].lower(), connection)):
            return f"it comes from a page of another site: Origin {', '.join(origins)[:_SHOWN_CHARACTERS]!r}"
        site = connection.headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin"):
            return f"it comes from a page of another site: Sec-Fetch-Site {site[:_SHOWN_CHARACTERS]!r}"
        return None

    def _is_ours(self, origin: str, connection: HTTPConnection) -> bool:
        if origin in self._origins:
            return True
        _, port = connection.scope.get("server") or ("", None)
        bound = self._bound(connection)
        ours = self._names | bound if bound else bound
        return any(
            origin == f"{scheme}://{name}{'' if port == usual else f':{port}'}"
            for scheme, usual in (("http", 80), ("https", 443))
            for name in ours
        )

    @staticmethod
    def _bound(connection: HTTPConnection) -> set[str]:
        """The loopback address at which the server took this connection; empty for any other. The socket
        tells it, no header does.
        """
        host, _ = connection.scope.get("server") or ("", None)
        return {authority(host, None)} if is_loopback(host) else set()

    @staticmethod
    def _named(headers: Headers) -> str:
        """The name or address in `Host`, without its port; empty without exactly one that can be read."""
        given = headers.getlist("host")
        found = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
        return "" if found is None else found[1]
