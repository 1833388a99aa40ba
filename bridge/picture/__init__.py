"""One recorded call as a picture: what was said, generated, sent and heard, and when.

`story` walks through the recording and says what to draw, `chart` turns that into a Vega specification,
`page` puts it into one HTML file that needs no network.
"""

from __future__ import annotations

from .page import page
from .story import Story, tell

__all__ = ["Story", "page", "tell"]
