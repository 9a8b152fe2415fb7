"""Session names that differ from run to run only, told as one.

Pods, instances and pipelines name their sessions anew each time: ``api-7d9f8b6c5d-x7k2p``.
"""

from __future__ import annotations

import re

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_INSTANCE = re.compile(r"\b(m?i)-[0-9a-f]{8,17}\b")
_TOKEN = re.compile(r"[^-_.:/=+,@*\s]+")
_HEX = re.compile(r"(?=[a-f]*[0-9])[0-9a-f]{8,}", re.IGNORECASE)
_TIME = re.compile(r"[0-9]{8}T[0-9]{4,6}Z?|[0-9]{2}T[0-9]{2}|[0-9]+Z")
# What Kubernetes makes random ends of names of: no vowels, so that no word comes out.
# https://github.com/kubernetes/apimachinery/blob/master/pkg/util/rand/rand.go
_RANDOM = re.compile(r"(?<=-)(?:[b-df-hj-np-tv-xz2456789]{5}|[b-df-hj-np-tv-xz2456789]{8,10})")
_NUMBER = re.compile(r"[0-9]+")
_LONG_NUMBER = re.compile(r"[0-9]{4,}")
_STARS = re.compile(r"\*(?:[-_.:/=+,]?\*)+")


def session_pattern(name: str) -> str:
    """Return a session's name with ``*`` for what differs from run to run; names with ``@`` stay.

    ``*`` stands for a UUID, the number of an instance (``i-*``), a number, a time, 8 or more
    hexadecimal digits, a random suffix of Kubernetes and a run of 4 or more digits. The pattern of
    a pattern is the pattern itself.
    """
    if "@" in name:
        return name
    found = _INSTANCE.sub(r"\1-*", _ID.sub("*", name))
    return _STARS.sub("*", _TOKEN.sub(_token_pattern, found))


def _token_pattern(found: re.Match[str]) -> str:
    # Matched in its place: a random end is one behind a hyphen.
    place = found.string, found.start(), found.end()
    if any(pattern.fullmatch(*place) for pattern in (_NUMBER, _HEX, _TIME, _RANDOM)):
        return "*"
    return _LONG_NUMBER.sub("*", found[0])
