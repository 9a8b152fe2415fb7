"""Times as Pare writes them: ISO 8601, UTC, with ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(moment: datetime) -> str:
    """Return ``2026-11-21T20:46:00Z``; milliseconds only where the moment has them."""
    moment = moment.astimezone(UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if moment.microsecond:
        text += f".{moment.microsecond // 1000:03d}"
    return text + "Z"


def parse_time(text: str) -> datetime:
    """Return the moment an ISO 8601 text names; a time without a zone is UTC.

    Access Analyzer sends 0 to 9 digits of a second's fraction (facts §4); what is finer than a
    microsecond is cut. Raises ValueError for anything else.
    """
    head, dot, rest = text.partition(".")
    if dot:
        digits = "".join(ch for ch in rest[: len(rest.rstrip("Zz"))] if ch.isdigit())
        zone = rest[len(digits) :]
        text = f"{head}.{digits[:6].ljust(6, '0')}{zone}"
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
