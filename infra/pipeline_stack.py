"""Joins the parts: EVENT -> WORKFLOW -> LAMBDA -> STORE -> NOTIFY. Read this file first.

Every grant is wired here, so that what a function may do can be read in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_accessanalyzer as accessanalyzer
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from infra.account_workflow import AccountWorkflow
from infra.activity_workflow import ActivityWorkflow
from infra.event_sources import EventSources
from infra.finding_workflow import FindingWorkflow
from infra.inventory_workflow import InventoryWorkflow
from infra.lambda_function import FunctionDefaults, StepFunction, pascal
from infra.member_access import (
    MEMBER_CALLERS,
    access_role_arn_template,
    member_role_arn_template,
)
from infra.nag import WILDCARD, explain
from infra.notification_workflow import NotificationWorkflow
from infra.notifications import Alarms, Dashboard, Topics
from infra.policy_workflow import PolicyWorkflow
from infra.reconcile_workflow import ReconcileWorkflow
from infra.region_stack import external_access_analyzer
from infra.setup import tell_doctor
from infra.storage_stack import BY_ANALYZER, BY_DUE
from pare.findings.archive_rules import PREFIX as OWN_RULES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_stepfunctions as sfn
    from constructs import Construct

    from infra.settings import Settings
    from infra.storage_stack import StorageStack

# folder -> steps; one module, one function, one state each. Timeouts in seconds where 60 are few.
STEPS: Mapping[str, tuple[str, ...]] = {
    "findings": (
        "normalize_finding",
        "enrich_finding",
        "record_finding",
        "archive_finding",
        "notify_preview",
        "record_archiver",
        "start_findings",
    ),
    "notifications": ("collect_news", "compose_message", "settle_message"),
    "reconcile": ("list_analyzers", "apply_archive_rules", "compare_findings", "review_watch"),
    "policies": (
        "resolve_principal",
        "choose_route",
        "start_policy_generation",
        "get_generated_policy",
        "release_lease",
        "get_activity",
        "get_last_accessed",
        "build_policy",
        "check_policy",
        "record_proposal",
        "notify_proposal",
    ),
    "accounts": ("list_principals", "start_proposals"),
    "inventory": (
        "list_accounts",
        "collect_principals",
        "read_last_accessed",
        "classify_principals",
        "build_snapshot",
        "write_report",
        "notify_inventory",
        "compare_inventory",
    ),
    "activity": ("list_logs", "digest_logs", "merge_activity", "count_activity"),
    "runs": ("record_run",),
}
TIMEOUT_SECONDS = {
    "archive_finding": 120,
    "record_archiver": 900,  # of a resource: reads every finding of an analyzer
    "start_findings": 300,
    "collect_news": 900,  # claims up to 5,000 cards
    "compose_message": 300,  # reads up to 5,000 cards
    "settle_message": 900,
    "list_analyzers": 900,  # a Region that never answers costs 45
    "apply_archive_rules": 900,  # findings of a rule that is gone are made active again
    "compare_findings": 900,  # lists every finding of an analyzer
    "review_watch": 900,  # reads every finding and card
    "resolve_principal": 180,  # a call or two for each attached policy
    "choose_route": 180,  # lists up to 100,000 log files
    "get_activity": 300,  # reads a digest a day
    "get_last_accessed": 300,  # generates and polls in one invocation (facts §3)
    "list_principals": 900,
    "start_proposals": 120,
    "list_accounts": 120,  # looks for last month's snapshot
    "collect_principals": 900,
    "read_last_accessed": 900,  # comes back for what did not fit
    "classify_principals": 900,
    "build_snapshot": 900,
    "write_report": 900,
    "notify_inventory": 300,  # reads all rows for the gravest
    "compare_inventory": 900,
    "list_logs": 900,  # each comes back for what did not fit
    "digest_logs": 900,
    "merge_activity": 900,
    "count_activity": 300,
}
# digest_logs is one busy thread: 1,769 MB are one processor, and more memory would not make it
# faster. docs/decisions has what it takes.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
MEMORY_MB = {
    "record_archiver": 1024,
    # 5,000 cards with 20,000 findings are an object of 42 MB, and some 400 MB while it is made.
    "collect_news": 1024,
    "compose_message": 1024,
    "settle_message": 1024,
    "compare_findings": 1024,
    "compare_inventory": 1024,
    "review_watch": 1024,
    "list_principals": 1024,
    "collect_principals": 1024,
    "classify_principals": 1769,
    "build_snapshot": 2048,
    "write_report": 2048,
    "get_activity": 1024,
    "build_policy": 1024,
    "list_logs": 1769,
    "digest_logs": 1769,
    "merge_activity": 1769,
    "count_activity": 1024,
}
# The steps that import the compiled wheels: their code is the other asset (infra/lambda_code.py).
COMPILED_STEPS = frozenset(
    {"digest_logs", "merge_activity", "get_activity", "build_policy", "classify_principals"}
)
# As old as unused access may be for an analyzer (facts §1).
MOST_UNUSED_DAYS = 365
# A lease of Access Analyzer's turn outlives the longest wait for its job by this: for retries.
LEASE_MARGIN_MINUTES = 15
# Partition keys of items in the runs table that are no runs: Access Analyzer's quotas
# (pare.aws.quota_ledger), how long no second policy is proposed, the hour's messages.
LEDGER = "policy-generation"
COOL_DOWN = "policy-cool-down"
BUDGET = "message-budget"


class PipelineStack(cdk.Stack):
    """Bus, rules, workflows, functions, topics, schedule, alarms, dashboard."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        storage: StorageStack,
        code: lambda_.Code,
        activity_code: lambda_.Code,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Pare: findings, policies, inventory, activity",
            **kwargs,
        )
        self.settings = settings
        self.storage = storage
        tell_doctor(self, settings.setup())
        # The import itself rather than a reference, so that explain() can name it.
        self._evidence_arn = storage.export_value(storage.evidence_bucket.bucket_arn)
        self._key_users: set[tuple[str, str]] = set()
        self.topics = Topics(
            self,
            "Topics",
            key=storage.key,
            notifications=settings.notifications,
        )
        self.functions = self._functions(code, activity_code)
        self._grant()
        workflows = self._workflows()
        event_sources = EventSources(
            self,
            "EventSources",
            settings=settings,
            workflows=workflows,
            own_roles=[
                self.functions[step].step_role.role_arn
                for step in ("archive_finding", "apply_archive_rules", "review_watch")
            ],
        )
        self._analyzers()
        dead_letters = {
            "FindingDeadLetters": event_sources.finding_dead_letters,
            "ScheduleDeadLetters": event_sources.schedule_dead_letters,
            "MessageDeadLetters": self.topics.dead_letters,
        }
        Alarms(
            self,
            "Alarms",
            topics=self.topics.alarms,
            workflows=workflows,
            dead_letters=dead_letters,
        )
        Dashboard(
            self,
            "Operations",
            workflows=workflows,
            functions=list(self.functions.values()),
            dead_letters=dead_letters,
            other_regions=settings.other_regions,
            region_dead_letters_name=settings.names.region_dead_letters_name,
        )
        self._outputs(workflows, event_sources)

    # --- EVENT: analyzers -----------------------------------------------------------------------

    def _analyzers(self) -> None:
        """Create the analyzers that the settings want Pare to create in the home Region."""
        settings = self.settings
        if settings.analyzers.create_external_access:
            external_access_analyzer(self)
        if settings.analyzers.paid_unused_access:
            # One of the organization, in one Region: IAM is everywhere the same, and AWS asks for
            # each analyzer. It does not look at what is left out, so that costs nothing.
            left_out = [
                each for each in settings.account_exclusions if each != settings.hub_account_id
            ]
            analyzer = accessanalyzer.CfnAnalyzer
            analyzer(
                self,
                "UnusedAccess",
                type="ORGANIZATION_UNUSED_ACCESS",
                analyzer_configuration=analyzer.AnalyzerConfigurationProperty(
                    unused_access_configuration=analyzer.UnusedAccessConfigurationProperty(
                        unused_access_age=min(settings.inventory.idle_days, MOST_UNUSED_DAYS),
                        analysis_rule=analyzer.AnalysisRuleProperty(
                            exclusions=[analyzer.AnalysisRuleCriteriaProperty(account_ids=left_out)]
                        )
                        if left_out
                        else None,
                    )
                ),
            )

    # --- LAMBDA ---------------------------------------------------------------------------------

    def _functions(
        self, code: lambda_.Code, activity_code: lambda_.Code
    ) -> dict[str, StepFunction]:
        log_retention = _retention(self.settings.log_retention_days)
        defaults = FunctionDefaults(code=code, log_retention=log_retention)
        compiled = FunctionDefaults(code=activity_code, log_retention=log_retention)
        environments = self._environments()
        return {
            step: StepFunction(
                self,
                folder,
                step,
                defaults=compiled if step in COMPILED_STEPS else defaults,
                environment=environments[step],
                timeout=cdk.Duration.seconds(TIMEOUT_SECONDS.get(step, 60)),
                memory_mb=MEMORY_MB.get(step, 512),
            )
            for folder, steps in STEPS.items()
            for step in steps
        }

    def _environments(self) -> dict[str, dict[str, str]]:
        """Return each step's variables; a test compares them with the step's Environment."""
        settings, storage = self.settings, self.storage
        member = {
            "MEMBER_ROLE_ARN_TEMPLATE": member_role_arn_template(settings),
            "MEMBER_EXTERNAL_ID": settings.member_external_id,
        }
        evidence = {"EVIDENCE_BUCKET_NAME": storage.evidence_bucket.bucket_name}
        owners = {"OWNER_TAG_KEYS": ",".join(settings.owner_tag_keys)}
        default_owner = {"DEFAULT_OWNER": settings.notifications.default_owner}
        break_glass = {"BREAK_GLASS_TAG": settings.break_glass_tag}
        runs = {"RUNS_TABLE_NAME": storage.runs_table.table_name}
        findings = {"FINDINGS_TABLE_NAME": storage.findings_table.table_name}
        cards = {"CARDS_TABLE_NAME": storage.cards_table.table_name}
        tell = {
            **runs,
            "PEOPLE_TOPIC_ARN": self.topics.people.topic_arn,
            "MACHINES_TOPIC_ARN": self.topics.machines.topic_arn,
        }
        language = {"LANGUAGE": settings.notifications.language}
        trail_bucket = {"TRAIL_BUCKET_NAME": settings.trail.bucket}
        trail = {
            **trail_bucket,
            "TRAIL_LOG_ROOTS": ",".join(settings.trail.log_roots(settings.organization_id)),
        }
        window = {"WINDOW_DAYS": str(settings.window_days)}
        control_tower = {
            "TRAIL_MADE_BY_CONTROL_TOWER": str(settings.trail.made_by_control_tower).lower()
        }
        generation = settings.policy_generation
        polls = {"POLL_SECONDS": str(generation.poll_seconds)}
        # The first poll comes after three intervals (start_policy_generation).
        max_polls = max(1, -(-generation.max_wait_minutes * 60 // generation.poll_seconds) - 2)
        lease = {"LEASE_MINUTES": str(generation.max_wait_minutes + LEASE_MARGIN_MINUTES)}
        return {
            "normalize_finding": {},
            "enrich_finding": member,
            "record_finding": {**findings, **cards, **runs},
            "archive_finding": {**findings, **cards},
            "notify_preview": {**tell, **language},
            "record_archiver": {**findings, **cards},
            "start_findings": evidence,  # and the workflow it starts, in _workflows
            "collect_news": {**cards, **findings, **runs, **evidence},
            "compose_message": evidence,
            "settle_message": {**cards, **runs, **evidence},
            "list_analyzers": evidence,
            "apply_archive_rules": {**findings, **cards, **evidence},
            "compare_findings": {**findings, **evidence},
            "review_watch": {**findings, **cards, **evidence},
            "resolve_principal": {**member, **evidence, **owners, **default_owner, **break_glass},
            "choose_route": {
                **evidence,
                **runs,
                **trail,
                **control_tower,
                **window,
                **lease,
                "EVIDENCE": settings.evidence,
            },
            "start_policy_generation": {
                **member,
                **runs,
                **control_tower,
                **window,
                **lease,
                **polls,
                "ACCESS_ROLE_ARN_TEMPLATE": access_role_arn_template(settings),
                "TRAIL_ARN": settings.trail.arn,
            },
            "get_generated_policy": {
                **member,
                **evidence,
                **runs,
                **polls,
                "MAX_POLLS": str(max_polls),
            },
            "release_lease": runs,
            "get_activity": {**evidence, **window},
            "get_last_accessed": {**member, **evidence},
            "build_policy": evidence,
            "check_policy": evidence,
            "record_proposal": {
                **evidence,
                **cards,
                "PROPOSALS_TABLE_NAME": storage.proposals_table.table_name,
            },
            "notify_proposal": {**tell, **evidence},
            "list_principals": {**member, **evidence, **break_glass},
            "start_proposals": evidence,  # and the workflow it starts, in _workflows
            "list_accounts": {
                **runs,
                **evidence,
                "ACCOUNT_EXCLUSIONS": ",".join(settings.account_exclusions),
                "TIME_ZONE": settings.schedule.time_zone,
            },
            "collect_principals": {**member, **evidence},
            "read_last_accessed": {
                **member,
                **evidence,
                "CALLS_PER_SECOND": str(settings.inventory.calls_per_second),
            },
            "classify_principals": {
                **evidence,
                "PRINCIPALS_TABLE_NAME": storage.principals_table.table_name,
            },
            "build_snapshot": evidence,
            "write_report": {**evidence, **language},
            "notify_inventory": {
                **tell,
                **evidence,
                **language,
                "CHAT_TOPIC_ARN": self.topics.chat.topic_arn,
                "IDLE_DAYS": str(settings.inventory.idle_days),
                "KEY_MAX_AGE_DAYS": str(settings.inventory.key_max_age_days),
            },
            "list_logs": {
                **evidence,
                **trail,
                "TRAIL_REGION": settings.trail.bucket_region,
            },
            "digest_logs": {**evidence, **trail_bucket},
            "merge_activity": evidence,
            "count_activity": evidence,
            "compare_inventory": {**findings, **evidence},
            "record_run": {**tell, **evidence},
        }

    # --- Grants ---------------------------------------------------------------------------------

    def _grant(self) -> None:
        each, storage = self.functions, self.storage
        for function in each.values():
            if pascal(function.step) in MEMBER_CALLERS:
                self._may_enter_member_accounts(function)
        # Also of accounts that are not the organization's: AWS does not say on which ARN it
        # authorizes that question, and a refusal would look as if nobody knew whose they are.
        each["enrich_finding"].allow("NameAccounts", ["organizations:DescribeAccount"], ["*"])
        explain(
            each["enrich_finding"].step_role,
            WILDCARD,
            "Whoever a finding names, in the organization or not; X-Ray takes no resource.",
            "Resource::*",
        )
        # organizations:ListAccounts takes no resource.
        self._allow_everywhere(each["list_accounts"], "ListAccounts",
                               ["organizations:ListAccounts"])  # fmt: skip
        self._may_use_analyzers()
        # ValidatePolicy and the checks take no resource.
        self._allow_everywhere(
            each["check_policy"],
            "CheckPolicies",
            ["access-analyzer:CheckNoNewAccess", "access-analyzer:ValidatePolicy"],
        )
        self._may_use_findings()
        self._use_table(each["record_proposal"], storage.proposals_table, ["dynamodb:PutItem"])
        self._use_table(each["classify_principals"], storage.principals_table,
                        ["dynamodb:BatchWriteItem"])  # fmt: skip
        self._use_table(each["list_accounts"], storage.runs_table,
                        ["dynamodb:GetItem", "dynamodb:UpdateItem"])  # fmt: skip
        for step in ("notify_preview", "notify_proposal", "notify_inventory", "record_run"):
            self._may_tell(each[step])
        each["notify_inventory"].allow("TellChat", ["sns:Publish"], [self.topics.chat.topic_arn])
        for step in (
            "choose_route", "start_policy_generation", "get_generated_policy", "release_lease",
        ):  # fmt: skip
            self._may_use_runs(each[step], "KeepQuotas",
                               ["dynamodb:GetItem", "dynamodb:UpdateItem"], LEDGER)  # fmt: skip
        self._use_table(each["record_run"], storage.runs_table, ["dynamodb:PutItem"])
        for step, reads, writes in (
            ("resolve_principal", (), ("proposals",)),
            ("get_generated_policy", (), ("proposals",)),
            ("get_activity", ("activity",), ("proposals",)),
            ("get_last_accessed", (), ("proposals",)),
            ("build_policy", ("proposals",), ("proposals",)),
            ("check_policy", ("proposals",), ("proposals",)),
            ("record_proposal", ("proposals",), ()),
            ("notify_proposal", ("proposals",), ()),
            ("list_principals", (), ("runs",)),
            ("start_proposals", ("runs",), ()),
            ("list_accounts", ("inventory",), ("inventory",)),
            ("collect_principals", ("inventory",), ("inventory",)),
            ("read_last_accessed", ("inventory",), ("inventory",)),
            ("classify_principals", ("inventory", "activity"), ("inventory",)),
            ("build_snapshot", ("inventory",), ("inventory",)),
            ("write_report", ("inventory",), ("inventory",)),
            ("notify_inventory", ("inventory",), ()),
            ("compare_inventory", ("inventory",), ("inventory", "findings")),
            ("list_analyzers", (), ("findings",)),
            ("apply_archive_rules", ("findings",), ("findings",)),
            ("compare_findings", (), ("findings",)),
            ("review_watch", ("findings",), ("findings",)),
            ("start_findings", ("findings",), ()),
            ("collect_news", ("notifications",), ("notifications",)),
            ("compose_message", ("notifications",), ()),
            ("settle_message", ("notifications",), ()),
            ("list_logs", ("activity",), ("activity",)),
            ("digest_logs", ("activity",), ("activity",)),
            ("merge_activity", ("activity",), ("activity",)),
            ("count_activity", ("activity",), ("activity",)),
            ("record_run", (), ("runs",)),
        ):
            self._use_evidence(each[step], reads=reads, writes=writes)
        # An account whose step failed left no object, and a day not read yet no digest. S3 says so
        # (404) only to who may list the bucket; to others it says 403, and that would fail the run.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        for step in (
            "choose_route", "get_activity", "list_accounts", "collect_principals",
            "read_last_accessed", "classify_principals", "build_snapshot", "collect_news",
            "apply_archive_rules", *STEPS["activity"],
        ):  # fmt: skip
            each[step].allow("SeeWhatIsMissing", ["s3:ListBucket"], [self._evidence_arn])
        for step in ("choose_route", "list_logs"):
            self._may_list_trail(each[step])
        self._may_read_trail(each["digest_logs"])

    def _may_use_analyzers(self) -> None:
        """Let the steps read and change what the analyzers of every Region have.

        Of archive rules only those that are Pare's by their name.
        """
        # The analyzers of all governed Regions, old and new.
        analyzers = f"arn:{cdk.Aws.PARTITION}:access-analyzer:*:{self.account}:analyzer/*"
        rules = f"{analyzers}/archive-rule/{OWN_RULES}*"
        for step, sid, actions, resource in (
            # Of a finding that is deleted: whether its analyzer is there.
            ("enrich_finding", "ReadFindings", ["GetAnalyzer", "GetFinding"], analyzers),
            ("archive_finding", "ArchiveFindings", ["UpdateFindings"], analyzers),
            ("notify_preview", "ReadPreviews", ["ListAccessPreviewFindings"], analyzers),
            ("apply_archive_rules", "ReadRules", ["ListArchiveRules"], analyzers),
            ("apply_archive_rules", "KeepRules",
             ["CreateArchiveRule", "DeleteArchiveRule", "UpdateArchiveRule"], rules),
            # Of this one AWS takes the analyzer, not the rule (Service Authorization Reference).
            ("apply_archive_rules", "ApplyRules", ["ApplyArchiveRule"], analyzers),
            ("apply_archive_rules", "ReactivateFindings", ["ListFindings", "UpdateFindings"],
             analyzers),
            ("review_watch", "ReactivateFindings", ["ListFindings", "UpdateFindings"], analyzers),
            ("compare_findings", "ReadFindings", ["GetFinding", "ListFindings"], analyzers),
        ):  # fmt: skip
            function = self.functions[step]
            function.allow(sid, [f"access-analyzer:{each}" for each in actions], [resource])
            explain(
                function.step_role,
                WILDCARD,
                "Analyzers of every governed Region, old and new; of rules those with our prefix.",
                f"Resource::{resource}",
            )
        for step in ("list_analyzers", "review_watch"):
            self._allow_everywhere(
                self.functions[step], "ListAnalyzers", ["access-analyzer:ListAnalyzers"]
            )

    def _may_use_findings(self) -> None:
        """Let the steps use the tables of findings and cards, and of their indexes those they ask.

        A transaction needs what its parts need.
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
        """
        storage = self.storage
        get, put = "dynamodb:GetItem", "dynamodb:PutItem"
        get_many, scan = "dynamodb:BatchGetItem", "dynamodb:Scan"
        check = "dynamodb:ConditionCheckItem"
        # step -> of findings, whether by analyzer; of cards, whether those that are due
        of_step: Mapping[str, tuple[list[str], str | None, list[str], str | None]] = {
            "record_finding": ([get, put, check], None, [get, put, check], None),
            "archive_finding": ([get, put], None, [get, put], None),
            "record_archiver": ([get, get_many, put], BY_ANALYZER, [get, put], None),
            "record_proposal": ([], None, [get, put], None),
            "collect_news": ([get_many], None, [get, get_many, put], BY_DUE),
            "settle_message": ([], None, [get, put], None),
            "apply_archive_rules": ([get, get_many, put], None, [get, put], None),
            "compare_findings": ([get], BY_ANALYZER, [], None),
            "compare_inventory": ([scan], BY_ANALYZER, [], None),
            "review_watch": ([get_many, scan], BY_ANALYZER, [get, put, scan], None),
        }
        for step, (of_findings, by_analyzer, of_cards, by_due) in of_step.items():
            function = self.functions[step]
            self._use_table(function, storage.findings_table, of_findings, index=by_analyzer)
            self._use_table(function, storage.cards_table, of_cards, index=by_due)
        self._may_use_runs(self.functions["record_finding"], "KeepCoolDowns",
                           ["dynamodb:UpdateItem"], COOL_DOWN)  # fmt: skip
        self._may_use_runs(self.functions["collect_news"], "KeepBudget",
                           ["dynamodb:GetItem", "dynamodb:UpdateItem"], BUDGET)  # fmt: skip
        self._may_use_runs(self.functions["settle_message"], "GiveBackBudget",
                           ["dynamodb:UpdateItem"], BUDGET)  # fmt: skip

    def _may_list_trail(self, function: StepFunction) -> None:
        trail = self.settings.trail
        function.allow(
            "ListTrail",
            ["s3:ListBucket"],
            [f"arn:{cdk.Aws.PARTITION}:s3:::{trail.bucket}"],
            StringLike={
                "s3:prefix": [f"{root}*" for root in trail.log_roots(self.settings.organization_id)]
            },
        )

    def _may_read_trail(self, function: StepFunction) -> None:
        """Let the function read log files: of the folders CloudTrail/ alone, not its siblings."""
        trail = self.settings.trail
        objects = [
            f"arn:{cdk.Aws.PARTITION}:s3:::{trail.bucket}/{root}*/CloudTrail/*"
            for root in trail.log_roots(self.settings.organization_id)
        ]
        function.allow("ReadTrail", ["s3:GetObject"], objects)
        explain(
            function.step_role,
            WILDCARD,
            "Log files of every account and Region; CloudTrail makes up their names.",
            *(f"Resource::{each}" for each in objects),
        )
        if trail.kms_key_arns:
            function.allow(
                "DecryptTrail",
                ["kms:Decrypt"],
                list(trail.kms_key_arns),
                # In China the name may end in ".cn"; the bucket's Region may be another one.
                StringLike={"kms:ViaService": "s3.*.amazonaws.com*"},
            )

    def _may_enter_member_accounts(self, function: StepFunction) -> None:
        role = self.settings.names.member_role_name
        # Accounts come and go, so the account is open; the organization and the role are not.
        resource = f"arn:{cdk.Aws.PARTITION}:iam::*:role/{role}"
        function.allow(
            "EnterMemberAccounts",
            ["sts:AssumeRole"],
            [resource],
            StringEquals={"aws:ResourceOrgID": self.settings.organization_id},
        )
        explain(
            function.step_role,
            WILDCARD,
            "Accounts come and go; the role's name and the organization are fixed.",
            f"Resource::arn:<AWS::Partition>:iam::*:role/{role}",
        )

    def _allow_everywhere(self, function: StepFunction, sid: str, actions: list[str]) -> None:
        """Let the function call actions for which AWS takes no resource."""
        function.allow(sid, actions, ["*"])
        explain(
            function.step_role,
            WILDCARD,
            f"{', '.join(actions)} and X-Ray's actions take no resource (Service Authorization "
            "Reference).",
            "Resource::*",
        )

    def _use_table(
        self,
        function: StepFunction,
        table: dynamodb.TableV2,
        actions: list[str],
        *,
        index: str | None = None,
    ) -> None:
        if actions:
            function.allow(f"Use{table.node.id}", actions, [table.table_arn])
        if index:
            function.allow(
                f"Query{table.node.id}", ["dynamodb:Query"], [f"{table.table_arn}/index/{index}"]
            )
        self._use_key_of_tables(function)

    def _may_use_runs(
        self, function: StepFunction, sid: str, actions: list[str], kind: str
    ) -> None:
        """Let the function use of the runs table the items of one kind alone."""
        function.allow(
            sid,
            actions,
            [self.storage.runs_table.table_arn],
            **{"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [kind]}},
        )
        self._use_key_of_tables(function)

    def _may_tell(self, function: StepFunction) -> None:
        function.allow(
            "Tell",
            ["sns:Publish"],
            [self.topics.people.topic_arn, self.topics.machines.topic_arn],
        )
        function.allow(
            "ClaimMessages",
            ["dynamodb:DeleteItem", "dynamodb:UpdateItem"],
            [self.storage.runs_table.table_arn],
        )
        self._use_key_of_tables(function)
        self._use_key_of_topics(function)

    def _use_evidence(
        self, function: StepFunction, *, reads: tuple[str, ...], writes: tuple[str, ...]
    ) -> None:
        for action, prefixes in (("s3:GetObject", reads), ("s3:PutObject", writes)):
            for prefix in prefixes:
                objects = f"{self._evidence_arn}/{prefix}/*"
                function.allow(
                    action.replace("s3:", "").replace("Object", prefix.capitalize()),
                    [action],
                    [objects],
                )
        for prefix in sorted({*reads, *writes}):
            explain(
                function.step_role,
                WILDCARD,
                "Objects under one prefix of the evidence bucket, named at run time.",
                f"Resource::{self._evidence_arn}/{prefix}/*",
            )
        self._use_key_of_evidence(function)

    def _use_key_of_tables(self, function: StepFunction) -> None:
        # What AWS asks of whoever uses a table with a customer managed key.
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
        actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey",
                   "kms:ReEncryptFrom", "kms:ReEncryptTo"]  # fmt: skip
        self._use_key(function, "UseKeyOfTables", actions, "dynamodb")

    def _use_key_of_evidence(self, function: StepFunction) -> None:
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
        self._use_key(function, "UseKeyOfEvidence", actions, "s3")

    def _use_key_of_topics(self, function: StepFunction) -> None:
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
        self._use_key(function, "UseKeyOfTopics", actions, "sns")

    def _use_key(self, function: StepFunction, sid: str, actions: list[str], service: str) -> None:
        """Let the function use the one key, once a service and only through that service."""
        if (function.step, sid) not in self._key_users:
            self._key_users.add((function.step, sid))
            function.allow(
                sid,
                actions,
                [self.storage.key.key_arn],
                # In China the name may end in ".cn"; AWS's pages do not say.
                StringLike={"kms:ViaService": f"{service}.{self.region}.amazonaws.com*"},
            )

    # --- WORKFLOW -------------------------------------------------------------------------------

    def _workflows(self) -> dict[str, sfn.StateMachine]:
        each = self.functions
        retention = _retention(self.settings.log_retention_days)
        log_group = logs.LogGroup(
            self,
            "WorkflowLogs",
            retention=retention,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        policy = PolicyWorkflow(
            self,
            "PolicyWorkflow",
            **{step: each[step] for step in STEPS["policies"]},
            record_run_function=each["record_run"],
            terms=self.settings.terms(),
            log_group=log_group,
        )
        account = AccountWorkflow(
            self,
            "AccountWorkflow",
            **{step: each[step] for step in STEPS["accounts"]},
            record_run_function=each["record_run"],
            log_group=log_group,
        )
        policy_arn = policy.workflow.state_machine.state_machine_arn
        each["start_proposals"].allow("StartPolicy", ["states:StartExecution"], [policy_arn])
        each["start_proposals"].add_environment("POLICY_WORKFLOW_ARN", policy_arn)
        finding_terms = self.settings.finding_terms()
        notification = NotificationWorkflow(
            self,
            "NotificationWorkflow",
            **{step: each[step] for step in STEPS["notifications"]},
            record_run_function=each["record_run"],
            terms=finding_terms,
            topics=self.topics,
            key=self.storage.key,
            log_group=log_group,
        )
        finding = FindingWorkflow(
            self,
            "FindingWorkflow",
            **{step: each[step] for step in STEPS["findings"] if step != "start_findings"},
            record_run_function=each["record_run"],
            terms=finding_terms,
            policy_workflow=policy.workflow.state_machine,
            notification_workflow=notification.workflow.state_machine,
            runs_table=self.storage.runs_table,
            key=self.storage.key,
            log_group=log_group,
        )
        finding_arn = finding.workflow.state_machine.state_machine_arn
        each["start_findings"].allow("StartFinding", ["states:StartExecution"], [finding_arn])
        each["start_findings"].add_environment("FINDING_WORKFLOW_ARN", finding_arn)
        reconcile = ReconcileWorkflow(
            self,
            "ReconcileWorkflow",
            **{step: each[step] for step in STEPS["reconcile"]},
            start_findings=each["start_findings"],
            record_run_function=each["record_run"],
            terms=finding_terms,
            log_group=log_group,
        )
        inventory = InventoryWorkflow(
            self,
            "InventoryWorkflow",
            terms=self.settings.inventory_terms(),
            finding_terms=finding_terms,
            start_findings=each["start_findings"],
            **{step: each[step] for step in STEPS["inventory"]},
            record_run_function=each["record_run"],
            log_group=log_group,
        )
        activity = ActivityWorkflow(
            self,
            "ActivityWorkflow",
            **{step: each[step] for step in STEPS["activity"]},
            record_run_function=each["record_run"],
            log_group=log_group,
        )
        self._let_map_read_manifest(inventory, "inventory")
        self._let_map_read_manifest(activity, "activity")
        workflows = {
            "Finding": finding.workflow.state_machine,
            "Notification": notification.workflow.state_machine,
            "Reconcile": reconcile.workflow.state_machine,
            "Policy": policy.workflow.state_machine,
            "Account": account.workflow.state_machine,
            "Inventory": inventory.workflow.state_machine,
            "Activity": activity.workflow.state_machine,
        }
        self._let_executions_be_read(
            "record_run", "ReadHistories", "states:GetExecutionHistory", *workflows.values()
        )
        self._let_executions_be_read(
            "list_accounts", "SeeWhoEnded", "states:DescribeExecution", workflows["Inventory"]
        )
        self._let_executions_be_read(
            "collect_news", "SeeWhoEnded", "states:DescribeExecution", workflows["Notification"]
        )
        return workflows

    def _let_map_read_manifest(
        self, construct: InventoryWorkflow | ActivityWorkflow, prefix: str
    ) -> None:
        role = construct.workflow.role
        objects = f"{self._evidence_arn}/{prefix}/*"
        role.add_to_policy(
            iam.PolicyStatement(sid="ReadManifest", actions=["s3:GetObject"], resources=[objects])
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="DecryptManifest",
                actions=["kms:Decrypt"],
                resources=[self.storage.key.key_arn],
            )
        )
        explain(
            role,
            WILDCARD,
            "The manifest's name is made at run time.",
            f"Resource::{objects}",
        )

    def _let_executions_be_read(
        self, step: str, sid: str, action: str, *machines: sfn.StateMachine
    ) -> None:
        """Let a step read what it asks for of our own executions.

        A policy of its own: it names the state machines, which in turn name the function.
        """
        executions = [
            self.format_arn(
                service="states",
                resource="execution",
                resource_name=f"{machine.state_machine_name}:*",
                arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
            )
            for machine in machines
        ]
        policy = iam.Policy(
            self,
            f"{pascal(step)}ReadsExecutions",
            roles=[self.functions[step].step_role],
            statements=[iam.PolicyStatement(sid=sid, actions=[action], resources=executions)],
        )
        explain(
            policy,
            WILDCARD,
            "Executions of our own state machines; named at run time.",
            *(f"Resource::{execution}" for execution in executions),
        )

    # --- Outputs --------------------------------------------------------------------------------

    def _outputs(
        self, workflows: Mapping[str, sfn.StateMachine], event_sources: EventSources
    ) -> None:
        """Name what a person or the command line looks for."""
        for name, machine in workflows.items():
            cdk.CfnOutput(self, f"{name}WorkflowArn", value=machine.state_machine_arn)
        for name, value in (
            ("HubBusName", event_sources.hub_bus_name),
            ("PeopleTopicArn", self.topics.people.topic_arn),
            ("MachinesTopicArn", self.topics.machines.topic_arn),
            ("ChatTopicArn", self.topics.chat.topic_arn),
            ("EvidenceBucketName", self.storage.evidence_bucket.bucket_name),
            ("FindingsTableName", self.storage.findings_table.table_name),
            ("CardsTableName", self.storage.cards_table.table_name),
            ("PrincipalsTableName", self.storage.principals_table.table_name),
            ("ProposalsTableName", self.storage.proposals_table.table_name),
            ("RunsTableName", self.storage.runs_table.table_name),
            ("FindingDeadLettersUrl", event_sources.finding_dead_letters.queue_url),
            ("ScheduleDeadLettersUrl", event_sources.schedule_dead_letters.queue_url),
            ("MessageDeadLettersUrl", self.topics.dead_letters.queue_url),
        ):
            cdk.CfnOutput(self, name, value=value)


def _retention(days: int) -> logs.RetentionDays:
    """Return CDK's name for a number of days that CloudWatch Logs knows."""
    names = {
        1: "ONE_DAY", 3: "THREE_DAYS", 5: "FIVE_DAYS", 7: "ONE_WEEK", 14: "TWO_WEEKS",
        30: "ONE_MONTH", 60: "TWO_MONTHS", 90: "THREE_MONTHS", 120: "FOUR_MONTHS",
        150: "FIVE_MONTHS", 180: "SIX_MONTHS", 365: "ONE_YEAR", 400: "THIRTEEN_MONTHS",
        545: "EIGHTEEN_MONTHS", 731: "TWO_YEARS", 1096: "THREE_YEARS", 1827: "FIVE_YEARS",
        2192: "SIX_YEARS", 2557: "SEVEN_YEARS", 2922: "EIGHT_YEARS", 3288: "NINE_YEARS",
        3653: "TEN_YEARS",
    }  # fmt: skip
    return logs.RetentionDays[names[days]]
