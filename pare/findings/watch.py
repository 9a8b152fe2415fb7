"""What nobody watches: Pare's own findings about its blind spots.

They are worked out anew by each reconcile from what it saw. What could not be read this time says
nothing: neither that a blind spot is there, nor that it is gone.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from pare.arns import region_of
from pare.clock import format_time, parse_time
from pare.findings.archive_rules import ArchiveRule
from pare.findings.compare import access_of
from pare.findings.model import Finding
from pare.findings.state import is_expired
from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from pare.findings.archive_rules import Drift
    from pare.findings.card import CardJson, ExemptionJson
    from pare.findings.terms import FindingTermsJson

# In the place of an analyzer's ARN.
WATCH = "pare:watch"
_ANALYZER = "AWS::AccessAnalyzer::Analyzer"
_ARCHIVE_RULE = "AWS::AccessAnalyzer::ArchiveRule"
_NAMESPACE = uuid.UUID("5f0b2b5e-3c0e-5d0b-8a5d-2f1f6c7f4a11")
# An analyzer is created within minutes; one that takes a day does not work.
LONG_CREATING = timedelta(days=1)
# Rules that a finding names: its values are bounded.
_MOST_NAMED = 20
_OF_RULES = frozenset({"ArchiveRuleHidesPublic", "ArchiveRuleDrift"})


class AnalyzerJson(TypedDict):
    """An analyzer as ListAnalyzers shows it."""

    arn: str
    name: str
    type: str  # ORGANIZATION, ACCOUNT_UNUSED_ACCESS, …
    region: str
    status: str  # ACTIVE, CREATING, DISABLED or FAILED
    status_reason: str | None
    created_at: str
    # Service principal of the AWS service whose it is; None: the account's own.
    managed_by: str | None


class RegionJson(TypedDict):
    """What was seen of a governed Region; ``error``: why it could not be read."""

    region: str
    error: str | None
    analyzers: list[AnalyzerJson]


class SeenJson(TypedDict):
    """What was seen of all governed Regions."""

    partition: str
    regions: list[RegionJson]


class HidingRuleJson(TypedDict):
    """Somebody else's archive rule that could match findings about public access."""

    name: str
    filter: str  # one line
    hidden: int  # public findings archived that it matches


class AppliedJson(TypedDict):
    """What became of the archive rules at one analyzer; ``error``: why nothing is known."""

    analyzer_arn: str
    error: str | None
    drift: Drift
    hiding_public: list[HidingRuleJson]


@dataclass(frozen=True, slots=True)
class Left:
    """What the table has of an analyzer that is no longer there, or is there anew."""

    analyzer_arn: str
    kind: str  # access of its findings
    findings: int  # that were open when it was last there, and no other analyzer has seen since


@dataclass(frozen=True, slots=True)
class Unread:
    """An analyzer whose findings could not be read, or whose rules could not be written."""

    analyzer: AnalyzerJson
    what: str  # "findings", "archive rules", or both
    error: str


@dataclass(frozen=True, slots=True)
class Watch:
    """One look at everything: what is seen, what is not, and the moment."""

    seen: SeenJson
    applied: Sequence[AppliedJson]
    left: Sequence[Left]
    terms: FindingTermsJson
    now: datetime
    unread_analyzers: Sequence[Unread] = ()

    @property
    def unread(self) -> frozenset[str]:
        """The Regions whose analyzers could not be listed."""
        return frozenset(
            region["region"] for region in self.seen["regions"] if region["error"] is not None
        )

    def blind_spots(self, cards: Iterable[CardJson]) -> Iterator[Finding]:
        """Yield what is true now: ``cards`` are those that have exemptions."""
        for region in self.seen["regions"]:
            yield from self._of_region(region)
        yield from self._missing_unused()
        yield from self._deleted()
        yield from self._unread_analyzers()
        for applied in self.applied:
            yield from self._of_rules(applied)
        yield from self._expiring_rules()
        for card in cards:
            yield from self._expiring_exemptions(card)

    def keeps(self, finding: Finding) -> bool:
        """Return whether nothing is known now of what an earlier finding is about."""
        if finding.finding_type in _OF_RULES:
            # Neither is of an analyzer that was not asked, because it does not work.
            read = {each["analyzer_arn"] for each in self.applied if each["error"] is None}
            there = {each["arn"] for each in self.analyzers()}
            if finding.resource in there - read:
                return True
        if finding.finding_type == "AnalyzerUnread":
            return finding.region in self.unread
        if finding.finding_type in {"RegionUnread", "ExemptionExpiring"}:
            return False
        if dict(finding.values).get("kind") == "unused":
            return bool(self.unread)  # it may be in any of them
        return finding.region in self.unread

    def _of_region(self, region: RegionJson) -> Iterator[Finding]:
        name = region["region"]
        if region["error"] is not None:
            values: dict[str, Any] = {"region": name, "error": plain(region["error"], 500)}
            yield self._own("RegionUnread", name, name, self._no_analyzer(name), values)
            return
        active = {each["type"] for each in region["analyzers"] if each["status"] == "ACTIVE"}
        # One that a service manages does not count: its life is the service's to end, and it takes
        # no rules of ours. AWS has them for unused access alone (CreateServiceLinkedAnalyzer).
        if not any(
            each["type"] == "ORGANIZATION" and each["managed_by"] is None
            for each in region["analyzers"]
        ):
            values = {
                "region": name,
                "kind": "external",
                **self._by_settings("creates_external_analyzer"),
            }
            what = f"{name}/external"
            yield self._own("AnalyzerMissing", what, name, self._no_analyzer(name), values)
        for each in region["analyzers"]:
            if each["status"] == "ACTIVE" or each["type"] in active or self._is_new(each):
                continue
            values = {
                "region": name,
                "analyzer": each["name"],
                "kind": access_of(each["type"]) or each["type"],
                "status": each["status"],
                "reason": each["status_reason"] or "",
            }
            yield self._own("AnalyzerNotActive", each["arn"], name, each["arn"], values)

    def _unread_analyzers(self) -> Iterator[Finding]:
        for each in self.unread_analyzers:
            analyzer = each.analyzer
            values = {
                "region": analyzer["region"],
                "analyzer": analyzer["name"],
                "kind": access_of(analyzer["type"]) or analyzer["type"],
                "what": each.what,
                "error": plain(each.error, 500),
            }
            arn = analyzer["arn"]
            yield self._own("AnalyzerUnread", arn, analyzer["region"], arn, values)

    def _is_new(self, analyzer: AnalyzerJson) -> bool:
        age = self.now - parse_time(analyzer["created_at"])
        return analyzer["status"] == "CREATING" and age < LONG_CREATING

    def _missing_unused(self) -> Iterator[Finding]:
        if not self.terms["expects_unused_analyzer"] or self.unread:
            return
        if any(each["type"].endswith("_UNUSED_ACCESS") for each in self.analyzers()):
            return  # one that does not work is said by itself
        home = self.terms["home_region"]
        values = {"region": home, "kind": "unused", **self._by_settings("creates_unused_analyzer")}
        yield self._own("AnalyzerMissing", "unused", home, self._no_analyzer(home), values)

    def _by_settings(self, term: str) -> dict[str, bool]:
        """Return whether the settings create the analyzer; nothing where the terms do not say."""
        known: Any = self.terms
        return {"by_settings": known[term]} if isinstance(known.get(term), bool) else {}

    def _deleted(self) -> Iterator[Finding]:
        """Yield the analyzers that left findings behind.

        That another analyzer is there now does not end it: nobody knows what became of a finding
        until one of them has seen the same access. What none sees again, a person has to look at,
        and archives this.
        """
        for left in self.left:
            region = region_of(left.analyzer_arn)
            values = {
                "region": region,
                "analyzer": left.analyzer_arn.rpartition("/")[2],
                "kind": left.kind,
                "findings": left.findings,
            }
            yield self._own("AnalyzerDeleted", left.analyzer_arn, region, left.analyzer_arn, values)

    def _of_rules(self, applied: AppliedJson) -> Iterator[Finding]:
        arn = applied["analyzer_arn"]
        region, analyzer = region_of(arn), arn.rpartition("/")[2]
        for rule in applied["hiding_public"]:
            values: dict[str, Any] = {
                "region": region,
                "analyzer": analyzer,
                "rule": rule["name"],
                "filter": rule["filter"],
                "hidden": rule["hidden"],
            }
            what = f"{arn}/{rule['name']}"
            yield self._own("ArchiveRuleHidesPublic", what, region, arn, values)
        drift = applied["drift"]
        if drift["changed"] or drift["deleted"]:
            names = {how: drift[how][:_MOST_NAMED] for how in ("changed", "deleted")}
            values = {"region": region, "analyzer": analyzer, **names}
            yield self._own("ArchiveRuleDrift", arn, region, arn, values)

    def _expiring_rules(self) -> Iterator[Finding]:
        home = self.terms["home_region"]
        for each in self.terms["archive_rules"]:
            rule = ArchiveRule.from_json(each)
            if not self._is_ending(rule.expires):
                continue
            values = {
                "what": "archive rule",
                "name": rule.name,
                "reason": rule.reason,
                "owner": rule.owner,
                "expires": rule.expires.isoformat(),
                "ended": rule.expires < self.now.date(),
            }
            arn = f"{self._no_analyzer(home)}/archive-rule/{rule.name_there}"
            finding = self._own("ExemptionExpiring", f"rule/{rule.name}", home, arn, values)
            yield replace(finding, resource_type=_ARCHIVE_RULE)

    def _expiring_exemptions(self, card: CardJson) -> Iterator[Finding]:
        home = self.terms["home_region"]
        for exemption in card["exemptions"]:
            expires = exemption["expires"]
            if expires is None or not self._is_ending(date.fromisoformat(expires[:10])):
                continue
            values = {
                "what": "exemption",
                "name": card["resource"],
                "reason": exemption["reason"],
                "owner": exemption["by"],
                "expires": expires,
                "ended": is_expired(exemption, self.now),
            }
            access = [exemption["principal"], exemption["is_public"], exemption["condition"]]
            exempt = json.dumps(access, sort_keys=True)
            what = f"card/{card['card_id']}/{exemption['finding_type']}/{exempt}"
            finding = self._own("ExemptionExpiring", what, home, card["resource"], values)
            yield replace(
                finding, account_id=card["account_id"], resource_type=card["resource_type"]
            )

    def _is_ending(self, day: date) -> bool:
        return (day - self.now.date()).days <= self.terms["announce_days"]

    def analyzers(self) -> Iterator[AnalyzerJson]:
        """Yield the analyzers of all Regions that could be read."""
        for region in self.seen["regions"]:
            yield from region["analyzers"]

    def _no_analyzer(self, region: str) -> str:
        """Return what stands for the analyzer of a Region where there is none."""
        partition, hub = self.seen["partition"], self.terms["hub_account_id"]
        return f"arn:{partition}:access-analyzer:{region}:{hub}:analyzer"

    def _own(
        self, finding_type: str, what: str, region: str, resource: str, values: Mapping[str, Any]
    ) -> Finding:
        moment = format_time(self.now)
        return Finding(
            finding_id=str(uuid.uuid5(_NAMESPACE, f"{finding_type}/{what}")),
            access="watch",
            finding_type=finding_type,
            status="ACTIVE",
            is_deleted=False,
            account_id=self.terms["hub_account_id"],
            region=region,
            analyzer_arn=WATCH,
            resource=resource,
            resource_type=_ANALYZER,
            created_at=moment,
            updated_at=moment,
            analyzed_at=moment,
            source="pare-watch",
            exposure="none",
            values=tuple(sorted(values.items())),
        )


def differences(
    watch: Watch, current: Iterable[Finding], known: Mapping[str, Finding]
) -> Iterator[Finding]:
    """Yield blind spots that are new, changed or gone; ``known``: what the table has, by id.

    One that somebody archived stays so until it is gone.
    """
    now = format_time(watch.now)
    true_now: set[str] = set()
    for finding in current:
        true_now.add(finding.finding_id)
        before = known.get(finding.finding_id)
        if before is None or before.is_deleted or before.status == "RESOLVED":
            yield finding
        elif before.is_open and before.values != finding.values:
            yield replace(finding, created_at=before.created_at)
    for finding_id, before in sorted(known.items()):
        is_closed = before.is_deleted or before.status == "RESOLVED"
        if not is_closed and finding_id not in true_now and not watch.keeps(before):
            yield replace(before, status="RESOLVED", updated_at=now, analyzed_at=now)


class Sight(NamedTuple):
    """By what two analyzers' findings are about the same access: their ids differ."""

    kind: str
    region: str | None
    account_id: str
    resource: str
    finding_type: str
    principal: tuple[tuple[str, str], ...]
    access_key_id: str | None


def sight(finding: Finding) -> Sight:
    """Return what an analyzer's finding is about.

    External and internal access is seen by the analyzers of its Region, unused access by any.
    """
    return Sight(
        finding.access,
        None if finding.access == "unused" else finding.region,
        finding.account_id,
        finding.resource,
        finding.finding_type,
        finding.principal,
        finding.access_key_id,
    )


def is_about(exemption: ExemptionJson, finding: Finding) -> bool:
    """Return whether a finding of the exemption's card is what the exemption is about.

    As ``pare.findings.state.covers``, but however grave it is: what an exemption archived may have
    grown worse since, and must not stay archived when it ends.
    """
    found = finding.to_json()
    return (
        found["finding_type"], found["principal"], found["is_public"], found["condition"],
    ) == (
        exemption["finding_type"], exemption["principal"], exemption["is_public"],
        exemption["condition"],
    )  # fmt: skip


def opened_again(finding: Finding, now: datetime) -> Finding:
    """Return a finding of Pare's own as open from now on, because its exemption has ended."""
    moment = format_time(now)
    return replace(finding, status="ACTIVE", updated_at=moment, analyzed_at=moment)
