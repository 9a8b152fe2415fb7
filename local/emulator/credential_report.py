"""IAM's credential report: Generate- and GetCredentialReport (facts §3).

The users, passwords, MFA devices and keys are ministack's; when they were used is planted through
the control plane, as no API of AWS can say it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
"""

from __future__ import annotations

import csv
import io
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.emulator import upstream
from local.emulator.caller import identify
from local.emulator.faults import REQUEST_KINDS, error_of
from local.emulator.query_protocol import query_error, xml_response
from local.emulator.shapes import parse_time
from local.emulator.wire import AwsError, Request, Response, error_in_protocol

if TYPE_CHECKING:
    from local.emulator.caller import Caller
    from local.emulator.emulation import Emulation

OPERATIONS = frozenset({"GenerateCredentialReport", "GetCredentialReport"})
COLUMNS = (
    "user", "arn", "user_creation_time", "password_enabled", "password_last_used",
    "password_last_changed", "password_next_rotation", "mfa_active",
    "access_key_1_active", "access_key_1_last_rotated", "access_key_1_last_used_date",
    "access_key_1_last_used_region", "access_key_1_last_used_service",
    "access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date",
    "access_key_2_last_used_region", "access_key_2_last_used_service",
    "cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
    "additional_credentials_info",
)  # fmt: skip
# "IAM first checks whether a report … has been generated within the past four hours."
REUSED_FOR = timedelta(hours=4)
_NOT_THERE, _NO_USE, _NOT_SUPPORTED = "N/A", "no_information", "not_supported"
_ROOT = re.compile(r"arn:aws:iam::\d{12}:root")
_ENTRY = frozenset(
    {"arn", "password_last_used_at", "mfa_active", "password_changed_at", "access_keys"}
)
_KEY = frozenset({"access_key_id", "last_used_at", "service", "region", "created_at"})


@dataclass(frozen=True, slots=True)
class PlantedKey:
    """When an access key was last used, and for what; of a root user, that there is one."""

    access_key_id: str
    last_used_at: datetime | None
    service: str
    region: str
    created_at: datetime | None  # of a root user's key only: others have their age (ages)


@dataclass(frozen=True, slots=True)
class Planted:
    """What is planted of one user or root user; None: as ministack has it."""

    password_last_used_at: datetime | None = None
    password_changed_at: datetime | None = None
    mfa_active: bool | None = None
    access_keys: dict[str, PlantedKey] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Planted:
        """Return what an entry of the control plane plants; raises ValueError."""
        if unknown := set(data) - _ENTRY:
            raise ValueError(f"unknown members of credentials: {', '.join(sorted(unknown))}")
        mfa_active = data.get("mfa_active")
        if mfa_active not in {True, False, None}:
            raise ValueError("mfa_active must be true or false")
        keys = {}
        for key in data.get("access_keys") or []:
            if unknown := set(key) - _KEY:
                raise ValueError(f"unknown members of an access key: {', '.join(sorted(unknown))}")
            keys[str(key["access_key_id"])] = PlantedKey(
                access_key_id=str(key["access_key_id"]),
                last_used_at=_moment(key, "last_used_at"),
                service=str(key.get("service") or _NOT_THERE),
                region=str(key.get("region") or _NOT_THERE),
                created_at=_moment(key, "created_at"),
            )
        return cls(
            password_last_used_at=_moment(data, "password_last_used_at"),
            password_changed_at=_moment(data, "password_changed_at"),
            mfa_active=mfa_active,
            access_keys=keys,
        )


@dataclass(frozen=True, slots=True)
class _Report:
    content: bytes
    generated_at: datetime
    ready_at: float  # of the monotonic clock

    def is_ready(self) -> bool:
        return time.monotonic() >= self.ready_at


class CredentialReports:
    """The two operations, in every account."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._planted: dict[str, Planted] = {}
        self._reports: dict[str, _Report] = {}
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Response:
        """Return the answer to one signed IAM request for one of ``OPERATIONS``."""
        operation = request.form["Action"]
        try:
            caller = identify(request)
            fault = self._emulation.faults.take(operation, REQUEST_KINDS)
            if fault is not None:
                raise error_of(fault, "query")
            caller.require(f"iam:{operation}", "*")
            make = self._generate if operation == "GenerateCredentialReport" else self._get
            return xml_response(operation, make(caller))
        except AwsError as error:
            return error_in_protocol(query_error(error), "query")

    def plant(self, entries: list[dict[str, Any]]) -> None:
        """Plant use: later entries of the same user take the place of earlier ones."""
        planted = {}
        for entry in entries:
            arn = str(entry.get("arn", ""))
            if not _ROOT.fullmatch(arn) and upstream.user_by_arn(arn) is None:
                raise ValueError(f"there is no user {arn!r}, and it is no account's root user")
            planted[arn] = Planted.from_json(entry)
        with self._lock:
            self._planted.update(planted)

    def planted(self, arn: str) -> Planted:
        """Return what is planted of a user or root user."""
        return self._planted.get(arn, Planted())

    def _generate(self, caller: Caller) -> dict[str, Any]:
        now = self._emulation.now()
        with self._lock:
            report = self._reports.get(caller.account_id)
            if report is not None and not report.is_ready():
                return {"State": "INPROGRESS"}
            if report is not None and now - report.generated_at < REUSED_FOR:
                return {"State": "COMPLETE"}
            self._reports[caller.account_id] = _Report(
                content=self._csv(caller.account_id, now).encode(),
                generated_at=now.replace(microsecond=0),
                ready_at=time.monotonic()
                + self._emulation.settings.credential_report_delay_seconds,
            )
        return {
            "State": "STARTED",
            "Description": "No report exists. Starting a new report generation task",
        }

    def _get(self, caller: Caller) -> dict[str, Any]:
        with self._lock:
            report = self._reports.get(caller.account_id)
        if report is None:
            raise AwsError("ReportNotPresent", "No report exists for this account.", 410)
        if not report.is_ready():
            raise AwsError("ReportInProgress", "Report generation is still in progress.", 404)
        if self._emulation.now() - report.generated_at >= REUSED_FOR:
            raise AwsError("ReportExpired", "The most recent report has expired.", 410)
        return {
            "Content": report.content,
            "ReportFormat": "text/csv",
            "GeneratedTime": report.generated_at,
        }

    def _csv(self, account_id: str, now: datetime) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        users = upstream.user_credentials(account_id)
        first = min((user.created_at for user in users), default=_written(now))
        writer.writerow(self._root_row(account_id, first))
        writer.writerows(self._user_row(user) for user in users)
        return out.getvalue().rstrip("\n")

    def _root_row(self, account_id: str, first: str) -> dict[str, str]:
        arn = f"arn:aws:iam::{account_id}:root"
        planted = self.planted(arn)
        keys: list[tuple[bool, str, PlantedKey | None]] = [
            (True, _written(key.created_at or first), key) for key in planted.access_keys.values()
        ]
        return {
            **dict.fromkeys(COLUMNS, _NOT_SUPPORTED),
            "user": "<root_account>",
            "arn": arn,
            "user_creation_time": _written(first),
            "password_last_used": _written(planted.password_last_used_at) or _NO_USE,
            # A root user without MFA is what a person plants; AWS demands it.
            "mfa_active": _boolean(planted.mfa_active is not False),
            **_keys(keys),
            **_certificates(),
            "additional_credentials_info": "",
        }

    def _user_row(self, user: upstream.UserCredentials) -> dict[str, str]:
        planted = self.planted(user.arn)
        has_password = user.password_created_at is not None
        mfa_active = user.has_mfa if planted.mfa_active is None else planted.mfa_active
        keys = [
            (key.is_active, _written(key.created_at), planted.access_keys.get(key.access_key_id))
            for key in user.access_keys
        ]
        changed_at = planted.password_changed_at or user.password_created_at
        return {
            "user": user.name,
            "arn": user.arn,
            "user_creation_time": _written(user.created_at),
            "password_enabled": _boolean(has_password),
            "password_last_used": (
                (_written(planted.password_last_used_at) or _NO_USE) if has_password else _NOT_THERE
            ),
            "password_last_changed": _written(changed_at) if has_password else _NOT_THERE,
            "password_next_rotation": _NOT_THERE,
            "mfa_active": _boolean(mfa_active),
            **_keys(keys),
            **_certificates(),
            "additional_credentials_info": "",
        }


def _keys(keys: list[tuple[bool, str, PlantedKey | None]]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for number in (1, 2):
        place = f"access_key_{number}"
        is_active, rotated, planted = (
            keys[number - 1] if number <= len(keys) else (False, _NOT_THERE, None)
        )
        used = planted if planted is not None and planted.last_used_at is not None else None
        columns |= {
            f"{place}_active": _boolean(is_active),
            f"{place}_last_rotated": rotated,
            f"{place}_last_used_date": _written(used.last_used_at) if used else _NOT_THERE,
            f"{place}_last_used_region": used.region if used else _NOT_THERE,
            f"{place}_last_used_service": used.service if used else _NOT_THERE,
        }
    return columns


def _certificates() -> dict[str, str]:
    # ministack has no signing certificates.
    return {
        column: "false" if column.endswith("active") else _NOT_THERE
        for column in COLUMNS
        if column.startswith("cert_")
    }


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _written(moment: datetime | str | None) -> str:
    """Return a moment as the report has it, 2026-11-01T06:00:00+00:00; empty for None."""
    if moment is None:
        return ""
    return parse_time(moment).astimezone(UTC).isoformat(timespec="seconds")


def _moment(data: dict[str, Any], name: str) -> datetime | None:
    value = data.get(name)
    if value is None:
        return None
    try:
        return parse_time(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
