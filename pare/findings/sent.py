"""The event by which Pare itself sends a finding to its finding workflow, and who may send which.

Reconcile and the inventory send findings, and so does the command line of a person who archives
one. All of them take it from here, so that ``normalize`` takes what they send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pare.findings.model import FindingJson, Source

PARE_FINDING = "Pare Finding"
# source of the event -> sources of the findings that it may bring
SENDERS: dict[str, tuple[Source, ...]] = {
    "pare.reconcile": ("access-analyzer", "pare-watch"),
    "pare.inventory": ("pare-inventory",),
}
_SENDER_OF = {source: sender for sender, sources in SENDERS.items() for source in sources}


def event_of(finding: FindingJson, *, asked_by: str | None = None) -> dict[str, Any]:
    """Return the event by which the finding workflow takes a finding from Pare itself.

    ``asked_by``: the ARN of the person whose command sends it; a message about a failure names it.
    """
    asked = {"asked_by": asked_by} if asked_by else {}
    return {
        "source": _SENDER_OF[finding["source"]],
        "detail-type": PARE_FINDING,
        "detail": {"finding": finding, **asked},
    }
