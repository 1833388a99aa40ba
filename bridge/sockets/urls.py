"""What fetching a URL shares: one certificate store, and the proxies of the environment."""

from __future__ import annotations

import ssl
import urllib.request
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from .peers import is_loopback


@cache
def default_tls() -> ssl.SSLContext:
    """The context of every connection that names no other. Reading the certificate store takes 20 ms and
    hundreds of kilobytes, so it is read once a process.
    """
    return ssl.create_default_context()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


def opener(url: str, *, redirects: bool = True) -> urllib.request.OpenerDirector:
    """What opens that URL. Whatever proves who asks goes along with a redirect, to any host: then `redirects`
    is False, and a redirect is an HTTPError.
    """
    # A proxy of the environment would look for this machine's loopback on its own.
    proxies = urllib.request.ProxyHandler({} if is_loopback(urlsplit(url).hostname) else None)
    tls = urllib.request.HTTPSHandler(context=default_tls())
    return urllib.request.build_opener(proxies, tls, *([] if redirects else [_NoRedirect()]))
