"""What the caller of a finished call heard, by their phone's own sound: levels, gaps, and each item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from ..codecs.g711 import pcmu_to_pcm

BLOCK_BYTES: Final = 160
BLOCK_MS: Final = 20
LOUD: Final = (32_768 * 10 ** (-40 / 20)) ** 2
"""As a mean square: what is above -40 dBFS is a voice."""
_KEY_BYTES: Final = 80
_STANDS_BYTES: Final = 16_000
"""Playout may have stood still for so long within an item."""
_LEAST_BYTES: Final = 800
_PAUSE_MS: Final = 100
_ALIKE: Final = 0.6
_DRIFTS_SAMPLES: Final = 48
"""A server that makes other samples in pieces may lose or add some at each joint."""
_FIRST_SAMPLES: Final = 400
"""Where it begins is known to a block, and what its filter adds."""
_MOST_STRANGE: Final = 2


def loud_blocks(sound: bytes) -> Any:
    """Of each 20 ms whether they are loud: an array of bool."""
    whole = len(sound) // BLOCK_BYTES * BLOCK_BYTES
    samples = np.frombuffer(pcmu_to_pcm(sound[:whole]), "<i2").astype(np.float32).reshape(-1, BLOCK_BYTES)
    return np.mean(samples**2, axis=1) > LOUD


class Run(NamedTuple):
    """Sound without a pause of any length, in ms."""

    start_ms: int
    end_ms: int


def runs(loud: Any, least_gap_ms: int) -> list[Run]:
    """The stretches of loud sound; shorter gaps belong to them."""
    found: list[Run] = []
    for block in np.flatnonzero(loud):
        at_ms = int(block) * BLOCK_MS
        if found and at_ms - found[-1].end_ms < least_gap_ms:
            found[-1] = Run(found[-1].start_ms, at_ms + BLOCK_MS)
        else:
            found.append(Run(at_ms, at_ms + BLOCK_MS))
    return found


class Claim(NamedTuple):
    """One item of the model's: its whole sound, and how many ms of it the model believes were heard."""

    sound: bytes
    claim_ms: int


class Match(NamedTuple):
    """Where an item was heard, in bytes of what the phone played."""

    start: int
    end: int
    heard_bytes: int
    key: bytes = b""
    """The beginning of the sound."""


def told_errors(claims: Sequence[Claim], heard: bytes) -> list[int]:
    """Of each item what the model was told less what was heard, in ms. Items that were still playing when the
    call ended, and those behind them, are left out: nothing was told of them any more.
    """
    places = _places(claims, heard)
    if not places:
        return _told_by_shape(claims, heard)
    errors = []
    for claim, found in _aligned(claims, places):
        if claim is None:
            errors.append(0 if found is None else -(found.heard_bytes // 8))
            continue
        if found is None:
            errors.append(claim.claim_ms)
            continue
        if found.heard_bytes < len(claim.sound) and found.end >= len(heard) - BLOCK_BYTES:
            break
        errors.append(claim.claim_ms - found.heard_bytes // 8)
    return errors


def _places(claims: Sequence[Claim], heard: bytes) -> list[Match]:
    """Wherever an item's sound begins in what was heard, in order."""
    found: dict[int, Match] = {}
    for sound in {claim.sound[:_KEY_BYTES]: claim.sound for claim in claims if claim.sound}.values():
        start = heard.find(sound[:_KEY_BYTES])
        while start >= 0:
            found[start] = _followed(sound, heard, start)
            start = heard.find(sound[:_KEY_BYTES], max(found[start].end, start + 1))
    return [found[start] for start in sorted(found)]


def _aligned(claims: Sequence[Claim], places: Sequence[Match]) -> list[tuple[Claim | None, Match | None]]:
    """Items and places in pairs, in order, so that all in all the model was told the least wrong: the same
    words may be said twice, and only one of both be heard. What is left alone has None beside it.
    """
    rows, columns = len(claims), len(places)
    best: list[list[tuple[int, str]]] = [[(0, "")] * (columns + 1) for _ in range(rows + 1)]
    for row in range(rows, -1, -1):
        for column in range(columns, -1, -1):
            ways = []
            if row < rows:
                ways.append((claims[row].claim_ms + best[row + 1][column][0], "item"))
            if column < columns:
                ways.append((places[column].heard_bytes // 8 + best[row][column + 1][0], "place"))
            if row < rows and column < columns and claims[row].sound[:_KEY_BYTES] == places[column].key:
                wrong = abs(claims[row].claim_ms - places[column].heard_bytes // 8)
                ways.append((wrong + best[row + 1][column + 1][0], "both"))
            best[row][column] = min(ways) if ways else (0, "")
    pairs: list[tuple[Claim | None, Match | None]] = []
    row = column = 0
    while best[row][column][1]:
        way = best[row][column][1]
        pairs.append((
            None if way == "place" else claims[row],
            None if way == "item" else places[column],
        ))  # fmt: skip
        row, column = row + (way != "place"), column + (way != "item")
    return pairs


def _told_by_shape(claims: Sequence[Claim], heard: bytes) -> list[int]:
    """The same where a server has changed the samples: one item after the other."""
    errors, cursor = [], 0
    for claim in claims:
        found = _alike(claim.sound, heard, cursor)
        if found is None:
            errors.append(claim.claim_ms)
            continue
        if found.heard_bytes < len(claim.sound) and found.end >= len(heard) - 2 * BLOCK_BYTES:
            break
        cursor = found.end
        errors.append(claim.claim_ms - found.heard_bytes // 8)
    return errors


def _followed(sound: bytes, heard: bytes, start: int) -> Match:
    """As far as the samples are equal; silence in between is playout that stood still."""
    at, place = 0, start
    while at < len(sound) and place < len(heard):
        size = min(BLOCK_BYTES, len(sound) - at)
        if heard[place : place + size] == sound[at : at + size]:
            at, place = at + size, place + size
            continue
        same = _alike_bytes(heard[place : place + size], sound[at : at + size])
        at, place = at + same, place + same
        resumed = place
        while resumed < len(heard) and resumed - place < _STANDS_BYTES and heard[resumed] == 0xFF:
            resumed += 1
        key = sound[at : at + _KEY_BYTES]
        if resumed == place or not key.strip(b"\xff") or heard[resumed : resumed + len(key)] != key:
            break
        place = resumed
    return Match(start, place, at, sound[:_KEY_BYTES])


def _alike_bytes(one: bytes, other: bytes) -> int:
    """How many bytes they have in common at their beginnings."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, yours) in pairs if mine != yours), min(len(one), len(other)))


def _alike(sound: bytes, heard: bytes, cursor: int) -> Match | None:
    """By its shape: the first place where it begins, right behind what was heard before or after a pause, and
    from where it goes on to its end or to a pause.
    """
    samples, played = _samples(sound), _samples(heard)
    starts = [run.start_ms * 8 for run in runs(loud_blocks(heard), _PAUSE_MS)]
    for place in [cursor, *(start for start in starts if start >= cursor)]:
        extent, end = _extent(samples, played, place)
        after = played[end + 2 * BLOCK_BYTES : end + 4 * BLOCK_BYTES]
        stops = extent == len(sound) or not len(after) or float(np.mean(after**2)) < LOUD
        if extent >= _LEAST_BYTES and stops:
            return Match(place, end, extent)
    return None


def _extent(sound: Any, heard: Any, place: int) -> tuple[int, int]:
    """How many samples of the sound go on in what was heard from there, whose pace may drift and stand still;
    and where that ends. Quiet blocks count with the loud ones behind them.
    """
    extent, end, shift, strange, drifts = 0, place, place, 0, _FIRST_SAMPLES
    for at in range(0, len(sound) - BLOCK_BYTES + 1, BLOCK_BYTES):
        block = sound[at : at + BLOCK_BYTES]
        if float(np.mean(block**2)) < LOUD:
            continue
        found = _shift(block, heard, at + shift, drifts)
        if found is None and extent and (pause := _pause(heard, at + shift)):
            found = _shift(block, heard, at + shift + pause, _FIRST_SAMPLES)
            found = None if found is None else found + pause
        if found is None:
            strange += 1
            if strange >= _MOST_STRANGE:
                return extent, end
            continue
        shift, extent, strange, drifts = shift + found, at + BLOCK_BYTES, 0, _DRIFTS_SAMPLES
        end = extent + shift
    whole = len(sound) - extent < 2 * BLOCK_BYTES and not strange
    return (len(sound) if whole else extent), end


def _pause(heard: Any, place: int) -> int:
    """How long it is quiet from there on, in samples; 0 where it is not, or for too long."""
    for blocks in range(_STANDS_BYTES // BLOCK_BYTES):
        start = place + blocks * BLOCK_BYTES
        if float(np.sum(heard[start : start + BLOCK_BYTES] ** 2)) >= LOUD * BLOCK_BYTES:
            return blocks * BLOCK_BYTES
    return 0


def _shift(block: Any, heard: Any, place: int, drifts: int) -> int | None:
    """By how many samples this block is heard before or after that place, None where it is not near it."""
    start = max(0, place - drifts)
    near = heard[start : place + BLOCK_BYTES + drifts]
    if len(near) < BLOCK_BYTES:
        return None
    energy = np.convolve(near**2, np.ones(BLOCK_BYTES), "valid")
    power = float(np.sum(block**2))
    score = np.correlate(near, block, "valid") / np.sqrt(np.maximum(energy, LOUD) * power)
    best = int(np.argmax(score))
    return start + best - place if float(score[best]) > _ALIKE else None


def _samples(pcmu: bytes) -> Any:
    return np.frombuffer(pcmu_to_pcm(pcmu), "<i2").astype(np.float64)
