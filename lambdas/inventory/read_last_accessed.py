"""Read last accessed: what every user and role of one account used last, one batch of them.

A batch is as many as the function's time allows; the workflow starts the next one while there is
more to read. Jobs are generated and polled in one session, because they belong to it (facts §3).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.last_accessed_jobs import IAM_CONFIG, LastAccessedJobs, Pace
from pare.aws.last_accessed_progress import ProgressStore
from pare.aws.member_account import MemberRole
from pare.errors import (
    ConditionFailedError,
    LastAccessedError,
    MemberAccountError,
    PrincipalNotFoundError,
    ThrottledError,
)
from pare.inventory.last_accessed import compact

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.inventory.list_accounts import AccountItem
    from pare.aws.last_accessed_jobs import EndedJob
    from pare.inventory.model import LastAccessedJson, ProgressJson
    from pare.object_ref import ObjectRef

# Left for a call that began in time (25 s at most), for the last part and for the progress.
MARGIN_SECONDS = 45
# A principal is asked for in this many batches at most.
ATTEMPTS = 3
# So many batches in a row in which no job ends are enough: the account does not answer.
STALLED_BATCHES = 3
# Rows are written in parts of this size: what a function holds, and what it loses when it is ended.
PART_SIZE = 200


class Input(TypedDict):
    item: AccountItem
    collected: ObjectRef


class Output(TypedDict):
    is_done: bool
    read: int
    unknown: int
    left: int


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    evidence_bucket_name: str
    calls_per_second: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return how many principals are read, unknown, and left for the next batch."""
    began = time.monotonic()
    deadline = began + context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    settings = environment()
    account_id = event["item"]["account_id"]
    logger.append_keys(account_id=account_id)
    s3 = client("s3")
    progresses = ProgressStore(
        s3,
        settings.evidence_bucket_name,
        f"{event['item']['work']}/account={account_id}/last_accessed",
    )
    progress = progresses.read()
    if progress is None or progress["left"]:
        batch = _Batch(
            progresses,
            progress
            or _first(EvidenceStore(s3, settings.evidence_bucket_name), event["collected"]),
        )
        try:
            batch.read(settings, account_id, deadline)
            batch.end(began)
            progress = batch.progress
        except ConditionFailedError:
            # The function of a stopped execution and its successor's: the other one's work counts.
            logger.warning("another function reads the same account")
            progress = progresses.read() or batch.progress
    logger.info(
        "last accessed read",
        read=progress["read"],
        unknown=progress["unknown"],
        left=len(progress["left"]),
        calls=progress["calls"],
        throttled=progress["throttled"],
    )
    return {
        "is_done": not progress["left"],
        "read": progress["read"],
        "unknown": progress["unknown"],
        "left": len(progress["left"]),
    }


def _first(store: EvidenceStore, collected: ObjectRef) -> ProgressJson:
    """Return the progress before the first batch: every principal is left."""
    return {
        "parts": [],
        "left": [
            {"principal_arn": arn, "attempts": 0, "error": "", "message": ""}
            for arn in store.get_json(store.get_json(collected)["principals"])
        ],
        "read": 0,
        "unknown": 0,
        "calls": 0,
        "throttled": 0,
        "seconds": 0.0,
        "batches": 0,
        "stalled": 0,
    }


class _Batch:
    """One batch: it takes principals out of the progress's ``left``, and puts some back behind."""

    def __init__(self, progresses: ProgressStore, progress: ProgressJson) -> None:
        self.progress = progress
        self._progresses = progresses
        self._left = {str(each["principal_arn"]): each for each in progress["left"]}
        self._rows: list[LastAccessedJson] = []
        self._ended = self._calls = self._throttled = 0

    def read(self, settings: Environment, account_id: str, deadline: float) -> None:
        """Read until everybody was asked for once, or time is up."""
        if not self._left:
            return
        role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
        try:
            session = role.enter(client("sts"), account_id, session_name="pare-read-last-accessed")
            jobs = LastAccessedJobs(
                session.client("iam", config=IAM_CONFIG),
                account_id,
                # Accounts side by side must not go in step.
                Pace(float(settings.calls_per_second), random.Random()),
                sleep=time.sleep,
                monotonic=time.monotonic,
            )
            self._read(jobs, deadline)
        except MemberAccountError as error:
            self._give_up(type(error).__name__, str(error))

    def _read(self, jobs: LastAccessedJobs, deadline: float) -> None:
        principals = [(arn, int(each["attempts"])) for arn, each in self._left.items()]
        try:
            for ended in jobs.read(principals, deadline=deadline):
                self._ended += 1
                self._take(ended)
                if len(self._rows) == PART_SIZE:
                    # A function that is ended loses no more than a part.
                    self._count(jobs)
                    self._write()
        finally:
            self._count(jobs)

    def _take(self, ended: EndedJob) -> None:
        """Take note of one principal: it has ended, or is tried again behind all others."""
        arn = ended.principal_arn
        attempts = int(self._left.pop(arn)["attempts"]) + 1
        if ended.services is not None:
            self.progress["read"] += 1
            self._rows.append(
                {
                    "principal_arn": arn,
                    "outcome": "COMPLETED",
                    "error": None,
                    "message": "",
                    "attempts": attempts,
                    "generated_at": ended.generated_at,
                    "services": compact(ended.services),
                }
            )
            return
        error, message = type(ended.error).__name__, str(ended.error)
        if attempts >= ATTEMPTS or isinstance(ended.error, PrincipalNotFoundError):
            self._unknown(arn, attempts, error, message)
        else:
            self._left[arn] = {
                "principal_arn": arn,
                "attempts": attempts,
                "error": error,
                "message": message,
            }

    def _unknown(self, arn: str, attempts: int, error: str, message: str) -> None:
        self.progress["unknown"] += 1
        self._rows.append(
            {
                "principal_arn": arn,
                "outcome": "unknown",
                "error": error,
                "message": message,
                "attempts": attempts,
                "generated_at": None,
                "services": None,
            }
        )

    def _give_up(self, error: str, message: str) -> None:
        """Let all that are left be unknown; what was wrong with one before says more."""
        for arn, each in self._left.items():
            self._unknown(
                arn,
                int(each["attempts"]),
                str(each["error"] or error),
                str(each["message"] or message),
            )
        self._left = {}

    def _count(self, jobs: LastAccessedJobs) -> None:
        self.progress["calls"] += jobs.calls - self._calls
        self.progress["throttled"] += jobs.throttled - self._throttled
        self._calls, self._throttled = jobs.calls, jobs.throttled

    def _write(self) -> None:
        parts = self.progress["parts"]
        first = self.progress["read"] + self.progress["unknown"] - len(self._rows)
        for start in range(0, len(self._rows), PART_SIZE):
            part = self._rows[start : start + PART_SIZE]
            parts.append(self._progresses.put_part(len(parts) + 1, first + start, part))
        self._rows = []
        self.progress["left"] = list(self._left.values())
        self._progresses.replace(self.progress)

    def end(self, began: float) -> None:
        """Write the last rows and the progress."""
        progress = self.progress
        progress["stalled"] = 0 if self._ended or not self._left else progress["stalled"] + 1
        if progress["stalled"] >= STALLED_BATCHES:
            error = ThrottledError if self._throttled else LastAccessedError
            self._give_up(
                error.__name__,
                f"no job ended in {STALLED_BATCHES} batches; in the last one IAM throttled "
                f"{self._throttled} of {self._calls} calls",
            )
        progress["batches"] += 1
        progress["seconds"] = round(progress["seconds"] + time.monotonic() - began, 3)
        self._write()
