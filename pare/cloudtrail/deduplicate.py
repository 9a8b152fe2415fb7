"""The events already counted, so that one delivered twice counts once.

Duplicates are common: in one real trail every fifth record came twice, in two different files, some
of them under two Regions. Their eventID is the same, and so is their content.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

# Event ids kept: about 100 bytes each, so at most some 200 MB. Files are read day by day and
# account by account, so a duplicate further away than half of these is not to be expected.
MAX_EVENTS = 2_000_000
_KEY_BYTES = 16
_CHUNK = 4096 * _KEY_BYTES


def event_keys(event_ids: list[str]) -> tuple[bytes, ...]:
    """Return 16 bytes for each event id: those of a UUID, a hash of any other text."""
    if set(map(len, event_ids)) == {36}:
        text = "".join(event_ids)
        # Each with its dashes in their places, else one would shift the others.
        dashes = "-" * len(event_ids)
        if text.count("-") != 4 * len(event_ids) or not (
            text[8::36] == text[13::36] == text[18::36] == text[23::36] == dashes
        ):
            return tuple(map(_event_key, event_ids))
        try:
            packed = bytes.fromhex(text.replace("-", ""))
            return _unpacker(len(event_ids)).unpack(packed)
        except (ValueError, struct.error):
            pass
    return tuple(map(_event_key, event_ids))


def split_keys(joined: bytes) -> tuple[bytes, ...]:
    """Return the keys in a text of keys; raises ValueError where there is a part of one."""
    if len(joined) % _KEY_BYTES:
        raise ValueError(f"{len(joined)} bytes of event ids are not a multiple of 16")
    return _unpacker(len(joined) // _KEY_BYTES).unpack(joined)


def _event_key(event_id: str) -> bytes:
    try:
        if len(event_id) == 36:
            key = bytes.fromhex(event_id.replace("-", ""))
            if len(key) == _KEY_BYTES:
                return key
    except ValueError:
        pass
    text = event_id.encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=_KEY_BYTES).digest()


@lru_cache(maxsize=4096)
def _unpacker(count: int) -> struct.Struct:
    return struct.Struct(f"{_KEY_BYTES}s" * count)


def _positions(keys: tuple[bytes, ...], known: set[bytes]) -> list[int]:
    """Return where a key is one of the known ones, or one that came before."""
    positions = []
    for position, key in enumerate(keys):
        if key in known:
            positions.append(position)
        known.add(key)
    return positions


class Seen:
    """Event ids in two generations: when the young one is full, the old one is forgotten."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self.generation_size = max(1, max_events // 2)
        self.young: set[bytes] = set()
        self.old: set[bytes] = set()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def repeated(self, event_ids: list[str]) -> list[int] | None:
        """Return the positions of events that were seen before, and remember the others.

        None where there is none, which is the usual case and costs a few set operations a file.
        """
        return self.repeated_keys(event_keys(event_ids))

    def repeated_keys(self, keys: tuple[bytes, ...]) -> list[int] | None:
        """Return what ``repeated`` does, for keys of ``event_keys``."""
        fresh = set(keys)
        again = fresh & self.young
        if self.old:
            again |= fresh & self.old
        repeated = None
        if again or len(fresh) != len(keys):
            repeated = _positions(keys, again)
            # What the old generation holds stays there: an event is in one of the two.
            fresh -= self.old
        self.young |= fresh
        if len(self.young) > self.generation_size:
            self.forgotten += len(self.old)
            self.old, self.young = self.young, set()
        return repeated

    def clear(self) -> None:
        """Forget all, when nothing more is to be read: they are a fifth of the memory."""
        self.young, self.old = set(), set()

    def add_bytes(self, content: bytes) -> None:
        """Remember joined keys; raises ValueError where there is a part of one."""
        for start in range(0, len(content), _CHUNK):
            self.repeated_keys(split_keys(content[start : start + _CHUNK]))

    def to_bytes(self) -> bytes:
        """Return the keys, sorted: 16 bytes each."""
        return b"".join(sorted(self.young | self.old))

    @classmethod
    def from_bytes(cls, content: bytes, max_events: int = MAX_EVENTS) -> Seen:
        """Return what ``to_bytes`` wrote; raises ValueError for anything else."""
        seen = cls(max_events)
        seen.add_bytes(content)
        return seen
