"""What the size of the organization meets: quotas of AWS, and a month's cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from pare.cost import Size, month_cost, prices, total, typical
from pare.data_tables import read_table
from pare.doctor.commands import own_right
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.message import plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.doctor.setup import Setup

# Of a month of log files, by how many nights at least it is reckoned.
FEWEST_NIGHTS: Final = 7
DAYS_A_MONTH: Final = 30.4


@dataclass(frozen=True, slots=True)
class Quota:
    """A row of ``pare/data/doctor_quotas.json``; ``where`` is home, each (Region) or global."""

    name: str
    need: str
    service_code: str | None
    quota_code: str | None
    default: int
    default_in: dict[str, int]
    where: str
    what: str
    url: str

    def default_of(self, region: str) -> int:
        """Return AWS's default in a Region."""
        return self.default_in.get(region, self.default)


@dataclass(frozen=True, slots=True)
class Need:
    """How much of a quota is needed in a Region, and how much AWS gives; None: not known."""

    region: str
    count: int | None
    limit: int | None = None
    problem: str = ""


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = read_table("doctor_quotas.json", schema_version=1)
    return table


def quotas() -> tuple[Quota, ...]:
    """Return the quotas that an organization can meet."""
    return tuple(
        Quota(
            name=each["quota"],
            need=each["need"],
            service_code=each["service_code"],
            quota_code=each["quota_code"],
            default=each["default"],
            default_in=each.get("default_in", {}),
            where=each["where"],
            what=each["what"],
            url=each["url"],
        )
        for each in _table()["quotas"]
    )


def fixed_needs() -> dict[str, int]:
    """Return the needs that are the same for every organization: Pare's own bounds."""
    needs: dict[str, int] = _table()["needs"]
    return needs


def global_region(setup: Setup) -> str:
    """Return the Region in which the quotas of IAM are kept."""
    regions: dict[str, str] = _table()["global_region_of"]
    return regions.get(setup.partition, setup.home_region)


def judge_quota(setup: Setup, quota: Quota, need: Need) -> Result:
    """Judge whether a quota carries what is needed of it."""
    check = "size.quotas"
    subject = f"{quota.name} ({need.region})" if quota.where == "each" else quota.name
    if need.count is None:
        return cannot_tell(
            check,
            subject,
            f"How much is needed is not known: {sentence(plain(need.problem, 300))}",
            own_right(setup, need.problem)
            or Mend(where="hub", commands=("pare doctor --only size",),
                    text="The message is AWS's own: it may pass by itself."),
        )  # fmt: skip
    limit = need.limit if need.limit is not None else quota.default_of(need.region)
    whose = "" if need.limit is not None else ", AWS's default"
    said = f"{need.count:,} of {limit:,}{whose}"
    if need.count <= limit * _table()["near"]:
        return ok(check, subject, said, need=need.count, limit=limit)
    state = "is nearly used up" if need.count <= limit else "is too small"
    return missing(
        check,
        subject,
        f"The quota {state}: {said} ({quota.what}).",
        _raise(quota, need, limit),
        need=need.count,
        limit=limit,
    )


def _raise(quota: Quota, need: Need, limit: int) -> Mend:
    if not quota.service_code or not quota.quota_code:
        return Mend(
            where="you", text=f"AWS raises it on request at Support, or not at all: {quota.url}"
        )
    wanted = max(2 * limit, 2 * (need.count or 0))
    return Mend(
        where="hub",
        commands=(
            f"aws service-quotas request-service-quota-increase --service-code "
            f"{quota.service_code} --quota-code {quota.quota_code} --desired-value {wanted} "
            f"--region {need.region}",
        ),
        text=f"AWS answers within days. {quota.url}",
    )


def judge_generations(per_day: int, largest: int | None) -> Result:
    """Tell how many policies Access Analyzer generates, which bounds nothing of Pare's.

    ``largest``: principals of the account that has the most; None: no inventory says.
    """
    there = f", in the largest account are {largest:,} users and roles" if largest else ""
    return ok(
        "size.quotas",
        "policy generations",
        f"{per_day:,} a day in an account{there}: Pare's own reading of the trail carries the rest",
        need=largest,
        limit=per_day,
    )


# --- size.cost ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a month; None: guessed, as docs/cost.md does.

    ``night_bytes``: of the log files of a night as they lie, gzipped, one number a night that was
    read.
    """

    accounts: int
    regions: int
    principals: int | None = None
    night_bytes: tuple[int, ...] = ()


def size_of(known: Known, *, has_paid_analyzer: bool) -> tuple[Size, list[str]]:
    """Return the month's size, and what of it is guessed."""
    size = typical(known.accounts, regions=known.regions + has_paid_analyzer)
    size = replace(size, has_paid_analyzer=has_paid_analyzer)
    guessed = []
    if known.principals is None:
        guessed.append("users and roles")
    else:
        size = replace(size, principals=known.principals)
    if len(known.night_bytes) < FEWEST_NIGHTS:
        guessed.append("log files")
    else:
        # The median: a backfill reads many days in one night.
        night = median(known.night_bytes) * _stored_ratio()
        size = replace(size, log_gigabytes=night * DAYS_A_MONTH / 1e9)
    guessed.append("findings, messages and proposals")
    return size, guessed


def _stored_ratio() -> float:
    """Return how much larger log files are unpacked, as the cost is reckoned."""
    ratio: float = read_table("cost_counts.json", schema_version=1)["night"]["stored_ratio"]
    return ratio


def judge_cost(setup: Setup, known: Known, problem: str = "") -> Iterator[Result]:
    """Tell what a month costs at this size; without an inventory it is a guess and not told."""
    check = "size.cost"
    size, guessed = size_of(known, has_paid_analyzer=setup.paid_unused_access)
    size = replace(size, log_files_have_key=bool(setup.trail.kms_key_arns))
    lines = month_cost(size)
    amount = total(lines)
    _, as_of = prices()
    months = f"some {amount:,.0f} USD a month" if amount >= 1 else "less than 1 USD a month"
    dearest = max(lines, key=lambda line: line.usd)
    of = (
        f"for {several(size.accounts, 'account')} with {size.principals:,} users and roles; "
        f"most for: {dearest.what.lower()}, {dearest.usd:,.0f} USD. Prices of {as_of}; guessed: "
        f"{', '.join(guessed)} (docs/cost.md)"
    )
    facts: dict[str, Any] = {
        "usd_month": round(amount, 2),
        "prices_of": as_of,
        "guessed": guessed,
        "lines": [
            {"what": line.what, "counted": line.counted, "usd": round(line.usd, 2)}
            for line in lines
        ],
    }
    if known.principals is None:
        why = f": {sentence(plain(problem, 1_000))}" if problem else "."
        lacking = own_right(setup, problem)
        what = "No inventory counts users and roles"
        if lacking:
            what = "The inventory, which counts users and roles, could not be read"
        yield cannot_tell(
            check,
            "",
            f"{what}{why} A guess: {months}, {of}.",
            lacking
            or Mend(where="hub", commands=("pare inventory run --wait",),
                    text="Its end knows how many users and roles there are."),
            **facts,
        )  # fmt: skip
        return
    yield ok(check, "", f"{months}, {of}", **facts)
