"""Service-managed stack sets: their instances are real stacks in the member accounts.

CloudFormation user guide, stacksets-concepts, stacksets-orgs-manage-auto-deployment; API reference,
StackInstance, StackSetOperation, StackSetOperationPreferences, DeploymentTargets. An operation
takes as long as ministack needs for its stacks, one account after another.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.emulator import organization
from local.emulator.member_stacks import MemberStacks, Place, StackContent, StackError
from local.emulator.wire import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from local.emulator.emulation import Emulation

logger = logging.getLogger("pare.stack_sets")

SERVICE = "member.org.stacksets.cloudformation.amazonaws.com"
CURRENT, OUTDATED, INOPERABLE = "CURRENT", "OUTDATED", "INOPERABLE"
RUNNING, SUCCEEDED, FAILED, QUEUED = "RUNNING", "SUCCEEDED", "FAILED", "QUEUED"
PENDING, CANCELLED, SKIPPED = "PENDING", "CANCELLED", "SKIPPED_SUSPENDED_ACCOUNT"
_TOO_MANY_FAILURES = "Cancelled since failure tolerance has exceeded"
_SUSPENDED = "The account is suspended"  # M


@dataclass(slots=True)
class Instance:
    """A stack of a stack set, in one account and Region."""

    place: Place
    organizational_unit_id: str  # of those that were asked for
    stack_name: str
    stack_id: str | None = None
    status: str = OUTDATED
    detailed_status: str = PENDING
    reason: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    last_operation_id: str = ""


@dataclass(frozen=True, slots=True)
class Preferences:
    """How many failures an operation bears in a Region; by default none."""

    failure_tolerance_count: int | None = None
    failure_tolerance_percentage: int | None = None
    as_given: dict[str, Any] = field(default_factory=dict)

    def tolerance(self, accounts: int) -> int:
        """Return the failures borne among so many accounts: a percentage is rounded down."""
        if self.failure_tolerance_count is not None:
            return self.failure_tolerance_count
        return accounts * (self.failure_tolerance_percentage or 0) // 100

    def ordered(self, regions: Iterable[str]) -> list[str]:
        """Return the Regions in RegionOrder, those it leaves out at the end."""
        order = list(self.as_given.get("RegionOrder") or ())
        return sorted(
            regions, key=lambda each: (order.index(each) if each in order else len(order), each)
        )


@dataclass(frozen=True, slots=True)
class Targets:
    """DeploymentTargets: units or the root, and which of their accounts."""

    organizational_unit_ids: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    account_filter: str = "NONE"

    def take(self, account_id: str, *, in_units: bool) -> bool:
        """Return whether an account is one of the targets."""
        listed = account_id in self.accounts
        if self.account_filter == "INTERSECTION":
            return in_units and listed
        if self.account_filter == "DIFFERENCE":
            return in_units and not listed
        if self.account_filter == "UNION":
            return in_units or listed
        return in_units

    def to_api(self) -> dict[str, Any]:
        """Return DeploymentTargets."""
        found: dict[str, Any] = {"OrganizationalUnitIds": list(self.organizational_unit_ids)}
        if self.accounts:
            found["Accounts"] = list(self.accounts)
        if self.account_filter != "NONE":
            found["AccountFilterType"] = self.account_filter
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation did in one account and Region."""

    instance: Instance
    status: str
    reason: str | None


@dataclass(slots=True)
class Operation:
    """One operation on a stack set."""

    operation_id: str
    action: str  # CREATE, UPDATE or DELETE
    created_at: datetime
    preferences: Preferences
    targets: Targets | None
    retain_stacks: bool = False
    status: str = QUEUED
    ended_at: datetime | None = None
    reason: str | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def failures(self) -> int:
        """How many instances failed."""
        return sum(outcome.status == FAILED for outcome in self.outcomes)


@dataclass(slots=True)
class StackSet:
    """A stack set of an organization, in one Region of its management account."""

    management_id: str
    region: str
    name: str
    content: StackContent
    auto_deployment: bool
    retain_on_removal: bool
    managed_execution: bool
    description: str = ""
    unique: str = field(default_factory=lambda: str(uuid.uuid4()))
    # Units, each with its Regions, that a new account of is given its stacks.
    auto_targets: dict[str, set[str]] = field(default_factory=dict)
    instances: dict[Place, Instance] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    # Its operations, one after another.
    worker: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="pare-stack-set")
    )

    @property
    def stack_set_id(self) -> str:
        """NAME:unique id."""
        return f"{self.name}:{self.unique}"

    @property
    def arn(self) -> str:
        """The ARN: in the management account, whoever made it."""
        return (
            f"arn:aws:cloudformation:{self.region}:{self.management_id}:stackset/"
            f"{self.stack_set_id}"
        )

    @property
    def running(self) -> Operation | None:
        """An operation that has not ended."""
        return next((each for each in self.operations if not each.done.is_set()), None)


class StackSets:
    """The stack sets of every organization and what is done with them."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._lock = threading.RLock()
        self._sets: dict[tuple[str, str, str], StackSet] = {}

    def end(self) -> None:
        """Let nothing of what is queued begin."""
        for stack_set in self._sets.values():
            stack_set.worker.shutdown(wait=False, cancel_futures=True)

    def all_in(self, management_id: str, region: str) -> list[StackSet]:
        """Return the stack sets of an organization in a Region, by name."""
        with self._lock:
            return [
                each
                for key, each in sorted(self._sets.items())
                if key[:2] == (management_id, region)
            ]

    def summary(self) -> list[dict[str, Any]]:
        """Return every stack set for the control plane: how many instances are in which status."""
        with self._lock:
            return [
                {
                    "name": each.name,
                    "region": each.region,
                    "instances": dict(Counter(i.status for i in each.instances.values())),
                    "running": each.running is not None,
                }
                for _, each in sorted(self._sets.items())
            ]

    def find(self, management_id: str, region: str, name: str) -> StackSet | None:
        """Return a stack set by its name or id."""
        found = self._sets.get((management_id, region, name.partition(":")[0]))
        return found if found is not None and name in {found.name, found.stack_set_id} else None

    def create(self, stack_set: StackSet) -> None:
        """Add a stack set; it has no instances yet."""
        key = (stack_set.management_id, stack_set.region, stack_set.name)
        with self._lock:
            if key in self._sets:
                raise AwsError(
                    "NameAlreadyExistsException", f"StackSet {stack_set.name} already exists", 409
                )
            self._sets[key] = stack_set

    def remove(self, stack_set: StackSet) -> None:
        """Delete a stack set that has no instances."""
        with self._lock:
            if stack_set.running is not None:
                raise _in_progress(stack_set.running)
            if stack_set.instances:
                raise AwsError("StackSetNotEmptyException", "StackSet is not empty", 409)
            del self._sets[stack_set.management_id, stack_set.region, stack_set.name]
            stack_set.worker.shutdown(wait=False)

    def create_instances(
        self, stack_set: StackSet, operation: Operation, regions: Iterable[str],
        overrides: dict[str, str],
    ) -> None:  # fmt: skip
        """Begin to make the instances of the targets that are lacking, and update the others."""
        targets = _targets(operation)
        regions = operation.preferences.ordered(set(regions))
        self._require_free(stack_set, operation)
        with self._lock:
            if targets.account_filter != "INTERSECTION":
                for unit in targets.organizational_unit_ids:
                    stack_set.auto_targets.setdefault(unit, set()).update(regions)
            chosen = [
                self._instance(stack_set, account_id, unit, region, overrides)
                for region in regions
                for account_id, unit in self._accounts(stack_set, targets)
            ]
            self._start(stack_set, operation, chosen, self._deploy)

    def update(
        self, stack_set: StackSet, operation: Operation, regions: Iterable[str],
        content: StackContent | None = None, overrides: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Begin to update the instances of the targets, of all where none are given.

        With a new content every instance is out of date until it is its turn.
        """
        self._require_free(stack_set, operation)
        with self._lock:
            if content is not None and content != stack_set.content:
                stack_set.content = content
                for each in stack_set.instances.values():
                    each.status = OUTDATED if each.status == CURRENT else each.status
            chosen = [
                each
                for each in self._chosen(stack_set, operation, set(regions))
                if each.status != INOPERABLE
            ]
            for each in chosen:
                if overrides is not None:
                    each.overrides = overrides
            self._start(stack_set, operation, chosen, self._deploy)

    def delete_instances(
        self, stack_set: StackSet, operation: Operation, regions: Iterable[str]
    ) -> None:
        """Begin to delete the instances of the targets, and their stacks unless they are kept."""
        targets, regions = _targets(operation), set(regions)
        self._require_free(stack_set, operation)
        with self._lock:
            if targets.account_filter == "NONE":
                for unit in targets.organizational_unit_ids:
                    left = stack_set.auto_targets.get(unit, set()) - regions
                    stack_set.auto_targets[unit] = left
                    if not left:
                        del stack_set.auto_targets[unit]
            chosen = self._chosen(stack_set, operation, regions)
            self._start(stack_set, operation, chosen, self._delete)

    def operation(
        self,
        action: str,
        *,
        operation_id: str | None = None,
        preferences: Preferences | None = None,
        targets: Targets | None = None,
        retain_stacks: bool = False,
    ) -> Operation:
        """Return a new operation that has not begun."""
        return Operation(
            operation_id=operation_id or str(uuid.uuid4()),
            action=action,
            created_at=self._emulation.now(),
            preferences=preferences or Preferences(),
            targets=targets,
            retain_stacks=retain_stacks,
        )

    def account_changed(self, account_id: str) -> None:
        """Give an account that came its stacks, and take them from one that left (auto-deployment).

        An account that is suspended keeps what it has.
        """
        with self._lock:
            for stack_set in list(self._sets.values()):
                if stack_set.auto_deployment:
                    self._follow(stack_set, account_id)

    def _follow(self, stack_set: StackSet, account_id: str) -> None:
        member = organization.members(stack_set.management_id).get(account_id)
        if member is not None and member.status == "SUSPENDED":
            return
        wanted = {
            (Place(account_id, region), unit)
            for unit, regions in stack_set.auto_targets.items()
            for region in regions
            if member is not None and unit in member.places
        }
        places = {place for place, _ in wanted}
        lacking = [
            self._instance(stack_set, account_id, unit, place.region, {})
            for place, unit in sorted(wanted, key=lambda each: (each[0].region, each[1]))
            if place not in stack_set.instances
        ]
        left = [
            each
            for place, each in stack_set.instances.items()
            if place.account_id == account_id and place not in places
        ]
        if lacking:
            units = tuple(sorted({each.organizational_unit_id for each in lacking}))
            targets = Targets(units, (account_id,), "INTERSECTION")
            self._start(stack_set, self.operation("CREATE", targets=targets), lacking, self._deploy)
        if left:
            units = tuple(sorted({each.organizational_unit_id for each in left}))
            targets = Targets(units, (account_id,), "INTERSECTION")
            operation = self.operation(
                "DELETE", targets=targets, retain_stacks=stack_set.retain_on_removal
            )
            self._start(stack_set, operation, left, self._delete)

    def _require_free(self, stack_set: StackSet, operation: Operation) -> None:
        if any(each.operation_id == operation.operation_id for each in stack_set.operations):
            raise AwsError(
                "OperationIdAlreadyExistsException",
                f"The operation {operation.operation_id} already exists",
                409,
            )
        if stack_set.running is not None and not stack_set.managed_execution:
            raise _in_progress(stack_set.running)

    def _accounts(self, stack_set: StackSet, targets: Targets) -> list[tuple[str, str]]:
        """Return the accounts of the targets, each with its unit; never the management account.

        Suspended ones are among them: they are skipped, and shown as such.
        """
        found = []
        for account_id, member in organization.members(stack_set.management_id).items():
            unit = next(
                (place for place in member.places if place in targets.organizational_unit_ids), None
            )
            if targets.take(account_id, in_units=unit is not None):
                found.append((account_id, unit or member.places[0]))
        return found

    def _chosen(
        self, stack_set: StackSet, operation: Operation, regions: set[str]
    ) -> list[Instance]:
        targets = operation.targets
        taken = (
            {place.account_id for place in stack_set.instances}
            if targets is None
            else {account_id for account_id, _ in self._accounts(stack_set, targets)}
            | {
                place.account_id
                for place, each in stack_set.instances.items()
                if targets.take(
                    place.account_id,
                    in_units=each.organizational_unit_id in targets.organizational_unit_ids,
                )
            }
        )
        order = operation.preferences.ordered({place.region for place in stack_set.instances})
        return [
            stack_set.instances[place]
            for place in sorted(
                stack_set.instances, key=lambda each: (order.index(each.region), each.account_id)
            )
            if place.account_id in taken and (not regions or place.region in regions)
        ]

    def _instance(
        self,
        stack_set: StackSet,
        account_id: str,
        unit: str,
        region: str,
        overrides: dict[str, str],
    ) -> Instance:
        place = Place(account_id, region)
        found = stack_set.instances.get(place)
        if found is None:
            name = f"StackSet-{stack_set.name}-{uuid.uuid4()}"
            found = stack_set.instances[place] = Instance(place, unit, name)
        if overrides:
            found.overrides = dict(overrides)
        return found

    def _start(
        self,
        stack_set: StackSet,
        operation: Operation,
        instances: list[Instance],
        work: Callable[[StackSet, Operation, Instance], None],
    ) -> None:
        stack_set.operations.append(operation)
        for each in instances:
            each.last_operation_id = operation.operation_id
            each.detailed_status = PENDING
            each.reason = None
        stack_set.worker.submit(self._run, stack_set, operation, instances, work)

    def _run(
        self,
        stack_set: StackSet,
        operation: Operation,
        instances: list[Instance],
        work: Callable[[StackSet, Operation, Instance], None],
    ) -> None:
        operation.status = RUNNING
        for region in dict.fromkeys(each.place.region for each in instances):
            here = [each for each in instances if each.place.region == region]
            borne = operation.preferences.tolerance(len(here))
            failures = 0
            for each in here:
                if failures > borne or operation.status == FAILED:
                    each.detailed_status, each.reason = CANCELLED, _TOO_MANY_FAILURES
                    operation.outcomes.append(Outcome(each, CANCELLED, _TOO_MANY_FAILURES))
                    continue
                failed = not self._one(stack_set, operation, each, work)
                failures += failed
            if failures > borne:
                operation.status = FAILED
        if operation.status == RUNNING:
            operation.status = SUCCEEDED
        operation.ended_at = self._emulation.now()
        operation.done.set()

    def _one(
        self,
        stack_set: StackSet,
        operation: Operation,
        instance: Instance,
        work: Callable[[StackSet, Operation, Instance], None],
    ) -> bool:
        """Return whether the work was done on one instance; a suspended account is skipped."""
        member = organization.members(stack_set.management_id).get(instance.place.account_id)
        suspended = member is not None and member.status == "SUSPENDED"
        if suspended and not operation.retain_stacks:
            instance.detailed_status, instance.reason = SKIPPED, _SUSPENDED
            operation.outcomes.append(Outcome(instance, SUCCEEDED, _SUSPENDED))
            return True
        instance.detailed_status = RUNNING
        try:
            work(stack_set, operation, instance)
        except Exception as error:
            if not isinstance(error, StackError):
                logger.exception("%s of %s", operation.action, instance.place)
            instance.detailed_status, instance.reason = FAILED, str(error)
            instance.status = INOPERABLE if operation.action == "DELETE" else OUTDATED
            operation.outcomes.append(Outcome(instance, FAILED, str(error)))
            return False
        instance.detailed_status, instance.status, instance.reason = SUCCEEDED, CURRENT, None
        operation.outcomes.append(Outcome(instance, SUCCEEDED, None))
        return True

    def _deploy(self, stack_set: StackSet, _: Operation, instance: Instance) -> None:
        content = stack_set.content
        filled = StackContent(
            content.template_body,
            {**content.parameters, **instance.overrides},
            content.tags,
            content.capabilities,
        )
        instance.stack_id = self._stacks().deploy(instance.place, instance.stack_name, filled)

    def _delete(self, stack_set: StackSet, operation: Operation, instance: Instance) -> None:
        if not operation.retain_stacks:
            self._stacks().delete(instance.place, instance.stack_name)
        with self._lock:
            stack_set.instances.pop(instance.place, None)

    def _stacks(self) -> MemberStacks:
        return MemberStacks(self._emulation.loop)


def _targets(operation: Operation) -> Targets:
    if operation.targets is None:
        raise AwsError("ValidationError", "DeploymentTargets is required.", 400)
    return operation.targets


def _in_progress(running: Operation) -> AwsError:
    return AwsError(
        "OperationInProgressException",
        f"Another Operation on StackSet is in progress: {running.operation_id}",
        409,
    )
