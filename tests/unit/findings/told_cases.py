"""One message of each kind, for the golden files and for whatever every message must keep to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.findings.message import card_message, digest_message, preview_message, summary_message
from pare.findings.normalize import normalize
from tests.recorded import FINDINGS, event
from tests.unit.findings.view_builders import (
    NOW,
    PLACE,
    is_open,
    proposal,
    sample,
    told,
    view,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.findings.card import CardViewJson
    from pare.findings.model import Finding
    from pare.findings.preview import PreviewFindingJson, PreviewJson
    from pare.message import Message

LANGUAGES = ("en", "ja")
ROLE = "arn:aws:iam::111122223333:role/app/Deploy"
HEX = "-dcba-4444-dcba-333333333333"


def single(of: CardViewJson, *, perhaps_told: bool = False) -> Callable[[str], Message]:
    return lambda language: card_message(
        of, language=language, place=PLACE, now=NOW, perhaps_told=perhaps_told
    )


def open_to(number: int, account_id: str, **changes: Any) -> Finding:
    """Return a finding of its own about the bucket, open to an account outside."""
    return sample(
        finding_id=f"{number:08d}{HEX}",
        principal=(("AWS", account_id),),
        principal_account_id=account_id,
        **changes,
    )


def public(**changes: Any) -> Finding:
    return sample(**{
        "finding_id": f"33333333{HEX}", "is_public": True, "exposure": "public",
        "principal": (("AWS", "*"),), "principal_account_id": None,
        "actions": ("s3:GetObject", "s3:PutObject"), "access_levels": ("Read", "Write"),
        "created_at": "2026-11-22T08:58:00Z", **changes,
    })  # fmt: skip


def unused(services: int, actions: int, **changes: Any) -> Finding:
    return sample(
        "unused_permission",
        **{
            "unused_service_count": services,
            "unused_action_count": actions,
            "unused_services": ("athena", "glue", "sqs"),
            "created_at": "2026-11-01T03:00:00Z",
            **changes,
        },
    )


def credential(finding_type: str, **changes: Any) -> Finding:
    """Return a finding that the inventory made, of a user or a role."""
    return sample(
        "unused_permission",
        **{
            "finding_type": finding_type,
            "resource": "arn:aws:iam::111122223333:user/backup",
            "resource_type": "AWS::IAM::User",
            "unused_action_count": None,
            "unused_service_count": None,
            "source": "pare-inventory",
            "analyzer_arn": "pare:inventory",
            "created_at": "2026-11-01T06:00:00Z",
            "last_accessed_at": "2026-03-02T11:30:00Z",
            "region": "eu-west-1",
            **changes,
        },
    )


def role_trust(**changes: Any) -> Finding:
    provider = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
    return sample(**{
        "finding_id": f"44444444{HEX}", "resource": ROLE, "resource_type": "AWS::IAM::Role",
        "principal": (("Federated", provider),), "principal_account_id": None,
        "exposure": "federated", "actions": ("sts:AssumeRoleWithWebIdentity",),
        "access_levels": ("Write",), "region": "eu-west-1",
        "condition": (("token.actions.githubusercontent.com:aud", "sts.amazonaws.com"),),
        "created_at": "2026-11-20T10:00:00Z", **changes,
    })  # fmt: skip


def old(**changes: Any) -> Finding:
    return sample(**{"created_at": "2026-11-01T04:58:50Z", **changes})


PARTNER = open_to(
    5, "555566667777", exposure="partner", partner="Example Backup", access_levels=("Write",),
    actions=tuple(f"s3:Action{n}" for n in range(14)), created_at="2026-11-10T00:00:00Z",
)  # fmt: skip
INTERNAL = sample(
    "internal_access", exposure="organization", access_type="INTRA_ORG",
    principal_account_id="333344445555", principal_account_name="reports",
    principal=(("AWS", "arn:aws:iam::333344445555:role/Reader"),),
    resource_control_policy_restriction="APPLIED",
    service_control_policy_restriction="FAILED_TO_EVALUATE_SCP",
    created_at="2026-11-19T00:00:00Z",
)  # fmt: skip


def many() -> CardViewJson:
    return view(
        public(), *(open_to(n, f"{100000000000 + n}", region=("eu-west-1", "us-west-2")[n % 2],
                            created_at="2026-11-20T00:00:00Z") for n in range(12)),
    )  # fmt: skip


def writing(**changes: Any) -> Finding:
    """Return what account 999988887777 may do only from its network, beside what ``reading`` is."""
    return old(**{
        "finding_id": f"cccccccc{HEX}", "actions": ("s3:PutObject",), "access_levels": ("Write",),
        "condition": (("aws:SourceIp", "203.0.113.0/24"),), "created_at": "2026-11-21T10:00:00Z",
        **changes,
    })  # fmt: skip


def reading(**changes: Any) -> Finding:
    return old(**{
        "finding_id": f"dddddddd{HEX}", "actions": ("s3:GetObject", "s3:ListBucket"),
        "access_levels": ("List", "Read"), **changes,
    })  # fmt: skip


def partly_archived(news: str = "archived") -> CardViewJson:
    """Return a card of which everybody's access is archived, and an account's resolved."""
    of = view(ended=(public(), old()), ends={public().finding_id: "ARCHIVED"}, news=news,
              told=told(public(), old()))  # fmt: skip
    of["archived"] = {public().finding_id: {
        "by": "arn:aws:sts::111122223333:assumed-role/Developer/bob", "how": "call",
        "reason": None, "at": "2026-11-22T08:31:00Z", "expires": None}}  # fmt: skip
    return of


def some_views() -> list[CardViewJson]:
    """Return cards of every severity and news, as a summary and a digest have them."""
    twelve, five = unused(12, 340), unused(5, 91, finding_id=f"66666666{HEX}")
    payments: Any = {"account_id": "444455556666", "account_name": "payments"}
    role: Any = {"resource": ROLE, "resource_type": "AWS::IAM::Role"}
    return [
        view(five, ended=(twelve,), news="changed", told=told(twelve), proposal=proposal()),
        many(),
        view(role_trust()),
        view(old(severity="high", **payments, owner=None), news="worsened", told=told(old())),
        view(PARTNER),
        view(ended=(old(resource="arn:aws:s3:::old-logs", finding_id=f"88888888{HEX}"),),
             news="closed", told=told(old())),
        view(ended=(old(resource="arn:aws:s3:::left-logs", finding_id=f"99999999{HEX}"),),
             how="UNWATCHED", news="unwatched", told=told(old())),
        partly_archived(),
        view(credential("UnusedIAMRole", **role, **payments)),
        view(credential("UnusedIAMUserAccessKey", access_key_id="AKIAIOSFODNN7EXAMPLE",
                        finding_id=f"bbbbbbbb{HEX}")),
        view(sample("external_access_error", resource="arn:aws:s3:::sealed",
                    finding_id=f"aaaaaaaa{HEX}",
                    created_at="2026-11-21T00:00:00Z")),
        view(watch("AnalyzerMissing", kind="external")),
        view(old(resource="arn:aws:sqs:eu-west-1:111122223333:orders",
                 resource_type="AWS::SQS::Queue", actions=("sqs:SendMessage",),
                 access_levels=("Write",)), news="still_open", told=told(old())),
    ]  # fmt: skip


def summary(language: str) -> Message:
    return summary_message(some_views(), language=language, place=PLACE, now=NOW, perhaps_told=())


def digest(owner: str | None) -> Callable[[str], Message]:
    low = [each for each in some_views()
           if each["severity"] in {"low", "medium"} or each["news"] == "archived"]  # fmt: skip
    mine = [each for each in low if owner is None or each["card"]["owner"] == owner]
    return lambda language: digest_message(
        mine, owner=owner, language=language, place=PLACE, now=NOW, perhaps_told=()
    )


def preview(name: str) -> PreviewJson:
    found = normalize(event(f"access_preview_{name}"), NOW)["preview"]
    assert found is not None
    return found


def would_be(**changes: Any) -> PreviewFindingJson:
    made: Any = {
        "finding_id": f"77777777{HEX}", "change": "NEW", "status": "ACTIVE",
        "existing_finding_id": None, "existing_status": None, "account_id": "111122223333",
        "resource": "arn:aws:s3:::amzn-s3-demo-bucket", "resource_type": "AWS::S3::Bucket",
        "is_public": False, "principal": {"AWS": "999988887777"}, "actions": ["s3:GetObject"],
        "condition": {}, "error": None, **changes,
    }  # fmt: skip
    found: PreviewFindingJson = made
    return found


def previewed(name: str, findings: list[PreviewFindingJson] | None) -> Callable[[str], Message]:
    return lambda language: preview_message(preview(name), findings, language)


_TWELVE, _FIVE = unused(12, 340), unused(5, 91, finding_id=f"66666666{HEX}")
_EXEMPTION: Any = {
    "finding_type": "ExternalAccess",
    "principal": {"AWS": "999988887777"},
    "is_public": False,
    "condition": {},
    "severity": "medium",
    "reason": "The auditors read it until the end of March",
    "by": "arn:aws:sts::222222222222:assumed-role/SecurityTeam/alice",
    "at": "2026-11-22T08:30:00Z",
    "expires": "2027-03-31",
}
_STILL = told(old(), first_at="2026-11-02T08:05:00Z", reminders=1)

CASES: dict[str, Callable[[str], Message]] = {
    **{name: single(view(sample(name))) for name in FINDINGS},
    "access_preview_creating": previewed("creating", None),
    "access_preview_completed": previewed(
        "completed",
        [would_be(), would_be(is_public=True, principal={"AWS": "*"}, change="CHANGED",
                              existing_finding_id=f"22222222{HEX}")],
    ),
    "access_preview_completed_nothing": previewed("completed", []),
    "access_preview_completed_unread": previewed("completed", None),
    "access_preview_failed": previewed("failed", None),
    "public": single(view(public())),
    "many_principals": single(many()),
    "two_conditions": single(view(writing(), reading())),
    "changed_one_way": single(view(
        reading(), ended=(writing(),), news="changed", told=told(writing(), reading()))),
    "partner": single(view(PARTNER)),
    "organization": single(view(INTERNAL)),
    "role_trust": single(view(role_trust())),
    "unused_permission_proposal": single(view(_TWELVE, proposal=proposal())),
    "unused_role": single(view(credential(
        "UnusedIAMRole", resource=ROLE, resource_type="AWS::IAM::Role"))),
    "unused_key": single(view(credential(
        "UnusedIAMUserAccessKey", access_key_id="AKIAIOSFODNN7EXAMPLE"))),
    "unused_password": single(view(credential("UnusedIAMUserPassword", last_accessed_at=None))),
    "perhaps_told": single(
        view(public(), messages=[{"message_id": "m-1", "at": "2026-11-22T09:02:00Z",
                                  "news": "first_sight", "how": "unknown"}]),
        perhaps_told=True,
    ),
    "worsened": single(view(public(), old(), news="worsened", told=told(old()))),
    "reopened": single(view(old(), news="reopened", told=told(severity=None, news="closed"))),
    "reopened_quiet": single(view(old(), news="reopened", told=told(severity=None))),
    "still_open": single(view(old(), news="still_open", told=_STILL)),
    "changed_churn": single(
        view(_FIVE, ended=(_TWELVE,), news="changed", told=told(_TWELVE))),
    "changed_proposal": single(
        view(_TWELVE, news="changed", told=told(_TWELVE), proposal=proposal())),
    "changed_refused": single(
        view(_TWELVE, news="changed", told=told(_TWELVE), proposal=proposal(
            verdict="refused", after_action_count=None,
            reasons=["The logs cover 3 of 90 days.", "A part of them could not be read."]))),
    "closed": single(view(ended=(old(),), news="closed", told=told(old()))),
    "closed_many": single(
        view(ended=(public(), old()), news="closed", told=told(public(), old()))),
    "closed_gone": single(view(ended=(old(),), how="DELETED", news="closed", told=told(old()))),
    "archived": single(view(ended=(old(),), how="ARCHIVED", news="archived", told=told(old()),
                            exemptions=[_EXEMPTION])),
    "archived_by_unknown": single(
        view(ended=(old(),), how="ARCHIVED", news="archived", told=told(old()))),
    "archived_partly": single(partly_archived()),
    "archived_before": single(view(
        ended=(public(),), news="archived", told=told(public(), old()),
        archived={old().finding_id: is_open(old())})),
    "unwatched_partly": single(view(
        ended=(public(), old(region="eu-west-1")), ends={public().finding_id: "RESOLVED"},
        how="UNWATCHED", news="unwatched", told=told(public(), old()))),
    "unwatched": single(view(ended=(old(),), how="UNWATCHED", news="unwatched", told=told(old()))),
    "watch_analyzer_missing": single(
        view(watch("AnalyzerMissing", kind="external", by_settings=False))),
    "watch_analyzer_missing_by_settings": single(
        view(watch("AnalyzerMissing", kind="external", by_settings=True))),
    "watch_analyzer_missing_unused": single(view(watch("AnalyzerMissing", kind="unused"))),
    "watch_analyzer_not_active": single(view(watch(
        "AnalyzerNotActive", kind="external", analyzer="pare-external", status="DISABLED",
        reason="AWS_SERVICE_ACCESS_DISABLED"))),
    "watch_analyzer_deleted": single(view(watch(
        "AnalyzerDeleted", kind="external", analyzer="pare-external", findings=214))),
    "watch_analyzer_unread": single(view(watch(
        "AnalyzerUnread", kind="external", analyzer="pare-external", what="archive rules",
        error="access-analyzer:CreateArchiveRule: ValidationException: no such key"))),
    "watch_region_unread": single(view(watch(
        "RegionUnread", error="access-analyzer:ListAnalyzers: AccessDeniedException: explicit deny"
                              " in a service control policy"))),
    "watch_archive_rule_hides_public": single(view(watch(
        "ArchiveRuleHidesPublic", analyzer="pare-external", rule="our-website",
        filter="resourceType eq AWS::S3::Bucket", hidden=3))),
    "watch_archive_rule_drift": single(view(watch(
        "ArchiveRuleDrift", analyzer="pare-external", changed=["pare-auditors"],
        deleted=["pare-backup", "pare-website"]))),
    "watch_exemption_expiring": single(view(watch(
        "ExemptionExpiring", account_id="111122223333", account_name="shop-prod",
        resource="arn:aws:s3:::amzn-s3-demo-bucket", resource_type="AWS::S3::Bucket",
        what="exemption", name="arn:aws:s3:::amzn-s3-demo-bucket", expires="2026-12-01",
        reason="The auditors read it until the end of November", ended=False,
        owner="arn:aws:sts::222222222222:assumed-role/SecurityTeam/alice"))),
    "watch_archive_rule_ended": single(view(watch(
        "ExemptionExpiring", resource="arn:aws:access-analyzer:eu-west-1:222222222222:analyzer"
        "/archive-rule/pare-auditors", resource_type="AWS::AccessAnalyzer::ArchiveRule",
        what="archive rule", name="auditors", reason="Yearly audit", owner="audit@example.com",
        expires="2026-11-20", ended=True))),
    "watch_closed": single(view(ended=(watch("AnalyzerMissing", kind="external"),), news="closed",
                                told=told(watch("AnalyzerMissing", kind="external")))),
    "summary": summary,
    "digest": digest(None),
    "digest_owner": digest("orders@example.com"),
}  # fmt: skip
