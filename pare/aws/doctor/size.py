"""Reads what quotas the organization meets, and what a month's cost is reckoned by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.aws.calls import translated
from pare.aws.deployed_inventory import DeployedInventory, Deployment
from pare.aws.tables import from_item, to_item
from pare.data_tables import read_table
from pare.doctor.organization import STACK_SETS
from pare.doctor.size import (
    Known,
    Need,
    Quota,
    fixed_needs,
    global_region,
    judge_cost,
    judge_generations,
    judge_quota,
    quotas,
)
from pare.errors import PareError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pare.aws.doctor.context import Examination
    from pare.doctor.model import Result
    from pare.inventory.model import SnapshotJson

# Nights of log files that the cost is reckoned by.
_NIGHTS = 31
_OF_STACK_SETS = frozenset({"stack_instances", "stack_set_administrators"})


def examine(examination: Examination) -> Iterator[Result]:
    """Yield which quotas carry the organization's size, and what a month costs."""
    setup = examination.setup
    work = [
        (quota, region)
        for quota in quotas()
        if setup.has_stack_set or quota.need not in _OF_STACK_SETS
        for region in (setup.governed_regions if quota.where == "each" else [setup.home_region])
    ]

    def look(about: tuple[Quota, str]) -> Result:
        quota, region = about
        return judge_quota(setup, quota, _need(examination, quota, region))

    examination.say("reading quotas")
    yield from examination.side_by_side("quotas", work, look)
    head, problem = _inventory(examination)
    yield judge_generations(_generations_per_day(setup.home_region), _largest(head))
    examination.say("reckoning a month's cost")
    yield from judge_cost(setup, _known(examination, head), problem)


# --- Quotas ---------------------------------------------------------------------------------------


def _need(examination: Examination, quota: Quota, region: str) -> Need:
    """Return how much of a quota is needed in a Region, and how much AWS gives there."""
    kept_in = global_region(examination.setup) if quota.where == "global" else region
    try:
        count, limit = _counted(examination, quota.need, region)
    except PareError as error:
        return Need(kept_in, None, problem=str(error))
    return Need(kept_in, count, limit if limit is not None else _given(examination, quota, kept_in))


def _given(examination: Examination, quota: Quota, region: str) -> int | None:
    """Return what Service Quotas says is given; None where it does not say: AWS's default."""
    if not quota.service_code or not quota.quota_code:
        return None
    try:
        with translated("servicequotas:GetServiceQuota"):
            answer = examination.client("service-quotas", region).get_service_quota(
                ServiceCode=quota.service_code, QuotaCode=quota.quota_code
            )
    except PareError:
        # A quota that nobody ever asked to be raised is often not there.
        return None
    value = answer["Quota"].get("Value")
    return int(value) if value is not None else None


def _counted(examination: Examination, need: str, region: str) -> tuple[int, int | None]:
    """Return how much is needed, and the limit where the service itself tells it."""
    fixed = fixed_needs()
    counted: dict[str, Callable[[], tuple[int, int | None]]] = {
        "stack_instances": lambda: (len(examination.active_accounts), None),
        "stack_set_administrators": lambda: (_administrators(examination), None),
        "functions_side_by_side": lambda: (
            fixed["functions_side_by_side"],
            _concurrent_executions(examination),
        ),
        "map_children": lambda: (fixed["map_children"], None),
        "rules": lambda: (_rules(examination, region), None),
        "archive_rules": lambda: (_archive_rules(examination, region), None),
        "iam_roles": lambda: _of_account(examination, "Roles"),
        "iam_policies": lambda: _of_account(examination, "Policies"),
        "filter_policies": lambda: (len(examination.setup.emails), None),
    }
    return counted[need]()


def _administrators(examination: Examination) -> int:
    with translated("organizations:ListDelegatedAdministrators"):
        pages = examination.client("organizations").get_paginator("list_delegated_administrators")
        return sum(
            len(page["DelegatedAdministrators"])
            for page in pages.paginate(ServicePrincipal=STACK_SETS.principal)
        )


def _concurrent_executions(examination: Examination) -> int | None:
    """Return what Lambda itself says: of a new account it may be ten."""
    with translated("lambda:GetAccountSettings"):
        answer = examination.client("lambda").get_account_settings()
    limit = answer.get("AccountLimit", {})
    found: int | None = limit.get("UnreservedConcurrentExecutions")
    return found if found is not None else limit.get("ConcurrentExecutions")


def _rules(examination: Examination, region: str) -> int:
    with translated("events:ListRules"):
        pages = examination.client("events", region).get_paginator("list_rules")
        return sum(len(page["Rules"]) for page in pages.paginate())


def _archive_rules(examination: Examination, region: str) -> int:
    analyzers = examination.client("accessanalyzer", region)
    most = 0
    with translated("access-analyzer:ListArchiveRules"):
        for page in analyzers.get_paginator("list_analyzers").paginate():
            for analyzer in page["analyzers"]:
                rules = analyzers.get_paginator("list_archive_rules")
                most = max(
                    most,
                    sum(
                        len(each["archiveRules"])
                        for each in rules.paginate(analyzerName=analyzer["name"])
                    ),
                )
    return most


def _of_account(examination: Examination, what: str) -> tuple[int, int | None]:
    with translated("iam:GetAccountSummary"):
        summary: dict[str, int] = examination.client("iam").get_account_summary()["SummaryMap"]
    return summary.get(what, 0), summary.get(f"{what}Quota")


def _generations_per_day(region: str) -> int:
    table = read_table("access_analyzer_quotas.json", schema_version=1)
    per_day: int = table["policy_generations_per_day_in"].get(
        region, table["policy_generations_per_day"]
    )
    return per_day


# --- A month --------------------------------------------------------------------------------------


def _inventory(examination: Examination) -> tuple[SnapshotJson | None, str]:
    """Return the head of the newest inventory, or why there is none."""
    try:
        return DeployedInventory(_deployment(examination)).head, ""
    except PareError as error:
        return None, str(error)


def _deployment(examination: Examination) -> Deployment:
    return Deployment(examination.session, examination.outputs)


def _largest(head: SnapshotJson | None) -> int | None:
    return max((each["principal_count"] for each in head["accounts"]), default=0) if head else None


def _known(examination: Examination, head: SnapshotJson | None) -> Known:
    return Known(
        accounts=_account_count(examination, head),
        regions=len(examination.setup.governed_regions),
        principals=head["counts"].get("principals", 0) if head else None,
        night_bytes=_night_bytes(examination),
    )


def _account_count(examination: Examination, head: SnapshotJson | None) -> int:
    try:
        return len(examination.looked_at_accounts)
    except PareError:
        return head["account_count"] if head else 1


def _night_bytes(examination: Examination) -> tuple[int, ...]:
    """Return the bytes of log files that the latest nights read; none where nobody can say."""
    table = examination.outputs.get("RunsTableName")
    if not table:
        return ()
    try:
        with translated(f"dynamodb:Query on {table}"):
            found: list[dict[str, Any]] = examination.client("dynamodb").query(
                TableName=table,
                KeyConditionExpression="workflow = :workflow",
                ExpressionAttributeValues=to_item({":workflow": "activity"}),
                ScanIndexForward=False,
                Limit=_NIGHTS,
            )["Items"]
    except PareError:
        return ()
    runs = [from_item(item) for item in found]
    return tuple(
        int(run.get("counts", {}).get("bytes", 0))
        for run in runs
        if run.get("outcome") == "succeeded"
    )
