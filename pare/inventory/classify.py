"""What to do with one user or role, and why: the row of a snapshot.

Unknown is never unused. A use proven by any source beats a source that is missing; a source that
is missing beats every lack of use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date
from typing import TYPE_CHECKING, Any, cast

from pare.clock import parse_time
from pare.inventory.changes import changes, is_same_principal
from pare.inventory.facts import NO_CREDENTIAL
from pare.inventory.flags import (
    KEPT,
    PROTECTING,
    flags_of_facts,
    flags_of_issues,
    unknown_policies,
)
from pare.inventory.issues import (
    days_since,
    issue,
    issues_of,
    key_idleness,
    password_idleness,
)
from pare.inventory.model import COUNTS, DEFINITION_VERSION
from pare.inventory.plan import is_delete_due, plan_before, planned
from pare.inventory.rules import RULE, UNUSED, all_rules, first_match
from pare.inventory.season import SeasonTerms, months_kept, season
from pare.inventory.uses import KEYS_SINCE, is_within, uses_of
from pare.message import listed, plain
from pare.policy.verdict import Exemption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from pare.inventory.account_activity import ActivityOfAccount
    from pare.inventory.model import (
        ExemptionJson,
        InventoryTermsJson,
        LastAccessedJson,
        LastUseJson,
        PlanJson,
        PrincipalFactsJson,
        PrincipalRowJson,
        ReasonJson,
        RootUserJson,
        SeasonJson,
        Status,
        UsedServiceJson,
    )
    from pare.inventory.rules import Rule
    from pare.inventory.uses import ServiceSeen, Uses

# What a row lists at most of seasonal services and actions; an administrator may have thousands.
MAX_SEASONS = 100
_PRINCIPAL = "principal"
_NOT_READ = "LastAccessedError"


def classify(
    facts: PrincipalFactsJson,
    last_accessed: LastAccessedJson | None,
    activity: ActivityOfAccount | None,
    previous: PrincipalRowJson | None,
    terms: InventoryTermsJson,
    *,
    period: str,
    as_of: datetime,
    is_first: bool = False,
) -> PrincipalRowJson:
    """Return the row of a user or role.

    ``last_accessed`` is None where nobody read it, ``activity`` where the account has no digests,
    ``previous`` where the last inventory did not have the ARN; ``is_first``: there was none of the
    account.
    """
    case = _Case(facts, last_accessed, activity, previous, terms, period, as_of)
    case.judge()
    return case.row(is_first=is_first)


@dataclass(slots=True)
class _Case:
    """One principal, judged step by step."""

    facts: PrincipalFactsJson
    last_accessed: LastAccessedJson | None
    activity: ActivityOfAccount | None
    previous: PrincipalRowJson | None
    terms: InventoryTermsJson
    period: str
    as_of: datetime

    today: date = field(init=False)
    before: PrincipalRowJson | None = field(init=False)  # of the same principal, not a namesake
    uses: Uses = field(init=False)
    status: Status = field(init=False)
    flags: set[str] = field(init=False)
    rule: Rule = field(init=False)
    issues: list[ReasonJson] = field(init=False)
    exemption: ExemptionJson | None = field(init=False)
    expired: ExemptionJson | None = field(init=False)
    seasons: list[SeasonJson] = field(init=False, default_factory=list)
    seasonal: set[str] = field(init=False)  # what they are of, also beyond MAX_SEASONS
    plans: list[PlanJson] = field(init=False, default_factory=list)
    plan: PlanJson | None = field(init=False, default=None)  # of the principal
    # Months with a use by what is known of more than the last one: rows before, and the logs.
    history: set[str] = field(init=False)
    service_history: dict[str, set[str]] = field(init=False)
    unused_names: list[str] = field(init=False, default_factory=list)
    unused_services: int | None = field(init=False, default=None)
    unused_actions: int | None = field(init=False, default=None)
    services: dict[str, UsedServiceJson] = field(init=False, default_factory=dict)

    # --- judging ---

    def judge(self) -> None:
        """Find out status, flags, class and plans."""
        facts, terms = self.facts, self.terms
        self.today = self.as_of.astimezone(UTC).date()
        known = self.previous
        self.before = known if known and known["principal_id"] == facts["principal_id"] else None
        self.uses = uses_of(
            facts, self.last_accessed, self.activity,
            as_of=self.as_of, idle_days=terms["idle_days"], disabled_on=self._disabled_on(),
        )  # fmt: skip
        self.status = _status(facts, self.uses.last, terms, self.as_of)
        self.issues = issues_of(facts, terms, as_of=self.as_of)
        self.exemption, self.expired = _exemptions(facts["principal_arn"], terms, self.today)
        self._find_history()
        self._find_seasons()
        self._find_services()
        self.flags = flags_of_facts(facts, self.status) | flags_of_issues(self.issues)
        if self.uses.services is None:
            self.flags.add("last_accessed_unknown")
        if self.exemption:
            self.flags.add("exempt")
        if any(each["what"] == _PRINCIPAL for each in self.seasons):
            self.flags.add("seasonal")
        if self.status in UNUSED and self.uses.denied:
            # What a resource's own policy lets it do on data may be in no source at all: a person
            # who knows it should say that it is nothing.
            self.flags.add("refused_only")
        if facts["disabled_by"] == NO_CREDENTIAL and not self._was_announced():
            # A credential that the report does not tell of (SSH, CodeCommit, Bedrock) may work.
            self.flags.discard("disabled")
        if self.unused_services is not None and (
            self.unused_services >= max(terms["narrow_unused_services"], 1)
        ):
            self.flags.add("unused_services")
        if self.status in UNUSED and PROTECTING.isdisjoint(self.flags):
            self.plan = self._plan(_PRINCIPAL, is_disabled="disabled" in self.flags)
            if "disabled" in self.flags and is_delete_due(self.plan, self.today):
                self.flags.add("delete_due")
        self.rule = first_match(
            all_rules(terms["rules"]),
            arn=facts["principal_arn"], kind=facts["kind"], status=self.status, flags=self.flags,
        )  # fmt: skip
        if self.plan and self.rule.cls in ("disable", "delete"):
            self.plans = [self.plan]
        elif self.status == "used" and PROTECTING.isdisjoint(self.flags):
            self.plans = self._credential_plans()

    def _was_announced(self) -> bool:
        return plan_before(_PRINCIPAL, self.facts, self.before) is not None

    def _disabled_on(self) -> str | None:
        plan = plan_before(_PRINCIPAL, self.facts, self.before)
        return plan["disabled_on"] if plan else None

    def _plan(self, what: str, *, is_disabled: bool) -> PlanJson:
        return planned(
            what,
            plan_before(what, self.facts, self.before),
            is_disabled=is_disabled,
            is_same_period=self.before is not None and self.before["period"] >= self.period,
            today=self.today,
            terms=self.terms,
        )

    def _credential_plans(self) -> list[PlanJson]:
        """Return the plans of unused keys and passwords of somebody who is used."""
        credentials = self.facts["credentials"]
        if credentials is None:
            return []
        found = []
        for number, key in enumerate(credentials["access_keys"][:2], start=1):
            what = f"access key {number}"
            if key["is_active"]:
                idle = key_idleness(
                    key["created_at"], key["last_used_at"],
                    since=KEYS_SINCE, terms=self.terms, as_of=self.as_of,
                )  # fmt: skip
            else:
                # Switched off by a person; only what was announced has a date.
                is_used = is_within(key["last_used_at"], self.as_of, self.terms["idle_days"])
                is_planned = plan_before(what, self.facts, self.before) is not None
                idle = ("IDLE", 0) if is_planned and not is_used else None
            if idle and not self._is_seasonal(what, key["last_used_at"]):
                found.append(self._plan(what, is_disabled=not key["is_active"]))
        if password_idleness(self.facts, credentials, self.terms, self.as_of) and not (
            self._is_seasonal("password", credentials["password_last_used_at"])
        ):
            found.append(self._plan("password", is_disabled=False))
        return found

    def _is_seasonal(self, what: str, last_used_at: str | None) -> bool:
        if last_used_at is None:
            return False
        found = season(what, [_date(last_used_at)], [], self._season_terms())
        if found:
            self.seasons.append(found)
        return found is not None

    # --- history ---

    def _season_terms(self) -> SeasonTerms:
        days = self.terms["disable_after_days"] + self.terms["delete_after_days"]
        return SeasonTerms(self.today, days, self.terms["seasonal_weeks"])

    def _find_history(self) -> None:
        """Find the months with a use in the rows before and in the logs."""
        did = self.activity.of(self.facts["principal_arn"]) if self.activity else None
        by_service = {name: set(some) for name, some in (did.months if did else {}).items()}
        self.history = {month for some in by_service.values() for month in some}
        by_service.pop("", None)
        if self.before:
            self.history.update(self.before["used_months"])
            for name, months in self.before["used_services_months"].items():
                by_service.setdefault(name, set()).update(months)
        self.service_history = by_service

    def _kept(self, months: Iterable[str]) -> list[str]:
        return months_kept(months, self.today)

    def _used_months(self) -> list[str]:
        """Return the months with a use, this month's evidence included."""
        return self._kept(self.history | {each.at[:7] for each in self.uses.recorded})

    def _used_services_months(self) -> dict[str, list[str]]:
        found = {name: set(months) for name, months in self.service_history.items()}
        for each in (self.uses.services or {}).values():
            found.setdefault(each.service, set()).update(at[:7] for at in _times(each))
        kept = {name: self._kept(months) for name, months in sorted(found.items())}
        return {name: months for name, months in kept.items() if months}

    def _find_seasons(self) -> None:
        """Find why what is unused may be needed again: the principal, its services, actions."""
        terms = self._season_terms()
        if self.status == "idle":
            dates = [_date(each.at) for each in self.uses.recorded]
            found = [season(_PRINCIPAL, dates, self._kept(self.history), terms)]
        else:
            found = []
        for each in (self.uses.services or {}).values():
            if each.is_allowed and not self._is_recent(each.used_at):
                dates = [_date(at) for at in _times(each)]
                months = self._kept(self.service_history.get(each.service, ()))
                found.append(season(each.service, dates, months, terms))
            elif each.unused is not None:
                found += [
                    season(f"{each.service}:{action}", [_date(at)], [], terms)
                    for action, at in sorted(each.actions.items())
                    if not self._is_recent(at)
                ]
        every = [each for each in found if each is not None]
        self.seasonal = {each["what"] for each in every}
        self.seasons = every[:MAX_SEASONS]

    def _find_services(self) -> None:
        """Count what the policies allow and nobody uses, seasons and proven refusals aside."""
        if self.uses.services is None:
            return
        action_counts: list[int] = []
        is_any_used = False
        for each in self.uses.services.values():
            is_used = self._is_recent(each.used_at)
            old = [
                action
                for action, at in each.actions.items()
                if not self._is_recent(at) and f"{each.service}:{action}" not in self.seasonal
            ]
            unused = None if each.unused is None else len(each.unused) + len(old)
            at = each.used_at or each.last_accessed_at
            if at is not None:
                self.services[each.service] = {
                    "last_accessed_at": at,
                    "used_actions": len(each.actions) - (0 if unused is None else len(old)),
                    "unused_actions": unused,
                    "denied_only": each.denied_only,
                }
            is_any_used = is_any_used or is_used
            if is_used and unused is not None:
                action_counts.append(unused)
            is_unused = each.is_allowed and not is_used and not each.denied_only
            if is_unused and each.service not in self.seasonal:
                self.unused_names.append(each.service)
        self.unused_services = len(self.unused_names)
        # IAM tracks the actions of none of the used services: that is unknown, not none.
        self.unused_actions = sum(action_counts) if action_counts or not is_any_used else None

    def _is_recent(self, at: str | None) -> bool:
        return is_within(at, self.as_of, self.terms["idle_days"])

    # --- saying why ---

    def _reasons(self) -> list[ReasonJson]:
        """Return why, the deciding reason first."""
        deciding = self._deciding()
        beside: list[ReasonJson] = []
        last = self.uses.last
        if self.expired:
            beside.append(
                issue("EXEMPTION_EXPIRED", owner=self.expired["owner"],
                      expires=self.expired["expires"])
            )  # fmt: skip
        if self.previous is not None and self.before is None:
            beside.append(issue("RECREATED"))
        if "last_accessed_unknown" in self.flags:
            beside.append(self._last_accessed_unknown())
        if "credentials_unknown" in self.flags:
            beside.append(issue("CREDENTIALS_UNKNOWN"))
        if "policy_unknown" in self.flags:
            beside.append(self._unknown_policies())
        if self.uses.denied:
            beside.append(issue("DENIED_ONLY", services=listed(self.uses.denied)))
        if self.uses.seen_only_in_activity:
            beside.append(issue("SEEN_ONLY_IN_ACTIVITY", what=self.uses.seen_only_in_activity))
        others = [each["what"] for each in self.seasons if each["what"] != _PRINCIPAL]
        # Of one that is seasonal itself, they say nothing more.
        if others and "seasonal" not in self.flags:
            beside.append(issue("SEASONAL_ACTIONS", actions=listed(others)))
        if "aws_owns" not in self.flags:
            if "administrator" in self.flags:
                beside.append(self._administrator())
            elif "wide" in self.flags:
                beside.append(self._wide())
        if "unused_services" in self.flags and self.status == "used":
            beside.append(self._unused())
        if self.rule.code == RULE and last["at"] is not None:
            beside.append(self._used())
        return [deciding, *(each for each in beside if each["code"] != deciding["code"])]

    def _deciding(self) -> ReasonJson:
        if self.rule.code == RULE:
            return issue(RULE, text=plain(self.rule.text))
        make = _DECIDING.get(self.rule.code)
        return make(self) if make else issue(self.rule.code)

    def _used(self) -> ReasonJson:
        last = self.uses.last
        return issue(
            "USED", date=(last["at"] or "")[:10], source=last["source"] or "", what=last["what"]
        )

    def _idle(self) -> ReasonJson:
        last, created = self.uses.last, self.facts["created_at"]
        days = self._idle_days() or 0
        if last["at"] is not None:
            return issue(
                "IDLE", days=days, date=last["at"][:10], source=last["source"] or "",
                what=last["what"],
            )  # fmt: skip
        return issue("IDLE_BEYOND_RECORDS", days=days, created=created[:10])

    def _refused(self) -> ReasonJson:
        # When it was last allowed lies hidden behind the refusals.
        since = (self.uses.last["since"] or "")[:10]
        return issue("IDLE_REFUSED", days=self._idle_days() or 0, date=since)

    def _administrator(self) -> ReasonJson:
        policy = next(each for each in self.facts["wide"] if each["is_administrator"])
        return issue("ADMINISTRATOR", policy=policy["policy"])

    def _wide(self) -> ReasonJson:
        policy = self.facts["wide"][0]["policy"]
        patterns = [each["pattern"] for each in self.facts["wide"] if each["policy"] == policy]
        return issue("WIDE", patterns=listed(patterns), policy=policy)

    def _unused(self) -> ReasonJson:
        services = (self.uses.services or {}).values()
        return issue(
            "UNUSED_SERVICES",
            unused=self.unused_services or 0,
            allowed=sum(1 for each in services if each.is_allowed),
            examples=", ".join(self.unused_names[:3]),
        )

    def _seasonal(self) -> ReasonJson:
        found = next(each for each in self.seasons if each["what"] == _PRINCIPAL)
        return issue(
            "MAY_BE_SEASONAL", used_on=listed(found["used_on"], 3), expected=found["expected"],
            decide_after=found["decide_after"],
        )  # fmt: skip

    def _disabled_and_used(self) -> ReasonJson:
        used = self._used()["values"]
        return issue("DISABLED_AND_USED", how=self.facts["disabled_by"] or "", **used)

    def _last_accessed_unknown(self) -> ReasonJson:
        error = self.last_accessed["error"] if self.last_accessed else None
        return issue("LAST_ACCESSED_UNKNOWN", error=error or _NOT_READ)

    def _outside(self) -> ReasonJson:
        trust = self.facts["trust"]
        accounts = [
            each["account_id"]
            for each in (trust["outside"] if trust else [])
            if not each["external_id"]
        ]
        return issue("OUTSIDE_WITHOUT_EXTERNAL_ID", accounts=listed(accounts))

    def _federated(self) -> ReasonJson:
        trust = self.facts["trust"]
        return issue("FEDERATED_OPEN", providers=listed(trust["federated_open"] if trust else []))

    def _unknown_policies(self) -> ReasonJson:
        return issue("POLICY_UNKNOWN", what=listed(unknown_policies(self.facts)))

    def _disabled(self) -> ReasonJson:
        plan = self.plan
        return issue(
            self.rule.code,
            how=self.facts["disabled_by"] or "",
            disabled_on=(plan and plan["disabled_on"]) or "",
            delete_on=(plan and plan["delete_on"]) or "",
        )

    def _exempt(self) -> ReasonJson:
        found: Any = self.exemption
        return issue("EXEMPT", **found)

    def _idle_days(self) -> int | None:
        """Return the days since the last use, or since one would be known."""
        last = self.uses.last
        if last["at"] is not None:
            is_sure = self.status != "unknown"
            return days_since(last["at"], self.as_of) if is_sure else None
        if last["since"] is None:
            return None
        since = max(last["since"], self.facts["created_at"])
        return max((self.today - _date(since)).days, 0)

    # --- the row ---

    def row(self, *, is_first: bool) -> PrincipalRowJson:
        """Return the row, compared with last month's."""
        row = cast(
            "PrincipalRowJson",
            {
                **self.facts,
                "class": self.rule.cls,
                "definition_version": DEFINITION_VERSION,
                "period": self.period,
                "status": self.status,
                "is_unused": self.status in UNUSED and KEPT.isdisjoint(self.flags),
                "idle_days": self._idle_days(),
                "reasons": self._reasons(),
                "issues": self.issues,
                "last_use": self.uses.last,
                "services": self.services,
                "unused_services": self.unused_services,
                "unused_actions": self.unused_actions,
                "seasons": self.seasons,
                "used_months": self._used_months(),
                "used_services_months": self._used_services_months(),
                "exemption": self.exemption,
                "owner_shown": self.facts["owner"] or self.terms["default_owner"],
                "plans": self.plans,
                "change": None,
                "changes": [],
            },
        )
        if self.previous is None:
            row["change"] = None if is_first else "new"
        elif not is_same_principal(self.previous, row):
            row["change"] = "new"
        elif self.previous["definition_version"] == DEFINITION_VERSION:
            row["changes"] = changes(self.previous, row)
            row["change"] = "changed" if row["changes"] else "same"
        return row


# The values of deciding reasons; those that are not here have none.
_DECIDING: dict[str, Callable[[_Case], ReasonJson]] = {
    "EXEMPT": _Case._exempt,
    "BREAK_GLASS_USED": lambda case: issue(
        "BREAK_GLASS_USED",
        date=(case.uses.last["at"] or "")[:10],
        days=case._idle_days() or 0,
    ),
    "IDENTITY_CENTER_IDLE": lambda case: issue("IDENTITY_CENTER_IDLE", days=case._idle_days() or 0),
    "USE_UNKNOWN": lambda case: issue("USE_UNKNOWN", sources=", ".join(case.uses.last["unknown"])),
    "NEW": lambda case: issue("NEW", days=days_since(case.facts["created_at"], case.as_of)),
    "MAY_BE_SEASONAL": _Case._seasonal,
    "DISABLED_DELETE_DUE": _Case._disabled,
    "DISABLED_WAITING": _Case._disabled,
    "DISABLED_AND_USED": _Case._disabled_and_used,
    "POLICY_UNKNOWN": _Case._unknown_policies,
    "OUTSIDE_WITHOUT_EXTERNAL_ID": _Case._outside,
    "FEDERATED_OPEN": _Case._federated,
    "LAST_ACCESSED_UNKNOWN": _Case._last_accessed_unknown,
    "IDLE_REFUSED": _Case._refused,
    "IDLE": _Case._idle,
    "NEVER_USED": lambda case: issue(
        "NEVER_USED",
        created=case.facts["created_at"][:10],
        days=days_since(case.facts["created_at"], case.as_of),
    ),
    "ADMINISTRATOR": _Case._administrator,
    "WIDE": _Case._wide,
    "UNUSED_SERVICES": _Case._unused,
    "CREDENTIAL_ISSUES": lambda case: issue(
        "CREDENTIAL_ISSUES",
        count=sum(1 for each in case.issues if flags_of_issues([each]) >= {"credential_issue"}),
    ),
    "USED": _Case._used,
}


# --- counts ---------------------------------------------------------------------------------------


def counts_of(
    rows: Iterable[PrincipalRowJson], gone: Iterable[PrincipalRowJson], root: RootUserJson | None
) -> dict[str, int]:
    """Return the counts of an account, every name of COUNTS.

    ``planned`` counts plans; keys count one by one; the others count users and roles.
    """
    counts = dict.fromkeys(COUNTS, 0)
    for row in rows:
        reasons = [reason["code"] for reason in row["reasons"]]
        issues = [each["code"] for each in row["issues"]]
        is_seasonal = any(each["what"] == _PRINCIPAL for each in row["seasons"])
        is_aws = row["kind"] == "service-linked role"
        is_admin = any(each["is_administrator"] for each in row["wide"])
        for name, count in (
            ("principals", 1),
            ("new", row["change"] == "new"),
            ("changed", row["change"] == "changed"),
            (f"status_{row['status'].replace(' ', '_')}", 1),
            (f"class_{row['class']}", 1),
            ("unused_principals", row["is_unused"]),
            ("old_access_keys", issues.count("KEY_OLD")),
            ("idle_access_keys", issues.count("KEY_IDLE") + issues.count("KEY_NEVER_USED")),
            ("users_without_mfa", "NO_MFA" in issues),
            ("administrators", is_admin and not is_aws),
            ("trusts_outside", bool(row["trust"] and row["trust"]["outside"])),
            ("public_trusts", bool({"PUBLIC_TRUST", "FEDERATED_WITHOUT_SUBJECT"} & set(issues))),
            ("exempt", row["exemption"] is not None),
            ("exemptions_expired", "EXEMPTION_EXPIRED" in reasons),
            ("seasonal", is_seasonal),
            ("without_owner", "NO_OWNER" in issues),
            ("last_accessed_unknown", "LAST_ACCESSED_UNKNOWN" in reasons),
            ("planned", len(row["plans"])),
        ):
            counts[name] += int(count)
    counts["gone"] = sum(1 for _ in gone)
    if root is not None:
        counts["root_access_keys"] = sum(1 for key in root["access_keys"] if key["is_active"])
        counts["root_without_mfa"] = int(not root["mfa_active"])
    return counts


# --- parts ----------------------------------------------------------------------------------------


def _status(
    facts: PrincipalFactsJson, last: LastUseJson, terms: InventoryTermsJson, as_of: datetime
) -> Status:
    if is_within(last["at"], as_of, terms["idle_days"]):
        return "used"
    if last["unknown"] or last["since"] is None:
        return "unknown"
    created = parse_time(facts["created_at"])
    # A use that is older than itself cannot be its own.
    if (as_of - created).days < terms["new_days"]:
        return "new"
    if last["at"] is not None:
        return "idle"
    return "never used" if created >= parse_time(last["since"]) else "idle"


def _exemptions(
    arn: str, terms: InventoryTermsJson, today: date
) -> tuple[ExemptionJson | None, ExemptionJson | None]:
    """Return the exemption that holds longest, and where none holds the last one that did."""
    found: list[ExemptionJson] = [
        {"owner": each["owner"], "reason": each["reason"], "expires": each["expires"]}
        for each in terms["exemptions"]
        if Exemption(**each).holds(arn)
    ]
    last = max(found, key=lambda each: each["expires"], default=None)
    if last is None:
        return None, None
    return (last, None) if last["expires"] >= today.isoformat() else (None, last)


def _times(service: ServiceSeen) -> list[str]:
    return sorted({*service.actions.values(), *([service.used_at] if service.used_at else [])})


def _date(at: str) -> date:
    return parse_time(at).date()
