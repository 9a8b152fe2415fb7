"""What AWS itself says of a proposal: ValidatePolicy and CheckNoNewAccess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.message import several
from pare.policy.verdict import in_order, reason, verdict_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pare.policy.proposal import ProposalJson


def with_checks(
    proposal: ProposalJson,
    validation: Sequence[Mapping[str, Any]] | None,
    no_new_access: Mapping[str, Any] | None,
    *,
    refusals: Sequence[str] = (),
) -> ProposalJson:
    """Return the proposal with what ValidatePolicy and CheckNoNewAccess said about it.

    An ERROR of validation makes it refused, without its documents: IAM would not take the policy. A
    FAIL of the check is a reason to review; AWS answers FAIL also where it cannot decide (facts
    §1). ``None`` is a check that could not be made: it is unknown, and ``refusals`` say why.
    """
    checked = proposal.copy()
    # What AWS says takes the place of our own lint.
    reasons = [each for each in proposal["reasons"] if validation is None or each["code"] != "LINT"]
    errors = [finding for finding in validation or () if finding["type"] == "ERROR"]
    warnings = [finding for finding in validation or () if finding["type"] == "SECURITY_WARNING"]
    if errors:
        reasons.append(reason(
            "INVALID_POLICY",
            f"ValidatePolicy found an error: {errors[0]['code']}: {errors[0]['details']}",
            "Report this to the maintainers with the stored evidence; do not apply the policy.",
        ))  # fmt: skip
        checked = without_policy(checked)
    elif warnings:
        reasons.append(reason(
            "SECURITY_WARNING",
            f"ValidatePolicy gave {several(len(warnings), 'security warning')}, the first of them "
            f"{warnings[0]['code']}.",
            "Read the warnings (coverage.validate_policy of the proposal) before you apply it.",
        ))  # fmt: skip
    if no_new_access is not None and no_new_access["result"] != "PASS":
        reasons.append(reason(
            "NEW_ACCESS",
            "CheckNoNewAccess did not pass: "
            + (no_new_access["message"] or "AWS gave no explanation"),
            "Compare the named statement with the attached policies before you apply it.",
        ))  # fmt: skip
    if validation is None or no_new_access is None:
        reasons.append(reason(
            "CHECK_UNKNOWN",
            "AWS did not check the proposal as it should: "
            + ("; ".join(refusals) or "AWS gave no explanation"),
            "Mend what the message names and start the policy workflow again, or check the policy "
            "by hand before you apply it.",
        ))  # fmt: skip
    checked["reasons"] = in_order(reasons)
    checked["verdict"] = verdict_of(reasons)
    checked["coverage"] = {
        **proposal["coverage"],
        "validate_policy": "unknown"
        if validation is None
        else [dict(finding) for finding in validation],
        "check_no_new_access": "unknown" if no_new_access is None else dict(no_new_access),
    }
    return checked


def is_checked(proposal: ProposalJson) -> bool:
    """Return whether ``with_checks`` was here before."""
    return "validate_policy" in proposal["coverage"]


def without_policy(proposal: ProposalJson) -> ProposalJson:
    """Return a refused proposal, with nothing in it that somebody could apply."""
    return {
        **proposal,
        "verdict": "refused",
        "documents": [],
        "evidence": [],
        "after": None,
        "removed_services": [],
        "removed_action_count": 0,
        "difference": None,
        "no_new_access": None,
        "packing": None,
    }
