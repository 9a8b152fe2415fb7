"""Analyzers, archive rules and findings on the emulator, through boto3 over HTTPS (facts §1)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.process import EmulatorControlError
from tests.local.emulator_fixtures import HUB, NOW, REGION, WORKLOAD, allow, member, unique

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    """The code and HTTP status of a refusal."""
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def finding(finding_id: str, **changes: Any) -> dict[str, Any]:
    """A finding about an unused permission, as GetFindingV2 answers it."""
    moment = (NOW - timedelta(days=1)).isoformat()
    return {
        "id": finding_id,
        "analyzedAt": moment,
        "createdAt": moment,
        "updatedAt": moment,
        "resource": f"arn:aws:iam::{WORKLOAD}:role/App",
        "resourceType": "AWS::IAM::Role",
        "resourceOwnerAccount": WORKLOAD,
        "status": "ACTIVE",
        "findingType": "UnusedPermission",
        "findingDetails": [
            {
                "unusedPermissionDetails": {
                    "serviceNamespace": service,
                    "lastAccessed": moment,
                    "actions": [{"action": "DeleteBucket", "lastAccessed": moment}],
                }
            }
            for service in ("s3", "sqs", "sns")
        ],
        **changes,
    }


def external(finding_id: str, *, public: bool, principal: str) -> dict[str, Any]:
    """A finding about access from outside."""
    return finding(
        finding_id,
        findingType="ExternalAccess",
        resource="arn:aws:s3:::bucket",
        resourceType="AWS::S3::Bucket",
        findingDetails=[
            {
                "externalAccessDetails": {
                    "action": ["s3:GetObject"],
                    "condition": {"aws:SourceVpc": "vpc-1"},
                    "isPublic": public,
                    "principal": {"AWS": principal},
                }
            }
        ],
    )


def analyzer(box: Box, region: str, kind: str = "ACCOUNT_UNUSED_ACCESS") -> str:
    """The ARN of a new analyzer in a Region of its own."""
    client = box.client("accessanalyzer", region=region)
    arn: str = client.create_analyzer(analyzerName=unique("analyzer"), type=kind)["arn"]
    return arn


def plant(box: Box, arn: str, *findings: dict[str, Any]) -> None:
    """Plant findings."""
    box.emulator.control("findings", {"analyzer_arn": arn, "findings": list(findings)})


def listed(box: Box, arn: str, **request: Any) -> list[str]:
    """The ids of the findings a request lists."""
    client = box.client("accessanalyzer", region=arn.split(":")[3])
    answer = client.list_findings_v2(analyzerArn=arn, **request)
    return [item["id"] for item in answer["findings"]]


def test_an_analyzer_is_created_listed_got_and_deleted(box: Box) -> None:
    client = box.client("accessanalyzer", region="eu-west-3")
    name = unique("analyzer")

    arn = client.create_analyzer(
        analyzerName=name,
        type="ACCOUNT_UNUSED_ACCESS",
        tags={"team": "security"},
        configuration={"unusedAccess": {"unusedAccessAge": 30}},
    )["arn"]
    got = client.get_analyzer(analyzerName=name)["analyzer"]

    assert arn == f"arn:aws:access-analyzer:eu-west-3:{WORKLOAD}:analyzer/{name}"
    assert got["configuration"] == {"unusedAccess": {"unusedAccessAge": 30}}
    assert got["status"] == "ACTIVE"
    assert [a["arn"] for a in client.list_analyzers()["analyzers"]] == [arn]
    assert client.list_analyzers(type="ACCOUNT")["analyzers"] == []
    assert box.client("accessanalyzer", HUB, "eu-west-3").list_analyzers()["analyzers"] == []
    client.delete_analyzer(analyzerName=name)
    with pytest.raises(ClientError) as error:
        client.get_analyzer(analyzerName=name)
    assert refused(error) == ("ResourceNotFoundException", 404)
    assert member(error, "resourceType") == "Analyzer"


def test_one_account_analyzer_of_a_type_in_a_region(box: Box) -> None:
    analyzer(box, "eu-south-1", "ACCOUNT")
    client = box.client("accessanalyzer", region="eu-south-1")

    with pytest.raises(ClientError) as quota:
        client.create_analyzer(analyzerName=unique("second"), type="ACCOUNT")
    name = client.list_analyzers()["analyzers"][0]["name"]
    with pytest.raises(ClientError) as conflict:
        client.create_analyzer(analyzerName=name, type="ACCOUNT_UNUSED_ACCESS")

    assert refused(quota) == ("ServiceQuotaExceededException", 402)
    assert refused(conflict) == ("ConflictException", 409)


def test_wrong_input_names_every_field(box: Box) -> None:
    client = box.client("accessanalyzer", region="eu-south-2")

    with pytest.raises(ClientError) as error:
        client.create_analyzer(analyzerName="1 bad name", type="EVERYTHING")
    with pytest.raises(ClientError) as age:
        client.create_analyzer(
            analyzerName="a",
            type="ACCOUNT_UNUSED_ACCESS",
            configuration={"unusedAccess": {"unusedAccessAge": 366}},
        )

    assert refused(error) == ("ValidationException", 400)
    assert member(error, "reason") == "fieldValidationFailed"
    fields = {field["name"] for field in member(error, "fieldList")}
    assert fields == {"analyzerName", "type"}
    assert "unusedAccessAge" in member(age, "fieldList")[0]["name"]


def test_findings_are_listed_without_details_and_got_with_them_in_pages(box: Box) -> None:
    arn = analyzer(box, "eu-central-1")
    plant(box, arn, finding("one"), finding("two", updatedAt=NOW.isoformat()))
    client = box.client("accessanalyzer", region="eu-central-1")

    summaries = client.list_findings_v2(analyzerArn=arn)["findings"]
    first = client.get_finding_v2(analyzerArn=arn, id="one", maxResults=2)
    rest = client.get_finding_v2(analyzerArn=arn, id="one", nextToken=first["nextToken"])

    assert [s["id"] for s in summaries] == ["two", "one"]  # newest first
    assert "findingDetails" not in summaries[0]
    services = [
        detail["unusedPermissionDetails"]["serviceNamespace"]
        for detail in first["findingDetails"] + rest["findingDetails"]
    ]
    assert services == ["s3", "sqs", "sns"]
    assert "nextToken" not in rest
    with pytest.raises(ClientError) as error:
        client.get_finding_v2(analyzerArn=arn, id="three")
    assert refused(error) == ("ResourceNotFoundException", 404)


def test_findings_are_filtered_sorted_and_paged(box: Box) -> None:
    arn = analyzer(box, "eu-central-2", "ACCOUNT")
    plant(
        box,
        arn,
        external("public", public=True, principal="*"),
        external("partner", public=False, principal="111122223333"),
        finding("old", status="RESOLVED", findingType="UnusedIAMRole", findingDetails=[]),
    )
    ascending = {"attributeName": "id", "orderBy": "ASC"}

    def by(**criteria: Any) -> list[str]:
        return listed(box, arn, filter=criteria, sort=ascending)

    assert by(status={"eq": ["ACTIVE"]}) == ["partner", "public"]
    assert by(isPublic={"eq": ["true"]}) == ["public"]
    assert by(**{"principal.AWS": {"contains": ["1111"]}}) == ["partner"]
    assert by(**{"condition.aws:SourceVpc": {"exists": True}}) == ["partner", "public"]
    assert by(findingType={"neq": ["ExternalAccess"]}) == ["old"]
    assert by(resource={"eq": ["x"]}) == []
    assert listed(box, arn, sort=ascending, maxResults=2) == ["old", "partner"]


def test_findings_are_archived_and_made_active_by_id_or_resource(box: Box) -> None:
    arn = analyzer(box, "eu-north-1")
    other = f"arn:aws:iam::{WORKLOAD}:role/Other"
    plant(
        box,
        arn,
        finding("one"),
        finding("two", resource=other),
        finding("done", resource=other, status="RESOLVED"),
    )
    client = box.client("accessanalyzer", region="eu-north-1")

    client.update_findings(analyzerArn=arn, ids=["one"], status="ARCHIVED")
    client.update_findings(analyzerArn=arn, resourceArn=other, status="ARCHIVED")
    archived = listed(box, arn, filter={"status": {"eq": ["ARCHIVED"]}})
    client.update_findings(analyzerArn=arn, ids=["one"], status="ACTIVE")

    assert sorted(archived) == ["one", "two"]
    assert listed(box, arn, filter={"status": {"eq": ["ACTIVE"]}}) == ["one"]
    assert listed(box, arn, filter={"status": {"eq": ["RESOLVED"]}}) == ["done"]
    with pytest.raises(ClientError) as error:
        client.update_findings(analyzerArn=arn, ids=["none"], status="ARCHIVED")
    assert refused(error) == ("ResourceNotFoundException", 404)


def test_an_archive_rule_works_on_new_findings_and_on_old_ones_when_applied(box: Box) -> None:
    arn = analyzer(box, "ap-northeast-1")
    name = arn.rpartition("/")[2]
    plant(box, arn, finding("before"))
    client = box.client("accessanalyzer", region="ap-northeast-1")
    rule = {"resourceType": {"eq": ["AWS::IAM::Role"]}}

    client.create_archive_rule(analyzerName=name, ruleName="roles", filter=rule)
    plant(box, arn, finding("after"))
    at_once = listed(box, arn, filter={"status": {"eq": ["ARCHIVED"]}})
    client.apply_archive_rule(analyzerArn=arn, ruleName="roles")

    assert at_once == ["after"]
    assert listed(box, arn, filter={"status": {"eq": ["ACTIVE"]}}) == []
    assert client.list_archive_rules(analyzerName=name)["archiveRules"][0]["filter"] == rule
    with pytest.raises(ClientError) as twice:
        client.create_archive_rule(analyzerName=name, ruleName="roles", filter=rule)
    with pytest.raises(ClientError) as status:
        client.create_archive_rule(
            analyzerName=name, ruleName="other", filter={"status": {"eq": ["ACTIVE"]}}
        )
    with pytest.raises(ClientError) as unknown:
        client.apply_archive_rule(analyzerArn=arn, ruleName="none")
    assert refused(twice) == ("ConflictException", 409)
    assert refused(status) == ("ValidationException", 400)
    assert refused(unknown) == ("ResourceNotFoundException", 404)


def test_the_v2_operations_are_authorized_under_their_old_names(box: Box) -> None:
    arn = analyzer(box, "us-east-2")
    plant(box, arn, finding("one"))

    def reader(*actions: str) -> Any:
        role = box.role(unique("reader"), allow(*actions, resource=arn))
        return box.session(role).client("accessanalyzer", "us-east-2")

    reader("access-analyzer:ListFindings").list_findings_v2(analyzerArn=arn)
    reader("access-analyzer:GetFinding").get_finding_v2(analyzerArn=arn, id="one")
    with pytest.raises(ClientError) as error:
        reader("access-analyzer:ListFindingsV2").list_findings_v2(analyzerArn=arn)

    assert refused(error) == ("AccessDeniedException", 403)
    assert f"access-analyzer:ListFindings on resource: {arn}" in str(error.value)


def test_a_finding_that_aws_could_not_have_is_not_planted(box: Box) -> None:
    arn = analyzer(box, "us-west-2")

    with pytest.raises(EmulatorControlError, match="status"):
        plant(box, arn, finding("one", status="OPEN"))
    with pytest.raises(EmulatorControlError, match="no analyzer"):
        plant(box, f"arn:aws:access-analyzer:{REGION}:{WORKLOAD}:analyzer/none", finding("one"))


def test_an_operation_the_emulator_lacks_says_so(box: Box) -> None:
    with pytest.raises(ClientError) as error:
        box.client("accessanalyzer").list_analyzed_resources(
            analyzerArn=f"arn:aws:access-analyzer:{REGION}:{WORKLOAD}:analyzer/a"
        )

    assert refused(error)[1] == 500
    assert "does not have ListAnalyzedResources" in str(error.value)
