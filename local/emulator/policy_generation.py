"""Policy generation: quotas, asynchronous jobs and generated documents (facts §1, §2)."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.emulator import upstream
from local.emulator.catalogue import actions_of, resource_templates, service_of
from local.emulator.faults import JOB_KINDS
from local.emulator.paging import invalid
from local.emulator.trail import JobError, TrailRequest
from local.emulator.wire import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.emulator.caller import Caller
    from local.emulator.emulation import Emulation

logger = logging.getLogger("pare.policy_generation")

SERVICE = "access-analyzer.amazonaws.com"
_MAX_WINDOW = timedelta(days=90)
_VISIBLE = timedelta(days=7)
_MANAGED_POLICY_CHARS = 6144
_QUOTA_PER_DAY = 50
_SMALL_QUOTA_PER_DAY = 5
# General Reference, access-analyzer (facts §2).
_SMALL_QUOTA_REGIONS = frozenset(
    [
        "af-south-1",
        "ap-east-1",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ca-west-1",
        "eu-central-2",
        "eu-south-1",
        "eu-south-2",
    ]
)


@dataclass(slots=True)
class Job:
    """One policy generation, from request to end."""

    id: str
    principal_arn: str
    account_id: str
    region: str
    started_on: datetime
    ready_at: float  # monotonic: the result is shown no earlier
    trails: list[TrailRequest]
    access_role: str | None
    start_time: datetime | None
    end_time: datetime | None
    client_token: str | None
    stuck: bool = False
    status: str = "IN_PROGRESS"
    completed_on: datetime | None = None
    error: JobError | None = None
    # What the work found, held back until the delay is over.
    done: bool = False
    actions: tuple[str, ...] = ()
    services_without_actions: tuple[str, ...] = ()
    is_complete: bool = False
    pending_error: JobError | None = None

    def settle(self, now: datetime) -> None:
        """Take over the end of the work, once it is done and the delay is over."""
        if self.status != "IN_PROGRESS" or self.stuck or not self.done:
            return
        if time.monotonic() < self.ready_at:
            return
        self.completed_on = now
        self.error = self.pending_error
        self.status = "FAILED" if self.error else "SUCCEEDED"


@dataclass(slots=True)
class _Scope:
    """The jobs of one account in one Region, oldest first."""

    jobs: list[Job] = field(default_factory=list)


class PolicyGeneration:
    """StartPolicyGeneration, GetGeneratedPolicy, ListPolicyGenerations, CancelPolicyGeneration."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._scopes: dict[tuple[str, str], _Scope] = {}
        self._lock = threading.RLock()

    def start(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return the id of a new job, or of the one the client token already started."""
        principal_arn: str = params["policyGenerationDetails"]["principalArn"]
        trail_details: dict[str, Any] = params.get("cloudTrailDetails") or {}
        if trail_details:
            caller.require(
                "iam:PassRole",
                trail_details["accessRole"],
                {"iam:PassedToService": SERVICE},
            )
        with self._lock:
            scope = self._scope(caller)
            known = self._known(scope, params.get("clientToken"), principal_arn)
            if known is not None:
                return {"jobId": known.id}
            self._check_principal(caller, principal_arn)
            start_time, end_time = self._check_window(trail_details)
            if trail_details:
                _check_access_role(caller, trail_details["accessRole"])
            self._check_quotas(caller, scope)
            job = Job(
                id=str(uuid.uuid4()),
                principal_arn=principal_arn,
                account_id=caller.account_id,
                region=caller.region,
                started_on=self._emulation.now(),
                ready_at=time.monotonic() + self._emulation.settings.job_delay_seconds,
                trails=[
                    TrailRequest(
                        trail["cloudTrailArn"],
                        tuple(trail.get("regions") or ()),
                        bool(trail.get("allRegions")),
                    )
                    for trail in trail_details.get("trails", [])
                ],
                access_role=trail_details.get("accessRole"),
                start_time=start_time,
                end_time=end_time,
                client_token=params.get("clientToken"),
            )
            scope.jobs.append(job)
        fault = self._emulation.faults.take("StartPolicyGeneration", JOB_KINDS)
        if fault is not None and fault.kind == "stuck_job":
            job.stuck = True
        elif fault is not None:
            job.pending_error = JobError(
                fault.code or "SERVICE_ERROR", "The job failed by a switched-on fault."
            )
            job.done = True
        else:
            threading.Thread(
                target=self._work, args=(job,), daemon=True, name=f"job-{job.id}"
            ).start()
        return {"jobId": job.id}

    def get(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return the job and, once it succeeded, its policies."""
        job = self._job(caller, params["jobId"])
        details: dict[str, Any] = {
            "jobId": job.id,
            "status": job.status,
            "startedOn": job.started_on,
        }
        if job.completed_on is not None:
            details["completedOn"] = job.completed_on
        if job.error is not None:
            details["jobError"] = {"code": job.error.code, "message": job.error.message}
        properties: dict[str, Any] = {"principalArn": job.principal_arn}
        if job.trails:
            properties["cloudTrailProperties"] = {
                "trailProperties": [_trail_properties(trail) for trail in job.trails],
                "startTime": job.start_time,
                "endTime": job.end_time,
            }
        result: dict[str, Any] = {"properties": properties}
        if job.status == "SUCCEEDED":
            properties["isComplete"] = job.is_complete
            result["generatedPolicies"] = [
                {"policy": json.dumps(policy)}
                for policy in policies(
                    job.actions,
                    placeholders=params.get("includeResourcePlaceholders", False),
                    services=(
                        job.services_without_actions
                        if params.get("includeServiceLevelTemplate", False)
                        else ()
                    ),
                )
            ]
        return {"jobDetails": details, "generatedPolicyResult": result}

    def list_jobs(self, caller: Caller, params: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the jobs of the last seven days, newest first."""
        with self._lock:
            jobs = [
                job
                for job in self._visible(self._scope(caller))
                if params.get("principalArn") in {None, job.principal_arn}
            ]
        return [_summary(job) for job in reversed(jobs)]

    def cancel(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Cancel a running job; it still counts to the day's quota (facts §1)."""
        job = self._job(caller, params["jobId"])
        with self._lock:
            if job.status == "IN_PROGRESS":
                job.status = "CANCELED"
                job.completed_on = self._emulation.now()
        return {}

    def summary(self) -> list[dict[str, Any]]:
        """Return every job for the control plane."""
        with self._lock:
            jobs = [job for scope in self._scopes.values() for job in scope.jobs]
            for job in jobs:
                job.settle(self._emulation.now())
        return [
            {
                "job_id": job.id,
                "principal_arn": job.principal_arn,
                "account_id": job.account_id,
                "region": job.region,
                "status": job.status,
                "error": None if job.error is None else str(job.error),
            }
            for job in jobs
        ]

    def _scope(self, caller: Caller) -> _Scope:
        return self._scopes.setdefault((caller.account_id, caller.region), _Scope())

    def _visible(self, scope: _Scope) -> list[Job]:
        now = self._emulation.now()
        visible = [job for job in scope.jobs if job.started_on > now - _VISIBLE]
        for job in visible:
            job.settle(now)
        return visible

    def _job(self, caller: Caller, job_id: str) -> Job:
        with self._lock:
            for job in self._visible(self._scope(caller)):
                if job.id == job_id:
                    return job
        # The operation's model has no ResourceNotFoundException (facts §1).
        raise invalid(
            "jobId", f"There is no policy generation {job_id} in this account and Region."
        )

    def _known(self, scope: _Scope, token: str | None, principal_arn: str) -> Job | None:
        for job in self._visible(scope):
            if token is not None and job.client_token == token:
                if job.principal_arn != principal_arn:
                    raise AwsError(
                        "ConflictException",
                        "The client token was used with other parameters.",
                        409,
                        resourceId=job.id,
                        resourceType="PolicyGeneration",
                    )
                return job
        return None

    def _check_principal(self, caller: Caller, principal_arn: str) -> None:
        if upstream.account_of(principal_arn) != caller.account_id:
            raise invalid(
                "policyGenerationDetails.principalArn",
                f"The principal {principal_arn} is not in account {caller.account_id}.",
            )
        if upstream.entity(principal_arn, caller.account_id) is None:
            raise invalid(
                "policyGenerationDetails.principalArn",
                f"The principal {principal_arn} does not exist.",
            )

    def _check_window(self, details: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
        if not details:
            return None, None
        if not details["trails"]:
            raise invalid("cloudTrailDetails.trails", "At least one trail is needed.")
        now = self._emulation.now()
        start: datetime = details["startTime"]
        end: datetime = details.get("endTime") or now
        if start >= end:
            raise invalid(
                "cloudTrailDetails.startTime", "The start time must be before the end time."
            )
        if start > now:
            raise invalid("cloudTrailDetails.startTime", "The start time must be in the past.")
        if end - start > _MAX_WINDOW:
            raise invalid(
                "cloudTrailDetails.startTime",
                "The time between start time and end time must be at most 90 days.",
            )
        return start, end

    def _check_quotas(self, caller: Caller, scope: _Scope) -> None:
        now = self._emulation.now()
        for job in scope.jobs:
            job.settle(now)
        if any(job.status == "IN_PROGRESS" for job in scope.jobs):
            raise AwsError(
                "ServiceQuotaExceededException",
                "Concurrent policy generations quota exceeded: 1 at a time in each Region.",
                402,
                resourceId=caller.account_id,
                resourceType="PolicyGeneration",
            )
        quota = self._emulation.settings.quota_per_day
        if quota is None:
            small = caller.region in _SMALL_QUOTA_REGIONS
            quota = _SMALL_QUOTA_PER_DAY if small else _QUOTA_PER_DAY
        today = [job for job in scope.jobs if job.started_on > now - timedelta(days=1)]
        if len(today) >= quota:
            raise AwsError(
                "ServiceQuotaExceededException",
                f"Policy generations per day quota exceeded: {quota} a day.",
                402,
                resourceId=caller.account_id,
                resourceType="PolicyGeneration",
            )

    def _work(self, job: Job) -> None:
        try:
            self._generate(job)
        except JobError as error:
            job.pending_error = error
        except Exception as error:
            logger.exception("policy generation %s", job.id)
            job.pending_error = JobError("SERVICE_ERROR", f"Internal error: {error}")
        job.done = True

    def _generate(self, job: Job) -> None:
        if job.access_role is None or job.start_time is None or job.end_time is None:
            job.services_without_actions = tuple(
                sorted(self._emulation.usage.services(job.principal_arn))
            )
            return
        role = upstream.role_by_arn(job.access_role)
        if role is None or not upstream.service_may_assume(
            role, SERVICE, {"aws:SourceAccount": job.account_id}
        ):
            raise JobError(
                "AUTHORIZATION_ERROR",
                f"Access Analyzer cannot assume the role {job.access_role}: its trust policy must "
                f"allow {SERVICE}. Please fix before trying again.",
            )
        credentials = upstream.assume_as_service(role, "AccessAnalyzerMonitorSession")
        settings = self._emulation.settings
        operations: set[tuple[str, str]] = set()
        for call in self._emulation.trail_reader.calls(
            credentials,
            job.account_id,
            job.trails,
            job.start_time,
            job.end_time,
            max_files=settings.max_files,
            max_bytes=settings.max_bytes,
        ):
            if call.principal_arn == job.principal_arn:
                operations.add((call.event_source, call.event_name))
        actions: set[str] = set()
        unmapped = False
        for source, name in operations:
            found = actions_of(source, name)
            actions.update(found)
            unmapped = unmapped or not found
        actions.discard("iam:PassRole")
        with_actions = {action.partition(":")[0] for action in actions}
        seen = {service_of(source) for source, _ in operations}
        used = self._services_last_accessed(job, credentials)
        job.actions = tuple(sorted(actions))
        job.services_without_actions = tuple(sorted((seen | used) - with_actions))
        job.is_complete = not unmapped

    def _services_last_accessed(
        self, job: Job, credentials: upstream.SessionCredentials
    ) -> set[str]:
        """Return the services used lately, asked of IAM with the access role as AWS does."""
        client = self._emulation.trail_reader.client("iam", credentials, job.region)
        try:
            job_id = client.generate_service_last_accessed_details(Arn=job.principal_arn)["JobId"]
            used: set[str] = set()
            marker: dict[str, str] = {}
            while True:
                page = client.get_service_last_accessed_details(JobId=job_id, **marker)
                if page["JobStatus"] == "IN_PROGRESS":
                    time.sleep(0.05)
                    continue
                used |= {
                    service["ServiceNamespace"]
                    for service in page["ServicesLastAccessed"]
                    if service.get("LastAuthenticated")
                }
                if not page.get("IsTruncated"):
                    return used
                marker = {"Marker": page["Marker"]}
        except (ClientError, BotoCoreError) as error:
            raise JobError(
                "AUTHORIZATION_ERROR",
                "Incorrect permissions assigned to access service last accessed information: "
                f"{error}. Please fix before trying again.",
            ) from error


def _check_access_role(caller: Caller, access_role: str) -> None:
    if upstream.account_of(access_role) != caller.account_id:
        raise invalid(
            "cloudTrailDetails.accessRole",
            f"The access role {access_role} is not in account {caller.account_id}.",
        )


def _trail_properties(trail: TrailRequest) -> dict[str, Any]:
    properties: dict[str, Any] = {"cloudTrailArn": trail.arn}
    if trail.regions:
        properties["regions"] = list(trail.regions)
    if trail.all_regions:
        properties["allRegions"] = True
    return properties


def _summary(job: Job) -> dict[str, Any]:
    summary = {
        "jobId": job.id,
        "principalArn": job.principal_arn,
        "status": job.status,
        "startedOn": job.started_on,
    }
    if job.completed_on is not None:
        summary["completedOn"] = job.completed_on
    return summary


def policies(
    actions: Iterable[str], *, placeholders: bool, services: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return the policy documents, each within the size of a managed policy (facts §2).

    Without placeholders all actions share one statement on "*". With them the actions without ARN
    templates come first, then one statement per template. An action may stand in several.
    """
    by_resource: dict[str, list[str]] = {}
    for action in sorted(actions):
        for resource in (resource_templates(action) if placeholders else ()) or ("*",):
            by_resource.setdefault(resource, []).append(action)
    # "*" sorts before "arn:": it is SupportedServiceSid0.
    groups = [(resource, by_resource[resource]) for resource in sorted(by_resource)]
    groups += [("*", [f"{service}:*"]) for service in sorted(services)]
    documents: list[list[dict[str, Any]]] = [[]]
    sid = 0
    for resource, group in groups:
        for part in _parts(group):
            statement = {
                "Sid": f"SupportedServiceSid{sid}",
                "Effect": "Allow",
                "Action": part[0] if len(part) == 1 else part,
                "Resource": resource,
            }
            sid += 1
            if documents[-1] and _size([*documents[-1], statement]) > _MANAGED_POLICY_CHARS:
                documents.append([])
            documents[-1].append(statement)
    return [
        {"Version": "2012-10-17", "Statement": statements} for statements in documents if statements
    ]


def _parts(actions: list[str]) -> list[list[str]]:
    """Return the actions of one statement, split so that each part fits a policy by itself."""
    room = _MANAGED_POLICY_CHARS - 300
    parts: list[list[str]] = [[]]
    size = 0
    for action in actions:
        if parts[-1] and size + len(action) + 3 > room:
            parts.append([])
            size = 0
        parts[-1].append(action)
        size += len(action) + 3
    return parts


def _size(statements: list[dict[str, Any]]) -> int:
    """Return the size as IAM counts it: white space is free."""
    return len(
        json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    )
