"""Which objects and files are CloudTrail log files, and what their names tell.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
Key of a log file: ``[prefix/]AWSLogs/[o-id/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/FILE.json.gz``;
Control Tower puts the organization id before ``AWSLogs`` too, as a prefix.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Folders beside CloudTrail/ that hold no records of calls.
SIBLINGS = {
    "CloudTrail-Digest": "digest file",
    "CloudTrail-Insight": "Insights file",
    "CloudTrail-NetworkActivity": "network activity file",
    "CloudTrail-Aggregated": "aggregated file",
}
NOT_A_LOG_FILE = "not a log file by its name"
DELIVERED_BEFORE = "delivered before the window asked for"
LINKED_FOLDER = "link to a folder, which is not followed"

# What the file's own name says, for files that were copied out of their folders.
_SIBLING_NAME = re.compile(
    r"[0-9]{12}_(CloudTrail-(?:Digest|Insight|NetworkActivity|Aggregated))_[a-z0-9-]+_"
)
_ENDINGS = (".json", ".json.gz", ".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz", ".log", ".gz")
_LOG_KEY = re.compile(
    r"(?:^|/)AWSLogs/(?:(?P<organization_id>o-[a-z0-9]+)/)?(?P<account_id>[0-9]{12})/CloudTrail/"
    r"(?P<region>[a-z0-9-]+)/(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<day>[0-9]{2})/[^/]+$"
)
_LOG_NAME = re.compile(
    r"(?P<account_id>[0-9]{12})_CloudTrail_(?P<region>[a-z0-9-]+)_"
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})T[0-9]{4}Z_[^/]*$"
)


@dataclass(frozen=True, slots=True)
class LogKey:
    """What the key of a log file says; ``date`` is the day of delivery, ``YYYY-MM-DD``."""

    account_id: str
    region: str
    date: str
    organization_id: str | None = None


def classify(key: str) -> str | None:
    """Return why an object or file is passed over by its name, or None where it is to be read."""
    parts = key.split("/")
    for part in parts[:-1]:
        if part in SIBLINGS:
            return SIBLINGS[part]
    sibling = _SIBLING_NAME.match(parts[-1])
    if sibling:
        return SIBLINGS[sibling[1]]
    if parts[-1].startswith(".") or not parts[-1].lower().endswith(_ENDINGS):
        return NOT_A_LOG_FILE
    return None


def log_key(key: str) -> LogKey | None:
    """Return what the key, or only the name, of a log file tells; None for any other key."""
    found = _LOG_KEY.search(key) or _LOG_NAME.search(key)
    if found is None or classify(key) is not None:
        return None
    parts = found.groupdict()
    return LogKey(
        account_id=parts["account_id"],
        region=parts["region"],
        date=f"{parts['year']}-{parts['month']}-{parts['day']}",
        organization_id=parts.get("organization_id"),
    )


def reading_order(key: str) -> tuple[str, str, str]:
    """Return by what files are sorted before they are read: day, account, name.

    The same event is often delivered in two files of one account and day; read near each other, the
    second is known even when only the latest event ids are kept (``deduplicate``).
    """
    known = log_key(key)
    return (known.date, known.account_id, key) if known else ("", "", key)


def files_under(paths: Iterable[str], skipped: dict[str, int]) -> list[str]:
    """Return the log files of folders and the files named themselves, in reading order.

    A file named by the caller is always read; one found in a folder is passed over by ``classify``,
    and counted in ``skipped`` under the reason. A file reached twice is read once.
    """
    # os.walk and plain strings: pathlib costs as much a file as reading a small one.
    found: dict[str, None] = {}

    def keep(error: OSError) -> None:
        # A folder that cannot be listed is taken for a file, which then cannot be opened.
        found[str(error.filename)] = None

    for path in map(os.path.abspath, paths):
        if not Path(path).is_dir():
            found[path] = None
            continue
        above = len(path.rstrip(os.sep)) + 1
        for folder, folders, names in os.walk(path, onerror=keep):
            inside = folder if folder.endswith(os.sep) else folder + os.sep
            reasons = [LINKED_FOLDER for each in folders if Path(inside + each).is_symlink()]
            for name in names:
                file = inside + name
                reason = classify(file[above:].replace(os.sep, "/"))
                if reason is None:
                    found[file] = None
                else:
                    reasons.append(reason)
            for reason in reasons:
                skipped[reason] = skipped.get(reason, 0) + 1
    return sorted(found, key=reading_order)
