"""What people read about a proposed policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.message import Message, bullet, headline, paragraph, plain, rows, sentence, subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.policy.grants import CountsJson
    from pare.policy.proposal import ProposalJson
    from pare.policy.replay import ReplayJson
    from pare.policy.verdict import Reason

# Notes change nothing about a verdict: a mail has the first of them.
MAX_NOTES = 3

_OPENING = {
    "ready": "This policy keeps everything that was used and can be applied.",
    "review": "Pare proposes a smaller policy. Somebody who knows the workload should read it "
    "before it is applied.",
    "refused": "Pare proposes no policy; the reason and what to do are below.",
}


def counted(counts: CountsJson | None) -> str:
    """Return ``240 actions in 31 services``, or that it is not known."""
    if counts is None:
        return "not known"
    actions, services = counts["action_count"], counts["service_count"]
    return (
        f"{actions:,} action{'' if actions == 1 else 's'} "
        f"in {services:,} service{'' if services == 1 else 's'}"
    )


def proposal_message(
    proposal: ProposalJson, *, owner: str | None, location: str, finding_id: str | None
) -> Message:
    """Return the message about a proposal; ``location`` is where its files lie (an S3 URI)."""
    name = plain(proposal["principal_arn"].rpartition("/")[2])
    after = proposal["after"]
    verdict = proposal["verdict"]
    if after is not None and verdict != "refused":
        change = f"{_action_count(proposal['before'])} -> {after['action_count']:,} actions"
        title = f"Proposed policy for {name}: {change}"
        # A role's name may be long; the numbers are what the subject is for.
        subject_line = f"Proposed policy for {plain(name, 40)}: {change}"
    else:
        title = subject_line = f"No proposal for {name}"
    removed = proposal["removed_services"]
    why = _why(proposal["reasons"])
    text = "\n\n".join(part for part in [
        headline(title),
        paragraph(_OPENING[verdict]),
        rows([
            ("Principal", plain(proposal["principal_arn"], 1_000)),
            ("Account", proposal["account_id"]),
            ("Owner", plain(owner) if owner else "not known"),
            ("Verdict", verdict),
            ("Granted today", counted(proposal["before"])),
            ("Proposed", counted(after) if after else ""),
            ("Services gone", _listed(removed) if after else ""),
            ("Replay", _replay(proposal["replay"]) if after else ""),
            ("Policies", str(len(proposal["documents"])) if proposal["documents"] else ""),
            ("Stored in", location),
            ("Finding", plain(finding_id) if finding_id else ""),
        ]),
        "Why, and what to do:\n" + why if why else "",
    ] if part) + "\n"  # fmt: skip
    return Message(
        subject=subject(f"[Pare] {subject_line}"),
        text=text,
        attributes={
            "kind": "proposal",
            "account_id": proposal["account_id"],
            "verdict": verdict,
            "owner": plain(owner or "unknown"),
        },
        facts={
            "kind": "proposal",
            "principal_arn": proposal["principal_arn"],
            "account_id": proposal["account_id"],
            "verdict": verdict,
            "reasons": proposal["reasons"],
            "before": proposal["before"]["action_count"] if proposal["before"] else None,
            "after": after["action_count"] if after else None,
            "removed_services": removed,
            "location": location,
            "finding_id": finding_id,
        },
    )


def _action_count(counts: CountsJson | None) -> str:
    return f"{counts['action_count']:,}" if counts else "?"


def _replay(certificate: ReplayJson | None) -> str:
    if certificate is None:
        return ""  # a reason says so
    allowed, calls = certificate["allowed_calls"], certificate["calls"]
    return f"{allowed:,} of {calls:,} observed calls still allowed"


def _why(reasons: Sequence[Reason]) -> str:
    """Return the reasons for the verdict, and of the notes the first few."""
    notes = [each for each in reasons if each["level"] == "note"]
    shown = [each for each in reasons if each["level"] != "note"] + notes[:MAX_NOTES]
    lines = [
        bullet(f"{sentence(plain(each['text'], 1_000))} {plain(each['what_to_do'], 500)}")
        for each in shown
    ]
    if (more := len(notes) - MAX_NOTES) > 0:
        lines.append(bullet(f"{more} more note{'' if more == 1 else 's'} in the stored proposal."))
    return "\n".join(lines)


def _listed(services: list[str], limit: int = 12) -> str:
    if not services:
        return "none"
    shown = ", ".join(services[:limit])
    more = len(services) - limit
    return f"{len(services)}: {shown}" + (f" and {more} more" if more > 0 else "")
