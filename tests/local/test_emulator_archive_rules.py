"""Archive rules, the states of analyzers, and their configuration on the emulator (facts §1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.process import EmulatorControlError
from tests.local.emulator_fixtures import WORKLOAD, allow, unique
from tests.local.test_emulator_findings import analyzer, external, plant

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box

PARTNER = {"principal.AWS": {"eq": ["999988887777"]}}


def test_a_rule_is_changed_and_deleted_and_what_it_archived_stays(box: Box) -> None:
    arn = analyzer(box, "ap-southeast-1", "ACCOUNT")
    client, name = box.client("accessanalyzer", region="ap-southeast-1"), arn.rpartition("/")[2]
    plant(box, arn, external("one", public=False, principal="999988887777"))
    client.create_archive_rule(analyzerName=name, ruleName="pare-partner", filter=PARTNER)
    client.apply_archive_rule(analyzerArn=arn, ruleName="pare-partner")

    other = {"isPublic": {"eq": ["false"]}}
    client.update_archive_rule(analyzerName=name, ruleName="pare-partner", filter=other)
    changed = client.get_archive_rule(analyzerName=name, ruleName="pare-partner")["archiveRule"]
    client.delete_archive_rule(analyzerName=name, ruleName="pare-partner")

    assert changed["filter"] == other
    assert changed["updatedAt"] >= changed["createdAt"]
    assert client.get_finding_v2(analyzerArn=arn, id="one")["status"] == "ARCHIVED"
    assert client.list_archive_rules(analyzerName=name)["archiveRules"] == []
    for call in (client.get_archive_rule, client.delete_archive_rule):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(analyzerName=name, ruleName="pare-partner")
    with pytest.raises(client.exceptions.ValidationException, match="status"):
        client.create_archive_rule(
            analyzerName=name, ruleName="x", filter={"status": {"eq": ["ACTIVE"]}}
        )


def test_rules_are_authorized_on_their_own_arn(box: Box) -> None:
    """Service Authorization Reference, list_accessanalyzer: resource type ArchiveRule."""
    region = "ap-southeast-2"
    arn = analyzer(box, region, "ACCOUNT")
    name = arn.rpartition("/")[2]
    actions = ("CreateArchiveRule", "GetArchiveRule", "UpdateArchiveRule", "DeleteArchiveRule")
    role = box.role(
        unique("rules"),
        allow(*(f"access-analyzer:{a}" for a in actions), resource=f"{arn}/archive-rule/pare-*"),
    )
    client = box.session(role).client("accessanalyzer", region)

    def each(rule: str) -> None:
        which = {"analyzerName": name, "ruleName": rule}
        client.create_archive_rule(**which, filter=PARTNER)
        client.get_archive_rule(**which)
        client.update_archive_rule(**which, filter=PARTNER)
        client.delete_archive_rule(**which)

    each("pare-mine")
    with pytest.raises(ClientError, match=r"CreateArchiveRule on resource: .*/archive-rule/other"):
        each("other")


def test_an_analyzer_can_be_disabled_with_a_reason(box: Box) -> None:
    arn = analyzer(box, "ap-southeast-3", "ACCOUNT")
    client = box.client("accessanalyzer", region="ap-southeast-3")

    def put(**entry: Any) -> None:
        box.emulator.control("analyzers", {"analyzers": [{"arn": arn, **entry}]})

    reason = "DELEGATED_ADMINISTRATOR_DEREGISTERED"
    put(status="DISABLED", status_reason=reason)
    disabled = client.list_analyzers()["analyzers"][0]
    put(status="ACTIVE")
    active = client.get_analyzer(analyzerName=arn.rpartition("/")[2])["analyzer"]

    assert (disabled["status"], disabled["statusReason"]) == ("DISABLED", {"code": reason})
    assert active["status"] == "ACTIVE"
    assert "statusReason" not in active
    with pytest.raises(EmulatorControlError, match="SLEEPING"):
        put(status="SLEEPING")


def test_the_configuration_of_unused_access_can_be_changed(box: Box) -> None:
    region = "ap-southeast-4"
    client = box.client("accessanalyzer", region=region)
    unused = analyzer(box, region).rpartition("/")[2]
    outside = analyzer(box, region, "ACCOUNT").rpartition("/")[2]
    wanted = {"unusedAccess": {"unusedAccessAge": 30}}

    answer = client.update_analyzer(analyzerName=unused, configuration=wanted)

    assert answer["configuration"] == wanted
    assert client.get_analyzer(analyzerName=unused)["analyzer"]["configuration"] == wanted
    with pytest.raises(client.exceptions.ValidationException):
        client.update_analyzer(analyzerName=outside, configuration=wanted)


def test_contacts_are_an_accounts_own(box: Box) -> None:
    contact = {
        "Name": "On call",
        "Title": "Security",
        "EmailAddress": "security@example.com",
        "PhoneNumber": "+49 1",
    }
    box.emulator.control(
        "contacts", {"entries": [{"account_id": WORKLOAD, "contacts": {"SECURITY": contact}}]}
    )
    own = f"arn:aws:account::{WORKLOAD}:account"
    role = box.role(unique("reader"), allow("account:GetAlternateContact", resource=own))
    powerless = box.role(unique("reader"), allow("account:ListRegions"))

    client = box.session(role).client("account")
    found = client.get_alternate_contact(AlternateContactType="SECURITY")["AlternateContact"]

    assert found == {"AlternateContactType": "SECURITY", **contact}
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_alternate_contact(AlternateContactType="OPERATIONS")
    with pytest.raises(ClientError, match=f"GetAlternateContact on resource: {own}"):
        box.session(powerless).client("account").get_alternate_contact(
            AlternateContactType="SECURITY"
        )
    with pytest.raises(ClientError, match="not authorized"):
        client.get_alternate_contact(AlternateContactType="SECURITY", AccountId=WORKLOAD)


def test_tags_are_read_with_one_call_but_those_of_roles(box: Box) -> None:
    region = "eu-central-1"
    sqs = box.client("sqs", region=region)
    tagged, bare = unique("tagged"), unique("bare")
    sqs.create_queue(QueueName=tagged, tags={"Owner": "team <a> & b"})
    sqs.create_queue(QueueName=bare)
    role = box.role(unique("reader"), allow("tag:GetResources"))
    box.client("iam").tag_role(
        RoleName=role.rpartition("/")[2], Tags=[{"Key": "Owner", "Value": "nobody"}]
    )
    client = box.session(role).client("resourcegroupstaggingapi", region)
    queues = [f"arn:aws:sqs:{region}:{WORKLOAD}:{name}" for name in (tagged, bare)]

    found = client.get_resources(ResourceARNList=[*queues, role])["ResourceTagMappingList"]

    tags = [{"Key": "Owner", "Value": "team <a> & b"}]
    assert found == [{"ResourceARN": queues[0], "Tags": tags}]
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.get_resources(ResourceARNList=[f"{queues[0]}{n}" for n in range(101)])
    with pytest.raises(ClientError, match="not authorized to perform: tag:GetResources"):
        box.session(box.role(unique("reader"), allow("sqs:*"))).client(
            "resourcegroupstaggingapi", region
        ).get_resources(ResourceARNList=queues)
