"""What people read about a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.message import Message, headline, paragraph, plain, rows, subject

if TYPE_CHECKING:
    from pare.findings.model import Finding
    from pare.findings.state import News

_HEADLINES: dict[str, str] = {
    "new": "New",
    "reopened": "Open again",
    "archived": "Archived",
    "resolved": "Resolved",
    "deleted": "Gone",
    "changed": "Changed",
}
_KINDS: dict[str, str] = {
    "ExternalAccess": "external access",
    "InternalAccess": "internal access",
    "UnusedPermission": "unused permissions",
    "UnusedIAMRole": "unused role",
    "UnusedIAMUserAccessKey": "unused access key",
    "UnusedIAMUserPassword": "unused password",
}
_WHAT_TO_DO: dict[str, str] = {
    "ExternalAccess": "If this access is not meant, take the statement that grants it out of the "
    "resource's policy. If it is meant, archive the finding and say why.",
    "InternalAccess": "If this access is not meant, take it out of the policy that grants it. If "
    "it is meant, archive the finding and say why.",
    "UnusedPermission": "Nothing yet: Pare looks for a smaller policy in what was really used, and "
    "tells you what it finds, or why there is none.",
    "UnusedIAMRole": "Ask the owner whether the role is still needed. If not, take its policies "
    "away first, wait a few weeks, then delete it.",
    "UnusedIAMUserAccessKey": "Ask the owner, then make the key inactive; delete it some weeks "
    "later.",
    "UnusedIAMUserPassword": "Ask the owner, then take the console password away.",
}
_ERRORS: dict[str, str] = {
    "ACCESS_DENIED": "Access Analyzer may not read this resource, so nobody knows whether it is "
    "open. Let its service-linked role read the resource's policy.",
    "INTERNAL_ERROR": "Access Analyzer failed on this resource; it tries again by itself. If this "
    "stays for a day, open a case with AWS.",
}
_OTHER_ERROR = (
    "Access Analyzer could not analyze this resource, so nobody knows whether it is open. Look at "
    "the finding in its console."
)


def finding_message(finding: Finding, news: News) -> Message:
    """Return the message about a finding; all text from outside is made harmless."""
    kind = _KINDS.get(finding.finding_type, plain(finding.finding_type))
    account = f"{plain(finding.account_name)} ({finding.account_id})" if (
        finding.account_name) else finding.account_id  # fmt: skip
    name = plain(finding.resource.rpartition("/")[2].rpartition(":")[2])
    ended = news in {"archived", "resolved", "deleted"}
    if finding.error:
        advice = _ERRORS.get(finding.error, _OTHER_ERROR)
    else:
        advice = _WHAT_TO_DO.get(finding.finding_type, "Look at it in the Access Analyzer console.")
    facts = [
        ("Resource", plain(finding.resource, 1_000)),
        ("Type", plain(finding.resource_type)),
        ("Account", account),
        ("Region", plain(finding.region)),
        ("Owner", plain(finding.owner) if finding.owner else "not known"),
        ("Open to", _open_to(finding)),
        ("Actions", plain(", ".join(finding.actions), 500)),
        ("Unused", _unused(finding)),
        ("Since", finding.created_at),
        ("Status", "deleted" if finding.is_deleted else finding.status),
        ("Error", plain(finding.error) if finding.error else ""),
        ("Not known", plain(", ".join(finding.unknown), 500)),
        ("Finding", plain(finding.finding_id)),
    ]
    title = f"{_HEADLINES[news]}: {kind}, {name}"
    text = "\n\n".join([
        headline(title),
        rows(facts),
        paragraph("What to do: nothing more, this finding has ended." if ended
                  else "What to do: " + advice),
    ]) + "\n"  # fmt: skip
    return Message(
        subject=subject(f"[Pare] {title}, account {finding.account_name or finding.account_id}"),
        text=text,
        attributes={
            "kind": "finding",
            "account_id": finding.account_id,
            "finding_type": finding.finding_type,
            "status": finding.status,
            "news": news,
            "owner": plain(finding.owner or "unknown"),
        },
        facts=_facts(finding, news),
    )


def _facts(finding: Finding, news: News) -> dict[str, Any]:
    return {"kind": "finding", "news": news, "finding": finding.to_json()}


def _open_to(finding: Finding) -> str:
    if finding.is_public:
        return "everybody (public)"
    return plain(", ".join(f"{key} {value}" for key, value in finding.principal), 500)


def _unused(finding: Finding) -> str:
    parts = []
    if finding.unused_service_count is not None:
        parts.append(_counted(finding.unused_service_count, "service"))
    if finding.unused_action_count is not None:
        parts.append(_counted(finding.unused_action_count, "action"))
    return ", ".join(parts)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
