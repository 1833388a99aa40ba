"""The pages that a person opens in a browser: the front page and the softphone.

`static.py` answers with files under a strict policy, `sign_in.py` knows this server's pages by their cookie,
`softphone.py` places calls from the page, `captions.py` tells the page what happens in its call.
"""

from __future__ import annotations

from .softphone import Softphone

__all__ = ["Softphone"]
