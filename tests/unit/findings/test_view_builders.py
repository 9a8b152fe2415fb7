"""The findings that the golden messages are made of are what Enrich makes of AWS's samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pare.findings.enrich import enrich
from pare.policy.catalogue import load_catalogue
from tests.recorded import FINDINGS, event, finding
from tests.unit.findings.view_builders import ENRICHED, HUB, sample

if TYPE_CHECKING:
    from pare.findings.model import Finding

OUTSIDE = "999988887777"
# What GetFindingV2 answers beside what the events have.
DETAILS: dict[str, dict[str, Any]] = {
    "external_access": {"externalAccessDetails": {"sources": [{"type": "POLICY"}]}},
    "external_access_error": {"externalAccessDetails": {}},
    "internal_access": {"internalAccessDetails": {"accessType": "INTRA_ACCOUNT"}},
    "internal_access_error": {"internalAccessDetails": {}},
    "unused_permission": {
        "unusedPermissionDetails": {
            "serviceNamespace": "s3", "actions": [{"action": "s3:GetObject"}],
        },
    },
    "unused_iam_role_error": {"unusedIamRoleDetails": {}},
}  # fmt: skip
# Of an event's detail, by the name in GetFindingV2's answer.
_SAID = {
    "action": "action",
    "condition": "condition",
    "principal": "principal",
    "isPublic": "isPublic",
    "principalOwnerAccount": "principalOwnerAccount",
    "resourceControlPolicyRestriction": "resourceControlPolicyRestrictionType",
    "serviceControlPolicyRestriction": "serviceControlPolicyRestrictionType",
}


class Readers:
    """What AWS would tell of a sample: an account of ours, with a tag that names an owner."""

    def __init__(self, name: str) -> None:
        self._name = name

    def account_name(self, account_id: str) -> str | None:
        return None if account_id == OUTSIDE else "shop-prod"

    def details(self, finding: Finding) -> dict[str, Any]:
        detail = event(self._name)["detail"]
        ((kind, more),) = DETAILS[self._name].items()
        is_access = kind in {"externalAccessDetails", "internalAccessDetails"}
        said = {name: detail[sent] for name, sent in _SAID.items() if sent in detail}
        return {
            "status": detail["status"],
            "updatedAt": finding.updated_at,
            "analyzedAt": finding.analyzed_at,
            "findingDetails": [{kind: (said if is_access else {}) | more}],
            **({"error": detail["error"]} if "error" in detail else {}),
        }

    def analyzer(self, finding: Finding) -> None:
        raise AssertionError("nothing is deleted")

    def tags(self, finding: Finding) -> dict[str, str]:
        return {"owner": "orders@example.com"}

    def contact(self, account_id: str) -> str | None:
        raise AssertionError("the tag names an owner")


def test_every_sample_is_enriched() -> None:
    assert set(ENRICHED) == set(DETAILS) == set(FINDINGS)


@pytest.mark.parametrize("name", FINDINGS)
def test_a_sample_is_what_enrich_makes_of_the_event(name: str) -> None:
    terms: Any = {
        "owner_tag_keys": ["owner"],
        "default_owner": "",
        "partner_accounts": {},
        "organization_id": "o-ours",
        "hub_account_id": HUB,
    }

    found = enrich(finding(name), readers=Readers(name), terms=terms, catalogue=load_catalogue())

    assert found.tags == (("owner", "orders@example.com"),)
    assert replace(found, tags=()) == sample(name)
