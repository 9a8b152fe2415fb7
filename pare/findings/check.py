"""The doctor's test event: it takes the way of a finding, and only its arrival is recorded.

Put on the default bus of a Region by ``pare doctor``, with the source of test findings (which the
rules take from the hub account alone), this detail-type, and as its detail ``check_id`` (a UUID of
the doctor's own making) and ``region`` (where it was put).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict

from pare.errors import FindingParseError
from pare.findings import fields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

DETAIL_TYPE: Final = "Pare Doctor Check"
# Stands for the workflow in the table of runs, where the check's id is the run's.
KIND: Final = "doctor"
KEPT: Final = timedelta(days=1)
# As Python's uuid writes it: whoever may send test events cannot fill the table with large keys.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class CheckJson(TypedDict):
    """A test event that arrived; ``expires_at`` in seconds as text: so DynamoDB takes numbers."""

    check_id: str
    region: str
    expires_at: str


def check_of(detail: Mapping[str, Any], now: datetime) -> CheckJson:
    """Return what is recorded of a test event; raises FindingParseError for a malformed one.

    It may be forgotten a day after ``now``, whatever the event says of its own time.
    """
    check_id = fields.text(detail, "check_id")
    if not _UUID.fullmatch(check_id):
        raise FindingParseError(f"check_id is not a UUID: {fields.shown(check_id)}")
    return {
        "check_id": check_id,
        "region": fields.region(fields.text(detail, "region")),
        "expires_at": str(int((now + KEPT).timestamp())),
    }
