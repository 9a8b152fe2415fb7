"""Times as Pare writes them: ISO 8601, UTC, with ``Z``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def format_time(moment: datetime) -> str:
    """Return ``2026-11-21T20:46:00Z``; milliseconds only where the moment has them."""
    moment = moment.astimezone(UTC).replace(tzinfo=None)
    # Not strftime: it writes the year 1, which is how some senders say "never", without zeros.
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds") + "Z"


def parse_time(text: str) -> datetime:
    """Return the moment an ISO 8601 text names; a time without a zone is UTC.

    Access Analyzer sends 0 to 9 digits of a second's fraction (facts §4); what is finer than a
    microsecond is cut. Raises ValueError for anything else, and for a moment that UTC cannot name.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is before the year 1 or after 9999 in UTC") from error


def json_times(value: Any) -> Any:
    """Return a value as JSON can hold it: the moments in it, such as boto3 gives, as texts."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, dict):
        return {key: json_times(each) for key, each in value.items()}
    if isinstance(value, list):
        return [json_times(each) for each in value]
    return value
