"""Apply archive rules: what the file says, at one analyzer; and what others' rules could hide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.evidence_store import EvidenceStore
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.clock import format_time
from pare.errors import AccessAnalyzerQuotaError, AwsServiceError, PareError, ThrottledError
from pare.findings.archive_rules import (
    ArchiveRule,
    as_text,
    could_hide_public,
    drift,
    forgotten,
    is_same,
    normal,
    plan,
    reactivated_key,
)
from pare.findings.compare import access_of
from pare.findings.model import Finding
from pare.findings.state import how_ended
from pare.findings.watch import opened_again
from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.archive_rules import ActualRule, AnalyzerKind, Drift, FilterJson, Plan
    from pare.findings.terms import FindingTermsJson
    from pare.findings.watch import AnalyzerJson, HidingRuleJson
    from pare.object_ref import ObjectRef

# Who archived a finding, where the record says that a person meant it (``archived.how``).
BY_PEOPLE = frozenset({"pare findings archive", "exemption", "call"})


class Input(TypedDict):
    analyzer: AnalyzerJson
    terms: FindingTermsJson
    execution: str


class Output(TypedDict):
    """``applied``: an AppliedJson; ``counts`` are of the rules and of findings reactivated.

    What was set ACTIVE lies at ``reactivated_key``, if anything was: also where the step failed.
    """

    applied: ObjectRef | None
    counts: dict[str, int]
    error: str | None


class MemoryJson(TypedDict):
    """What Pare last wrote at an analyzer, and which of it somebody else had changed by then."""

    analyzer_arn: str
    rules: dict[str, FilterJson]  # by name there
    drift: Drift
    execution: str


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str
    cards_table_name: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the result lies. A refusal by AWS is told, and does not stop the comparison."""
    analyzer = event["analyzer"]
    logger.append_keys(analyzer=analyzer["arn"])
    if analyzer["status"] != "ACTIVE":
        reason = f"the analyzer is {analyzer['status']}, so its archive rules were left as they are"
        return {"applied": None, "counts": {}, "error": reason}
    if analyzer["managed_by"] is not None:
        # An analyzer of another service: its rules, and what it shows, are that service's.
        logger.info("left to the service that manages it", service=analyzer["managed_by"])
        return {"applied": None, "counts": {}, "error": None}
    try:
        return At(analyzer, event["terms"], event["execution"]).apply()
    except (AwsServiceError, ThrottledError):
        raise  # the step is tried again
    except PareError as error:
        logger.warning("archive rules not applied", error=str(error))
        return {"applied": None, "counts": {}, "error": plain(str(error), 300)}


@dataclass(frozen=True, slots=True)
class At:
    """One analyzer, and what its rules are to be."""

    analyzer: AnalyzerJson
    terms: FindingTermsJson
    execution: str

    def apply(self) -> Output:
        """Let the analyzer have the rules of the file; return what changed and what hides."""
        name, arn, execution = self.analyzer["name"], self.analyzer["arn"], self.execution
        store = self.store
        # What Pare last wrote here, so that a change by somebody else can be told from one of ours.
        memory: ObjectRef = {
            "bucket": store.bucket,
            "key": f"findings/archive-rules/{self.analyzer['region']}/{name}.json",
        }
        # Before the rules are listed: another run may write both at any time, first the rules.
        remembered: MemoryJson | None = store.get_json(memory) if store.find_bytes(memory) else None
        actual = self.aws.list_archive_rules(name)
        written = remembered["rules"] if remembered else {}
        todo = plan(
            [ArchiveRule.from_json(each) for each in self.terms["archive_rules"]],
            actual,
            kind=self.kind,
            region=self.analyzer["region"],
            today=utc_now().date(),
        )
        # Of what is as the file says, it does not matter who wrote it.
        mended = [*todo.create, *(rule for rule, _ in todo.update)]
        names = written.keys() & {rule.name_there for rule in mended}
        moved = drift({each: written[each] for each in names}, actual)
        if remembered and remembered["execution"] == execution:
            moved = remembered["drift"]  # seen by a try before this one, which put it back
        self._remember(store, memory["key"], written, moved, execution)
        reactivated = 0
        missed = forgotten(written, todo)
        for old in [*todo.delete, *(there for _, there in todo.update), *missed]:
            reactivated += self._reactivate(old, todo)
        for old in todo.delete:
            self.aws.delete_archive_rule(name, old.name)
            # What the rule archived again until it was deleted.
            reactivated += self._reactivate(old, todo)
        for rule, _ in todo.update:
            self.aws.put_archive_rule(name, rule.name_there, normal(rule.filter), exists=True)
        refused = self._create(todo.create)
        ours = [rule for rule in todo.ours if rule not in refused]
        archived = 0
        for rule in ours:
            # Not what was applied before: what somebody set active again since is meant so.
            if rule in mended or not is_same(written.get(rule.name_there, {}), rule.filter):
                archived += self._archive(rule)
        done = {rule.name_there: normal(rule.filter) for rule in ours}
        self._remember(store, memory["key"], done, moved, execution)
        counts = {
            "rules_created": len(todo.create) - len(refused),
            "rules_changed": len(todo.update),
            "rules_deleted": len(todo.delete),
            "rules_of_others": len(todo.foreign),
            "rules_refused": len(refused),
            "findings_archived": archived,
            "findings_reactivated": reactivated,
        }
        logger.info("archive rules applied", counts=counts)
        result = {
            "analyzer_arn": arn,
            "error": None,
            "drift": moved,
            "hiding_public": self._hiding(todo.foreign),
            "foreign": [rule.name for rule in todo.foreign],
            "refused": [rule.name for rule in refused],
        }
        run = execution.rpartition(":")[2]
        key = f"findings/reconcile/{run}/rules/{self.analyzer['region']}/{name}.json"
        error = None
        if refused:
            error = (
                f"the analyzer has as many archive rules as AWS allows, so these were left out: "
                f"{plain(', '.join(rule.name for rule in refused), 300)}"
            )
        return {"applied": store.put_json(key, result), "counts": counts, "error": error}

    def _create(self, rules: Iterable[ArchiveRule]) -> list[ArchiveRule]:
        """Create rules, and return those for which the analyzer has no room."""
        refused: list[ArchiveRule] = []
        for rule in rules:
            criteria = normal(rule.filter)
            try:
                self.aws.put_archive_rule(
                    self.analyzer["name"], rule.name_there, criteria, exists=False
                )
            except AccessAnalyzerQuotaError:
                refused.append(rule)
        return refused

    def _remember(
        self,
        store: EvidenceStore,
        key: str,
        rules: dict[str, FilterJson],
        moved: Drift,
        execution: str,
    ) -> None:
        memory: MemoryJson = {
            "analyzer_arn": self.analyzer["arn"],
            "rules": rules,
            "drift": moved,
            "execution": execution,
        }
        store.put_json(key, memory)

    @property
    def store(self) -> EvidenceStore:
        """Where the memory and what was found lie."""
        return EvidenceStore(client("s3"), environment().evidence_bucket_name)

    @property
    def aws(self) -> AccessAnalyzer:
        """Access Analyzer in the analyzer's Region."""
        return AccessAnalyzer(client("accessanalyzer", self.analyzer["region"]))

    @property
    def kind(self) -> AnalyzerKind:
        """What the analyzer looks for, as the file of rules names it."""
        kind = access_of(self.analyzer["type"])
        if kind == "unused" or kind == "internal":
            return kind
        return "external"

    def _reactivate(self, old: ActualRule, todo: Plan) -> int:
        """Set ACTIVE what only this rule archived, and return how many findings that were.

        Before the rule is deleted or changed: afterwards nobody knows its filter any more. What a
        person archived stays, and so does what another rule would archive.
        """
        ids = self._with_status(old.filter, "ARCHIVED")
        if not ids:
            return 0
        for criteria in [*(r.filter for r in todo.ours), *(r.filter for r in todo.foreign)]:
            if ids:
                ids -= self._with_status(criteria, "ARCHIVED")
        archivers = self._archivers(ids)
        ids -= {each for each, archived in archivers.items() if archived.get("how") in BY_PEOPLE}
        self._note_reactivated(ids)
        gone = self.aws.update_findings(self.analyzer["arn"], ids, "ACTIVE")
        return len(ids) - len(gone)

    def _note_reactivated(self, finding_ids: Iterable[str]) -> None:
        """Add findings to those that Review watch brings in as open.

        Before they are: AWS need not give them a later time when they are, so neither their event
        nor the comparison can be relied on, and a run may break off at any point.
        """
        key = reactivated_key(self.execution, self.analyzer["region"], self.analyzer["name"])
        there: ObjectRef = {"bucket": self.store.bucket, "key": key}
        table = FindingsTable(client("dynamodb"), environment().findings_table_name)
        rows = self.store.get_ndjson_gz(there) if self.store.find_bytes(there) else []
        noted = {row["finding_id"]: row for row in rows}
        for finding_id, item in table.get_many(finding_ids).items():
            finding = Finding.from_json(item["finding"])
            if how_ended(finding) in {None, "ARCHIVED"}:
                noted[finding_id] = opened_again(finding, utc_now()).to_json()
        if noted:
            self.store.put_ndjson_gz(key, [noted[each] for each in sorted(noted)])

    def _archive(self, rule: ArchiveRule) -> int:
        """Archive what there is already that a rule matches, and return how many findings that is.

        Noted in the table first, so that nobody is told of what was archived by us.
        """
        ids = self._with_status(rule.filter, "ACTIVE")
        if not ids:
            return 0
        settings, now = environment(), utc_now()
        table = FindingsTable(client("dynamodb"), settings.findings_table_name)
        cards = CardsTable(client("dynamodb"), settings.cards_table_name)
        how = f"archive rule {rule.name}"
        noted = {
            each for each, archived in self._archivers(ids).items() if archived.get("how") == how
        }
        for finding_id in sorted(ids - noted):
            table.set_archived(
                finding_id,
                {
                    "by": rule.owner,
                    "how": how,
                    "reason": rule.reason,
                    "at": format_time(now),
                    "expires": rule.expires.isoformat(),
                },
                cards=cards,
                now=now,
            )
        self.aws.apply_archive_rule(self.analyzer["arn"], rule.name_there)
        return len(ids)

    def _archivers(self, finding_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return who archived findings, as the table has it, by id; empty where nobody."""
        table = FindingsTable(client("dynamodb"), environment().findings_table_name)
        items = table.get_many(finding_ids)
        return {each: item.get("archived") or {} for each, item in items.items()}

    def _with_status(self, criteria: FilterJson, status: str) -> set[str]:
        """Return the ids of the findings of a status that a filter matches."""
        listed = self.aws.list_findings(
            self.analyzer["arn"], {**normal(criteria), "status": {"eq": [status]}}
        )
        return {each.finding_id for each in listed}

    def _hiding(self, foreign: Iterable[ActualRule]) -> list[HidingRuleJson]:
        """Return others' rules that could hide public access, with how many findings they hide."""
        if self.kind != "external":
            return []
        public: FilterJson = {"isPublic": {"eq": ["true"]}}
        return [
            {
                "name": plain(rule.name, 255),
                "filter": plain(as_text(rule.filter), 500),
                "hidden": len(self._with_status({**rule.filter, **public}, "ARCHIVED")),
            }
            for rule in foreign
            if could_hide_public(rule.filter)
        ]
