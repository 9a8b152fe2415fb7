"""IAM last-accessed jobs: Generate- and GetServiceLastAccessedDetails (facts §3)."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from local.emulator import catalogue, upstream
from local.emulator.caller import identify
from local.emulator.faults import JOB_KINDS, error_of
from local.emulator.query_protocol import Checked, number, query_error, xml, xml_response
from local.emulator.wire import AwsError, Request, Response, error_in_protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.emulator.caller import Caller
    from local.emulator.emulation import Emulation
    from local.emulator.usage import Use

OPERATIONS = frozenset({"GenerateServiceLastAccessedDetails", "GetServiceLastAccessedDetails"})
_DEFAULT_ITEMS = 100
_MAX_ITEMS = 1000
# "Null while running although the model says required" (facts §3).
_ABSENT_WHILE_RUNNING = frozenset({"JobCompletionDate"})


@dataclass(slots=True)
class _Job:
    id: str
    account_id: str
    session: str
    job_type: str
    created_at: datetime
    completed_at: datetime
    ready_at: float
    allowed: Allowed
    principals: tuple[str, ...]
    uses: dict[str, list[Use]]  # by service
    stuck: bool = False
    failed: str | None = None

    def status(self) -> str:
        if self.stuck or time.monotonic() < self.ready_at:
            return "IN_PROGRESS"
        return "FAILED" if self.failed else "COMPLETED"


@dataclass(slots=True)
class _Bucket:
    """What an account may still call: a second's worth at once, refilled as time goes by."""

    tokens: float
    filled_at: float

    def take(self, per_second: float) -> bool:
        now = time.monotonic()
        most = max(per_second, 1.0) if per_second else 0.0
        self.tokens = min(most, self.tokens + (now - self.filled_at) * per_second)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class LastAccessed:
    """The two operations, in every account. IAM is global: a job is not tied to a Region."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._jobs: dict[str, _Job] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._calls = self._throttled = 0
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Response:
        """Return the answer to one signed IAM request for one of ``OPERATIONS``."""
        form = request.form
        operation = form["Action"]
        try:
            caller = identify(request)
            self._throttle(caller.account_id)
            fault = self._emulation.faults.take(operation, _REQUEST_FAULTS)
            if fault is not None:
                raise error_of(fault, "query")
            if operation == "GenerateServiceLastAccessedDetails":
                answer = self._generate(caller, form)
                return xml_response(operation, answer)
            answer = self._get(caller, form)
            running = answer["JobStatus"] == "IN_PROGRESS"
            return xml_response(
                operation, answer, _ABSENT_WHILE_RUNNING if running else frozenset()
            )
        except AwsError as error:
            return error_in_protocol(query_error(error), "query")

    def summary(self) -> dict[str, Any]:
        """Return counts of calls and of jobs by status, for the control plane."""
        with self._lock:
            statuses = Counter(job.status() for job in self._jobs.values())
            return {
                "calls": self._calls,
                "throttled": self._throttled,
                "jobs": dict(sorted(statuses.items())),
            }

    def _throttle(self, account_id: str) -> None:
        """Raise what IAM answers to an account that calls too often; both operations count."""
        per_second = self._emulation.settings.last_accessed_calls_per_second
        with self._lock:
            self._calls += 1
            if per_second is None:
                return
            bucket = self._buckets.setdefault(account_id, _Bucket(1e9, time.monotonic()))
            if bucket.take(per_second):
                return
            self._throttled += 1
        raise AwsError("Throttling", "Rate exceeded", 400)

    def _generate(self, caller: Caller, form: dict[str, str]) -> dict[str, Any]:
        arn = form.get("Arn", "")
        granularity = form.get("Granularity", "SERVICE_LEVEL")
        caller.require("iam:GenerateServiceLastAccessedDetails", arn or "*")
        if granularity not in {"SERVICE_LEVEL", "ACTION_LEVEL"}:
            raise AwsError("ValidationError", f"Granularity {granularity} is not known.", 400)
        if not 20 <= len(arn) <= 2048:
            raise AwsError("ValidationError", "Arn must have 20 to 2048 characters.", 400)
        in_account = upstream.account_of(arn) in {caller.account_id, "aws"}
        entity = upstream.entity(arn, caller.account_id) if in_account else None
        if entity is None:
            raise AwsError("NoSuchEntity", f"ARN {arn} not found", 404)
        principals = tuple(upstream.principals_behind(entity, caller.account_id))
        uses: dict[str, list[Use]] = {}
        for principal in principals:
            for service, use in self._emulation.usage.services(principal).items():
                uses.setdefault(service, []).append(use)
        delay = self._emulation.settings.last_accessed_delay_seconds
        now = self._emulation.now()
        job = _Job(
            id=str(uuid.uuid4()),
            account_id=caller.account_id,
            session=caller.session,
            job_type=granularity,
            created_at=now,
            completed_at=now + timedelta(seconds=delay),
            ready_at=time.monotonic() + delay,
            allowed=allowed_by(entity.policies),
            principals=principals,
            uses=uses,
        )
        fault = self._emulation.faults.take("GenerateServiceLastAccessedDetails", JOB_KINDS)
        if fault is not None and fault.kind == "stuck_job":
            job.stuck = True
        elif fault is not None:
            job.failed = fault.code or "SERVICE_ERROR"
        with self._lock:
            self._jobs[job.id] = job
        return {"JobId": job.id}

    def _get(self, caller: Caller, form: dict[str, str]) -> dict[str, Any]:
        caller.require("iam:GetServiceLastAccessedDetails", "*")
        job_id = form.get("JobId", "")
        if len(job_id) != 36:
            raise AwsError("ValidationError", "JobId must have 36 characters.", 400)
        with self._lock:
            job = self._jobs.get(job_id)
        if (
            job is None
            or self._is_forgotten(job)
            or job.account_id != caller.account_id
            or job.session != caller.session
        ):
            # Bound to the caller's session (facts §3): any other does not find it.
            raise AwsError("NoSuchEntity", f"Job {job_id} not found", 404)
        size = number(form.get("MaxItems"), "MaxItems", _DEFAULT_ITEMS)
        if not 1 <= size <= _MAX_ITEMS:
            raise AwsError("ValidationError", f"MaxItems must be 1 to {_MAX_ITEMS}.", 400)
        first = number(form.get("Marker"), "Marker", 0)
        status = job.status()
        answer: dict[str, Any] = {
            "JobStatus": status,
            "JobType": job.job_type,
            "JobCreationDate": job.created_at,
            "ServicesLastAccessed": [],
            "IsTruncated": False,
        }
        if status != "IN_PROGRESS":
            answer["JobCompletionDate"] = job.completed_at
        if status == "FAILED":
            answer["Error"] = {
                "Message": "The report could not be generated: a switched-on fault.",
                "Code": job.failed,
            }
        if status == "COMPLETED":
            services = job.allowed.services
            chosen = services[first : first + size]
            answer["ServicesLastAccessed"] = [self._service(job, service) for service in chosen]
            if first + size < len(services):
                answer["IsTruncated"] = True
                answer["Marker"] = str(first + size)
        return answer

    def _is_forgotten(self, job: _Job) -> bool:
        kept = self._emulation.settings.last_accessed_retention_seconds
        return kept is not None and time.monotonic() > job.ready_at + kept

    def _service(self, job: _Job, service: str) -> dict[str, Any] | Checked:
        if service not in job.uses:
            return job.allowed.unused(service, job.job_type)
        uses = job.uses[service]
        newest = max(uses, key=lambda use: use.last_accessed_at)
        answer = {
            "ServiceName": catalogue.service_name(service),
            "ServiceNamespace": service,
            "TotalAuthenticatedEntities": len(uses),
            "LastAuthenticated": newest.last_accessed_at,
            "LastAuthenticatedEntity": newest.principal_arn,
            "LastAuthenticatedRegion": newest.region,
        }
        if job.job_type == "ACTION_LEVEL":
            tracked = self._actions(job, service)
            if tracked:
                answer["TrackedActionsLastAccessed"] = tracked
        return answer

    def _actions(self, job: _Job, service: str) -> list[dict[str, Any]]:
        """Return every tracked action the policies allow; one nobody used has its name only."""
        uses: dict[str, Use] = {}
        for principal in job.principals:
            for action, use in self._emulation.usage.actions(principal, service).items():
                if action not in uses or uses[action].last_accessed_at < use.last_accessed_at:
                    uses[action] = use
        by_name = {action.lower(): use for action, use in uses.items()}
        names = dict.fromkeys(catalogue.tracked_actions(service))
        names.update(dict.fromkeys(a for a in uses if a.lower() not in {n.lower() for n in names}))
        answer = []
        for name in names:
            if not job.allowed.action(service, name):
                continue
            row: dict[str, Any] = {"ActionName": name}
            found = by_name.get(name.lower())
            if found is not None:
                row["LastAccessedEntity"] = found.principal_arn
                row["LastAccessedTime"] = found.last_accessed_at
                row["LastAccessedRegion"] = found.region
            answer.append(row)
        return answer


class Allowed:
    """What identity policies allow, at the depth last-accessed information needs.

    Resources and conditions are not looked at: AWS lists a service if any statement allows it.
    """

    def __init__(self, policies: Iterable[dict[str, Any]]) -> None:
        self._exact: set[str] = set()
        self._patterns: dict[str, list[str]] = {}  # by service; "" where the service is a pattern
        self._exceptions: list[list[str]] = []
        self._unused: dict[tuple[str, str], Checked] = {}
        for policy in policies:
            for statement in _as_list(policy.get("Statement")):
                if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
                    continue
                if "NotAction" in statement:
                    self._exceptions.append([a.lower() for a in _as_list(statement["NotAction"])])
                for action in _as_list(statement.get("Action")):
                    self._add(action.lower())

    def _add(self, pattern: str) -> None:
        prefix = pattern.partition(":")[0]
        if not _is_pattern(pattern):
            self._exact.add(pattern)
        self._patterns.setdefault("" if _is_pattern(prefix) else prefix, []).append(pattern)

    @cached_property
    def services(self) -> list[str]:
        """The prefixes of the services allowed, sorted."""
        known = catalogue.services()
        allowed = {prefix for prefix in self._patterns if prefix}
        for pattern in self._patterns.get("", []):
            prefix = pattern.partition(":")[0]
            allowed.update(service for service in known if catalogue.matches(service, [prefix]))
        for exceptions in self._exceptions:
            whole = [e.partition(":")[0] for e in exceptions if e == "*" or e.endswith(":*")]
            allowed.update(s for s in known if not catalogue.matches(s, whole))
        return sorted(allowed)

    def action(self, service: str, name: str) -> bool:
        """Return whether the action is allowed."""
        action = f"{service}:{name}".lower()
        return (
            action in self._exact
            or catalogue.matches(action, self._patterns.get(service, []))
            or catalogue.matches(action, self._patterns.get("", []))
            or any(not catalogue.matches(action, exceptions) for exceptions in self._exceptions)
        )

    def unused(self, service: str, job_type: str) -> Checked:
        """Return what is said of a service nobody used: the same whoever is asked about."""
        key = (service, job_type)
        if key not in self._unused:
            answer: dict[str, Any] = {
                "ServiceName": catalogue.service_name(service),
                "ServiceNamespace": service,
                "TotalAuthenticatedEntities": 0,
            }
            names = catalogue.tracked_actions(service) if job_type == "ACTION_LEVEL" else ()
            tracked = [{"ActionName": name} for name in names if self.action(service, name)]
            if tracked:
                answer["TrackedActionsLastAccessed"] = tracked
            self._unused[key] = _checked_service(answer)
        return self._unused[key]


def allowed_by(policies: tuple[dict[str, Any], ...]) -> Allowed:
    """Return what policies allow; many principals have the same ones."""
    return _allowed_by(json.dumps(policies, sort_keys=True))


@lru_cache(maxsize=256)
def _allowed_by(text: str) -> Allowed:
    return Allowed(json.loads(text))


_REQUEST_FAULTS = frozenset({"throttle", "server_error", "access_denied"})


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _checked_service(service: dict[str, Any]) -> Checked:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    xml_response(
        "GetServiceLastAccessedDetails",
        {
            "JobStatus": "COMPLETED",
            "JobType": "ACTION_LEVEL",
            "JobCreationDate": moment,
            "JobCompletionDate": moment,
            "ServicesLastAccessed": [service],
            "IsTruncated": False,
        },
    )
    return Checked(xml(service))
