"""Recorded events, and findings made from them (tests/events/README.md tells their source)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pare.findings.model import Finding
from pare.findings.normalize import normalize

EVENTS = Path(__file__).parent / "events"
FINDINGS = (
    "external_access",
    "external_access_error",
    "internal_access",
    "internal_access_error",
    "unused_permission",
    "unused_iam_role_error",
)
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
PREVIEWS = ("access_preview_creating", "access_preview_completed", "access_preview_failed")


def event(name: str, **detail: Any) -> dict[str, Any]:
    """Return a recorded event, members of its detail changed; ``...`` takes one away."""
    recorded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    recorded["detail"] |= detail
    recorded["detail"] = {k: v for k, v in recorded["detail"].items() if v is not ...}
    return recorded


def finding(name: str = "unused_permission", **changes: Any) -> Finding:
    """Return the finding of a recorded event, changed as asked."""
    return replace(normalized(event(name)), **changes)


def normalized(sent: dict[str, Any]) -> Finding:
    """Return the finding in an event that is about one."""
    found = normalize(sent, NOW)["finding"]
    assert found is not None
    return Finding.from_json(found)


def check_event(**detail: Any) -> dict[str, Any]:
    """Return the doctor's test event as EventBridge hands it on, its detail changed; ``...``."""
    sent = {"check_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "region": "eu-west-1", **detail}
    return {
        "version": "0",
        "id": "6f87d04b-9f3a-4d9f-8a30-000000000002",
        "detail-type": "Pare Doctor Check",
        "source": "pare.test",
        "account": "222222222222",
        "time": "2026-11-22T09:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {name: value for name, value in sent.items() if value is not ...},
    }
