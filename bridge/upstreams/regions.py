"""Where a vendor works on what it is sent, as far as an address says."""

from __future__ import annotations

from typing import Final

_REGIONAL: Final = (".api.cognitive.microsoft.com", ".api.openai.com", ".api.x.ai")
"""A region's name stands before these. An Azure resource of its own name, `….openai.azure.com`, says none."""


def region_of(host: str) -> str:
    """The region that a host names, "" where it names none."""
    for domain in _REGIONAL:
        region = host.lower().removesuffix(domain)
        if region != host.lower() and "." not in region:
            return region
    return ""
