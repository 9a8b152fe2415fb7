"""What Pare costs in a month, by the size of the organization.

Every line is a count times a price: counts are those of ``pare/data/cost_counts.json``, of the
measured inventory (``pare.inventory.cost``) and of the size that is given; prices are those of
``pare/data/prices.json``, with their date. Free tiers are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pare.data_tables import read_table
from pare.inventory.cost import LOG_BYTES, Measured, project
from pare.message import several

HOURS: Final = 730
DAYS: Final = 30.4
KIB_OF_GIB: Final = 1024
MONTHS_KEPT: Final = 12
_NAMES: Final = {
    "finding": "event",
    "hourly_round": "hourly round",
    "message": "message",
    "proposal": "proposal",
    "reconcile": "daily reconcile",
    "reconcile_analyzer": "analyzer listing",
}


@dataclass(frozen=True, slots=True)
class Size:
    """A month of an organization.

    ``log_gigabytes``: of CloudTrail's log files, unpacked. ``analyzers``: those that the daily
    reconcile asks, one a Region and the unused-access one. ``findings``: events of findings,
    ``messages``: what people were told about, ``proposals``: policies proposed.
    ``log_files_have_key``: the trail encrypts its log files with a KMS key, and its bucket has no
    bucket key: each file that is read asks for the key.
    """

    accounts: int
    principals: int
    analyzers: int
    log_gigabytes: float
    findings: int
    messages: int
    proposals: int
    has_paid_analyzer: bool = False
    log_files_have_key: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill: what it is for, how it was counted, and USD a month."""

    what: str
    counted: str
    usd: float


def prices() -> tuple[dict[str, float], str]:
    """Return the prices in USD, and the day they were looked up: ``2026-11-22``."""
    table = read_table("prices.json", schema_version=1)
    return table["usd"], table["retrieved"]


def typical(accounts: int, *, principals_an_account: int = 200, regions: int = 4) -> Size:
    """Return what an organization of so many accounts is taken to do in a month.

    A guess to begin with, as docs/cost.md says: 3 GB of log files an account, two events of
    findings, one message for each two accounts, and a proposal likewise.
    """
    return Size(
        accounts=accounts,
        principals=accounts * principals_an_account,
        analyzers=regions,
        log_gigabytes=3.0 * accounts,
        findings=2 * accounts,
        messages=max(1, accounts // 2),
        proposals=max(1, accounts // 2),
    )


def month_cost(size: Size) -> list[Line]:
    """Return the lines of a month's bill, in the order in which docs/cost.md has them."""
    usd, _ = prices()
    counts = _counts()
    lines = [
        Line("The key", "1 customer managed key", usd["kms_key_month"]),
        Line(
            "Alarms, metrics, dashboard",
            f"{counts['alarms']} alarms, {counts['metrics']} metrics, 1 dashboard",
            counts["alarms"] * usd["cloudwatch_alarm_month"]
            + counts["metrics"] * usd["cloudwatch_metric_month"]
            + usd["cloudwatch_dashboard_month"],
        ),
        _inventory(size),
        _nights(size, usd, counts),
    ]
    if size.log_files_have_key:
        files = _log_files(size, counts)
        lines.append(
            Line(
                "Decrypting its log files",
                f"some {_rough(files)} requests to the trail's key, one a file",
                files * usd["kms_request"],
            )
        )
    lines += [
        _runs("Findings", {"finding": size.findings}, usd, counts),
        _runs(
            "Looking after findings",
            {
                "hourly_round": HOURS,
                "reconcile": DAYS,
                "reconcile_analyzer": DAYS * size.analyzers,
            },
            usd,
            counts,
        ),
        _messages(size, usd, counts),
        _proposals(size, usd, counts),
        _kept(size, usd, counts),
    ]
    if size.has_paid_analyzer:
        lines.append(
            Line(
                "Unused-access analyzer",
                f"{size.principals:,} roles and users (settings: paid_unused_access)",
                size.principals * usd["unused_access_principal_month"],
            )
        )
    return lines


def total(lines: list[Line]) -> float:
    """Return the sum of a bill in USD."""
    return sum(line.usd for line in lines)


@cache
def _counts() -> dict[str, Any]:
    table: dict[str, Any] = read_table("cost_counts.json", schema_version=1)
    return table


def _inventory(size: Size) -> Line:
    cost = project(
        Measured.read(), size.accounts, size.principals / size.accounts if size.accounts else 0
    )
    counted = (
        f"{size.principals:,} users and roles in {several(size.accounts, 'account')}, "
        f"{cost.transitions:,.0f} transitions, {cost.function_hours:,.1f} function hours"
    )
    return Line("The monthly inventory", counted, cost.total)


def _log_files(size: Size, counts: dict[str, Any]) -> float:
    """Return how many log files CloudTrail delivers in the month."""
    night = counts["night"]
    files: float = size.log_gigabytes * 1e9 / night["stored_ratio"] / night["log_file_bytes"]
    return files


def _rough(number: float) -> str:
    """Return an estimate with three digits that count: ``28,600,000``."""
    return f"{float(f'{number:.3g}'):,.0f}"


def _nights(size: Size, usd: dict[str, float], counts: dict[str, Any]) -> Line:
    """Return the reading of the log files: every account every night, every gigabyte once."""
    night = counts["night"]
    account_nights = DAYS * size.accounts
    seconds = (
        account_nights * night["account_seconds"] + size.log_gigabytes * night["gigabyte_seconds"]
    )
    files = _log_files(size, counts)
    transitions, overhead = _overhead({"night": DAYS, "night_account": account_nights}, usd, counts)
    amount = (
        overhead
        + seconds * night["memory_mb"] / KIB_OF_GIB * usd["lambda_gb_second_arm64"]
        + files * usd["s3_get"]
        + account_nights
        * (
            night["lists"] * usd["s3_put"]
            + night["gets"] * usd["s3_get"]
            + night["puts"] * usd["s3_put"]
            + night["key_requests"] * usd["kms_request"]
        )
    )
    counted = (
        f"{size.log_gigabytes:,.0f} GB unpacked in some {_rough(files)} log files, "
        f"{transitions:,.0f} transitions, {seconds / 3600:,.1f} function hours"
    )
    return Line("Reading CloudTrail every night", counted, amount)


def _messages(size: Size, usd: dict[str, float], counts: dict[str, Any]) -> Line:
    runs = _runs("Messages", {"message": size.messages}, usd, counts)
    mails = size.messages * counts["mails_a_message"]
    # To people, to machines and to the chat.
    sent = size.messages * 3 * usd["sns_publish"] + mails * usd["sns_email"]
    return Line(runs.what, f"{runs.counted}, {several(mails, 'mail')}", runs.usd + sent)


def _proposals(size: Size, usd: dict[str, float], counts: dict[str, Any]) -> Line:
    runs = _runs("Proposals", {"proposal": size.proposals}, usd, counts)
    # One CheckNoNewAccess for each.
    checks = size.proposals * usd["access_analyzer_check"]
    return Line(runs.what, f"{runs.counted}, one custom policy check each", runs.usd + checks)


def _kept(size: Size, usd: dict[str, float], counts: dict[str, Any]) -> Line:
    """Return what storage costs, once Pare has run for a year and more."""
    night, measured = counts["night"], Measured.read()
    digests = night["digest_bytes"] * night["digest_days"] * size.accounts
    event_ids = size.log_gigabytes * 1e9 / night["event_bytes"] * night["event_id_bytes"]
    inventories = measured.stored_bytes / measured.principals * size.principals * MONTHS_KEPT
    objects = (digests + event_ids + inventories) / 1e9
    items = counts["table_item_bytes"] * (size.principals + size.findings * MONTHS_KEPT) / 1e9
    amount = objects * usd["s3_storage_gb_month"] + items * (
        usd["dynamodb_storage_gb_month"] + usd["dynamodb_recovery_gb_month"]
    )
    return Line("What is kept", f"{objects:,.2f} GB of objects, {items:,.2f} GB of items", amount)


def _runs(
    what: str, number: dict[str, float], usd: dict[str, float], counts: dict[str, Any]
) -> Line:
    """Return what runs of workflows cost: their transitions, functions and logs."""
    transitions, amount = _overhead(number, usd, counts)
    gb_seconds = sum(times * counts["gb_seconds"][run] for run, times in number.items())
    named = ", ".join(several(round(times), _NAMES[run]) for run, times in number.items())
    return Line(
        what,
        f"{named}, {transitions:,.0f} transitions",
        amount + gb_seconds * usd["lambda_gb_second_arm64"],
    )


def _overhead(
    number: dict[str, float], usd: dict[str, float], counts: dict[str, Any]
) -> tuple[float, float]:
    """Return the transitions of runs, and what these runs cost beside their functions' seconds."""
    executions = sum(times for run, times in number.items() if run in counts["executions"])
    transitions = executions * counts["start_and_end"] + sum(
        times * counts["transitions"][run] for run, times in number.items()
    )
    invocations = sum(times * counts["invocations"][run] for run, times in number.items())
    logged = invocations * LOG_BYTES + transitions * counts["bytes_logged_a_transition"]
    return transitions, (
        transitions * usd["step_functions_transition"]
        + invocations * usd["lambda_request"]
        + executions * usd["xray_trace"]
        + logged / 1e9 * usd["cloudwatch_logs_gb"]
    )
