"""Sound as bytes: which formats there are, and what of a base64 text can be known without decoding it.

The path of a call carries sound as the base64 text it came in, so `clean_size_bytes` is all it
needs of this package. The samples themselves are touched only where the two legs speak different formats,
where a double listens for speech, and in files: `g711`, `resample` and `level`.
"""

from __future__ import annotations

from typing import Final

import msgspec

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDINGS: Final = ("==", "=")
_IN_ALPHABET: Final = bytes(letter if letter in _ALPHABET else ord("!") for letter in range(256))


class AudioFormat(msgspec.Struct, frozen=True):
    """How one channel of sound is written: 8-bit G.711 or 16-bit little-endian samples, at one rate.

    `name` is the vendor's media type without its rate. `silent_sample` is one sample of silence.
    """

    name: str
    hz: int
    bytes_per_ms: int
    silent_sample: bytes

    def duration_ms(self, size_bytes: int) -> int:
        """How long that many bytes sound, rounded down. Sum the bytes first: roundings would add up."""
        return size_bytes // self.bytes_per_ms

    def silence(self, duration_ms: int) -> bytes:
        """That many milliseconds of silence; nothing when there are none."""
        return self.silent_sample * (duration_ms * self.bytes_per_ms // len(self.silent_sample))


PCMU: Final = AudioFormat("audio/pcmu", 8_000, 8, b"\xff")
"""G.711 mu-law, what a phone call is made of."""
# G.711 has no zero in A-law: this is the smaller of the two codewords next to it.
PCMA: Final = AudioFormat("audio/pcma", 8_000, 8, b"\xd5")
"""G.711 A-law."""
PCM_8K: Final = AudioFormat("audio/pcm", 8_000, 16, b"\0\0")
PCM_16K: Final = AudioFormat("audio/pcm", 16_000, 32, b"\0\0")
PCM_24K: Final = AudioFormat("audio/pcm", 24_000, 48, b"\0\0")


def size_bytes(base64_text: str) -> int:
    """How many bytes this base64 text holds, from its length and padding alone.

    Right for every text that `is_clean`, and for those without padding; of any other it is a guess.
    """
    return len(base64_text) * 3 // 4 - base64_text.count("=", -2)


def is_clean(base64_text: str) -> bool:
    """Whether this is base64 to the last letter, and so can be pasted between the quotes of a JSON string.

    A text that came out of a peer's JSON may hold whatever its escapes spelt, a quote and a brace among them;
    pasted unseen, it would let that peer write our messages. Unpadded and URL-safe base64 and line breaks are
    refused too: the next peer's decoder need not take them. An empty text is clean; it holds no sound.
    """
    return clean_size_bytes(base64_text) >= 0


def plain_size_bytes(base64_text: str) -> int:
    """`size_bytes` of a text that stood in a JSON frame without a backslash, and -1 where its length or a
    letter beyond ASCII says that it is not base64.

    RFC 8259, 7: quotation mark, reverse solidus and control characters "MUST be escaped". So such a text
    stands in its frame letter by letter, and between our quotes it can say nothing either: its
    alphabet need not be looked at fifty times a second. The glance at its loudness does so every 80 ms.
    """
    characters = len(base64_text)
    if characters & 3 or not base64_text.isascii():
        return -1
    return characters * 3 // 4 - base64_text.count("=", -2)


def clean_size_bytes(base64_text: str) -> int:
    """`size_bytes` of a text that `is_clean`, and -1 for one that is not: both questions in one, since they
    are asked of every frame of every call.
    """
    characters = len(base64_text)
    if characters & 3 or not base64_text.isascii():
        return -1
    # Five times as fast as a regular expression; deleting the alphabet instead would cost a third more.
    end = base64_text.encode().translate(_IN_ALPHABET).find(b"!")
    if end < 0:
        return characters // 4 * 3
    tail = base64_text[end:]
    return characters // 4 * 3 - len(tail) if tail in _PADDINGS else -1
