"""What the error code of an event proves: the caller was allowed, denied, or not looked at.

``pare/data/denial_error_codes.json`` names the codes, each with its document. Nothing is read at
import: the first ``outcome_of()`` reads the file.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from pare.data_tables import read_table

SCHEMA_VERSION = 1

Outcome = Literal["allowed", "denied", "unauthenticated"]


def outcome_of(error_code: str | None, event_source: str = "") -> Outcome:
    """Return what an event's errorCode proves; "allowed" for no error and for any unlisted one.

    "denied": authorization was refused. "unauthenticated": the caller's policies were never
    evaluated (wrong signature, expired session, account not subscribed), so nothing is proved.
    Any other error came after authorization had passed: the action was used.
    """
    if not error_code:
        return "allowed"
    # Amazon EC2 puts "Client." before its codes; a few services write the shape's whole name.
    code = error_code.strip().removeprefix("Client.").rpartition("#")[2].partition(":")[0]
    outcomes = _outcomes()
    return outcomes.get((code, event_source)) or outcomes.get((code, "")) or "allowed"


@cache
def _outcomes() -> dict[tuple[str, str], Outcome]:
    """Return the table: (code, event source or "") -> outcome."""
    table = read_table("denial_error_codes.json", schema_version=SCHEMA_VERSION)
    return {
        (row["code"], row.get("event_source", "")): row["outcome"] for row in table["error_codes"]
    }
