"""One recorded call as a picture: what was said, generated, sent and heard, and when.

`story` walks through the recording and says what to draw (`lanes`), `chart` turns that into plain data,
`chart.js` draws those in a browser, and `page` puts all into one HTML file that needs no network.
"""

from __future__ import annotations

from .lanes import Story
from .page import page
from .story import tell

__all__ = ["Story", "page", "tell"]
