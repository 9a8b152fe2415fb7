"""Faults that can be switched on: for one operation, some calls or all, until they are cleared."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from local.emulator.wire import AwsError

# DynamoDB's refusal of a transaction while another one works on an item of it.
CONFLICT = "conflict"
REQUEST_KINDS = frozenset({"throttle", "server_error", "access_denied", "lost_answer", CONFLICT})
# The call is done, and the caller does not hear of it.
LOST_ANSWER = "lost_answer"
KILL = "kill"
JOB_KINDS = frozenset({"stuck_job", "failed_job"})
_MOST_CALLS_BEFORE_A_KILL = 6
JOB_OPERATIONS = frozenset({"StartPolicyGeneration", "GenerateServiceLastAccessedDetails"})
_S3_ERRORS = {
    "throttle": ("SlowDown", 503),
    "server_error": ("InternalError", 500),
    "lost_answer": ("InternalError", 500),
    "access_denied": ("AccessDenied", 403),
}
JOB_ERROR_CODES = frozenset(
    {
        "AUTHORIZATION_ERROR",
        "RESOURCE_NOT_FOUND_ERROR",
        "SERVICE_QUOTA_EXCEEDED_ERROR",
        "SERVICE_ERROR",
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One switched-on fault. ``count`` None means until it is cleared.

    The operation of ``kill`` is how the names of functions begin; its code is the error that Step
    Functions sees.
    """

    operation: str
    kind: str
    code: str | None = None
    count: int | None = 1
    rate: float = 1.0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fault:
        """Return the fault described; raises ValueError naming what is wrong."""
        unknown = set(data) - {"operation", "kind", "code", "count", "rate"}
        if unknown:
            raise ValueError(f"unknown fault members: {', '.join(sorted(unknown))}")
        fault = cls(
            operation=str(data.get("operation", "")),
            kind=str(data.get("kind", "")),
            code=data.get("code"),
            count=data.get("count", 1),
            rate=float(data.get("rate", 1.0)),
        )
        if not fault.operation:
            raise ValueError("a fault needs an operation, such as StartPolicyGeneration")
        if fault.kind not in REQUEST_KINDS | JOB_KINDS | {KILL}:
            kinds = ", ".join(sorted(REQUEST_KINDS | JOB_KINDS | {KILL}))
            raise ValueError(f"fault kind {fault.kind!r} is not one of {kinds}")
        if fault.kind in JOB_KINDS and fault.operation not in JOB_OPERATIONS:
            raise ValueError(f"{fault.kind} is for {', '.join(sorted(JOB_OPERATIONS))} only")
        if fault.kind == CONFLICT and fault.operation != "TransactWriteItems":
            raise ValueError("conflict is for TransactWriteItems only")
        if fault.operation == "StartPolicyGeneration" and fault.code not in JOB_ERROR_CODES | {
            None
        }:
            raise ValueError(f"job error code must be one of {', '.join(sorted(JOB_ERROR_CODES))}")
        if fault.count is not None and (not isinstance(fault.count, int) or fault.count < 1):
            raise ValueError("fault count must be a number of calls, or null until it is cleared")
        if not 0.0 < fault.rate <= 1.0:
            raise ValueError("fault rate must be above 0 and at most 1")
        return fault

    def to_json(self) -> dict[str, Any]:
        """Return the fault as the control plane takes it."""
        return {
            "operation": self.operation,
            "kind": self.kind,
            "code": self.code,
            "count": self.count,
            "rate": self.rate,
        }


class FaultBook:
    """The faults switched on now. Rates are drawn from a seeded source: same calls, same faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._met: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._random = random.Random(0)

    def add(self, faults: list[Fault]) -> None:
        """Switch faults on, after those already there."""
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._faults.clear()
            self._random.seed(0)

    def met(self) -> dict[str, int]:
        """Return how many calls have met a fault, cleared ones too, by ``operation kind``."""
        with self._lock:
            return dict(sorted(self._met.items()))

    def switched_on(self) -> list[Fault]:
        """Return the faults still switched on."""
        with self._lock:
            return list(self._faults)

    @property
    def active(self) -> bool:
        """Whether any fault is switched on."""
        return bool(self._faults)

    def take(self, operation: str, kinds: frozenset[str]) -> Fault | None:
        """Return the fault this call meets, counted off, or None."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.operation == operation and fault.kind in kinds and self._falls(fault):
                    self._count_off(index)
                    return fault
        return None

    def take_kill(self, function_name: str) -> tuple[Fault, int] | None:
        """Return the kill this invocation meets, with the number of its AWS calls before, or None.

        The number is drawn: an invocation that makes fewer is killed before it answers.
        """
        with self._lock:
            for index, fault in enumerate(self._faults):
                begins = function_name.startswith(fault.operation)
                if fault.kind == KILL and begins and self._falls(fault):
                    self._count_off(index)
                    return fault, self._random.randint(0, _MOST_CALLS_BEFORE_A_KILL)
        return None

    def _falls(self, fault: Fault) -> bool:
        return fault.rate >= 1.0 or self._random.random() < fault.rate

    def _count_off(self, index: int) -> None:
        fault = self._faults[index]
        self._met[f"{fault.operation} {fault.kind}"] += 1
        if fault.count is not None and fault.count <= 1:
            del self._faults[index]
        elif fault.count is not None:
            self._faults[index] = replace(fault, count=fault.count - 1)

    def raise_for(self, operation: str) -> None:
        """Raise the error of the request fault this call meets, named as REST-JSON services do."""
        fault = self.take(operation, REQUEST_KINDS)
        if fault is not None:
            raise error_of(fault, "rest-json")


def conflict(body: bytes) -> AwsError:
    """Return DynamoDB's refusal of a transaction whose first item another one works on.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    count = len(json.loads(body).get("TransactItems", []))
    codes = ["TransactionConflict", *["None"] * (count - 1)]
    reasons = [{"Code": code} for code in codes]
    reasons[0]["Message"] = "Transaction is ongoing for the item"
    return AwsError(
        "TransactionCanceledException",
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        f"[{', '.join(codes)}]",
        400,
        CancellationReasons=reasons,
    )


def error_of(fault: Fault, protocol: str) -> AwsError:
    """Return the error a request fault answers with, as the protocol's services name it."""
    if protocol == "rest-xml":  # S3's own names: API reference, ErrorResponses
        code, status = _S3_ERRORS[fault.kind]
        return AwsError(fault.code or code, "By a switched-on fault", status)
    query = protocol == "query"
    if fault.kind == "throttle":
        members = {"retryAfterSeconds": 1} if protocol == "rest-json" else {}
        code = "Throttling" if query else "ThrottlingException"
        status = 429 if protocol == "rest-json" else 400
        return AwsError(fault.code or code, "Rate exceeded", status, **members)
    if fault.kind in {"server_error", LOST_ANSWER}:
        code = "ServiceFailure" if query else "InternalServerException"
        members = {"retryAfterSeconds": 1} if protocol == "rest-json" else {}
        return AwsError(fault.code or code, "Internal server error", 500, **members)
    code = "AccessDenied" if query else "AccessDeniedException"
    status = 400 if protocol == "json" else 403
    return AwsError(fault.code or code, "Access denied by a switched-on fault", status)
