"""What a proposal keeps as it is granted today, because nothing could have shown its use."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pare.policy.catalogue import load_catalogue
from pare.policy.observability import unseen
from pare.policy.observed import PASS_ROLE
from pare.policy.resource_types import load_resource_types

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pare.policy.access import Access
    from pare.policy.evidence import LastAccessedOutcomeJson, ServiceLastAccessedJson
    from pare.policy.observed import Observed

# These pass the roles that stand in a task definition or a launch template: no record names them.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
_BY_TASK_DEFINITION = frozenset({"ecs:RunTask", "ecs:StartTask"})
_BY_LAUNCH_TEMPLATE = frozenset({
    "autoscaling:CreateAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup", "ec2:CreateFleet",
    "ec2:RunInstances",
})  # fmt: skip


class Kept(NamedTuple):
    """Actions granted today to keep though no call was observed, and services left out unknown."""

    last_accessed: frozenset[str] = frozenset()
    not_observable: frozenset[str] = frozenset()
    not_reported: tuple[str, ...] = ()


def what_to_keep(
    today: Access,
    observed: Collection[str],
    refused_only: Collection[str],
    last_accessed: LastAccessedOutcomeJson | None,
    *,
    data_event_sources: Collection[str] | None,
    services_left_out: Collection[str] = (),
) -> Kept:
    """Return what to keep of today's grants besides the observed actions.

    ``data_event_sources`` are the event sources whose data events the logs hold; None: there are no
    logs of ours, and only actions that last accessed information tracks could be seen at all.
    ``services_left_out``: services that the logs do not show at all, by choice of the trail.
    ``refused_only`` actions were asked for and never allowed: IAM counts the attempt, we do not.

    A service without tracked actions is not observable as a whole (facts §3: no permissions
    decision from the absence of tracking information).
    """
    granted = today.grants.actions - set(observed) - set(refused_only)
    invisible = granted if data_event_sources is None else unseen(granted, data_event_sources)
    invisible |= {each for each in granted if each.partition(":")[0] in services_left_out}
    services = last_accessed["services"] if last_accessed else []
    used, not_observable = _in_used_services(services, granted, invisible)
    reported = {service["service"].lower() for service in services}
    unreported = {each for each in invisible if each.partition(":")[0] not in reported}
    shown = {action.partition(":")[0] for action in observed}
    by_name = today.names_service_of() if unreported else set()
    told = {each for each in unreported if each in by_name or each.partition(":")[0] in shown}
    not_observable |= told
    # Nothing records which roles are passed, but calls that pass one are seen.
    used.discard(PASS_ROLE)
    not_observable.discard(PASS_ROLE)
    if PASS_ROLE in granted and (data_event_sources is None or passes_roles(observed)):
        not_observable.add(PASS_ROLE)
    rest = unreported - told - {PASS_ROLE}
    return Kept(
        frozenset(used),
        frozenset(not_observable),
        tuple(sorted({action.partition(":")[0] for action in rest})),
    )


def passes_roles(actions: Iterable[str]) -> bool:
    """Return whether one of the actions may pass a role, as AWS documents their dependencies."""
    resource_types = load_resource_types()
    return any(
        action in _BY_LAUNCH_TEMPLATE or PASS_ROLE in resource_types.dependent_actions(action)
        for action in actions
    )


def roles_are_told(rows: Iterable[Observed]) -> bool:
    """Return whether the roles that these calls pass are among the rows, all of them.

    Where some are not, what was seen passed is no reason to cut the rest.
    """
    rows = list(rows)
    actions = {row.action for row in rows}
    if not _BY_TASK_DEFINITION.isdisjoint(actions):
        return False
    # An instance profile in a request stands for a role that is not known: any is granted then.
    return _BY_LAUNCH_TEMPLATE.isdisjoint(actions) or any(
        row.action == PASS_ROLE and row.resource is None for row in rows
    )


def _in_used_services(
    services: Iterable[ServiceLastAccessedJson],
    granted: frozenset[str] | set[str],
    invisible: Collection[str],
) -> tuple[set[str], set[str]]:
    """Return actions that last accessed information saw, and those that nothing can show."""
    catalogue = load_catalogue()
    used: set[str] = set()
    not_observable: set[str] = set()
    for service in services:
        if not service["last_accessed_at"]:
            continue
        tracked = service["actions"] or {}
        names = {f"{service['service']}:{name}".lower(): at for name, at in tracked.items()}
        for action in catalogue.actions(service["service"]) & granted:
            if action.lower() not in names:
                if action in invisible:
                    not_observable.add(action)
            elif names[action.lower()]:
                used.add(action)
    return used, not_observable
