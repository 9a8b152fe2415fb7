from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pare.doctor.trail import (
    CONTROL_TOWER_TRAIL,
    data_events,
    judge_route,
    judge_trail,
    judge_trails,
    management_events,
    whole,
)
from tests.doctor_setup import BUCKET, HOME, LOG_ARCHIVE, MANAGEMENT, OTHER, PAYMENTS, SHOP, setup

if TYPE_CHECKING:
    from pathlib import Path

    from pare.doctor.answers import Failure, TrailAnswer
    from pare.doctor.model import Result
    from pare.doctor.setup import Setup

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ARN = f"arn:aws:cloudtrail:{HOME}:{MANAGEMENT}:trail/organization"
ALL = {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True}]}


def setup_of(**trail: Any) -> Setup:
    base = setup()
    return replace(base, trail=replace(base.trail, **{"log_roots": ("AWSLogs/",), **trail}))


def found(**changes: Any) -> dict[str, Any]:
    return {
        "Name": "organization",
        "TrailARN": ARN,
        "HomeRegion": HOME,
        "S3BucketName": BUCKET,
        "IsMultiRegionTrail": True,
        "IsOrganizationTrail": True,
        "IncludeGlobalServiceEvents": True,
        **changes,
    }


def running(**changes: Any) -> dict[str, Any]:
    return {
        "IsLogging": True,
        "StartLoggingTime": "2026-01-01T00:00:00Z",
        "LatestDeliveryTime": "2026-11-22T11:55:00Z",
        **changes,
    }


def answer(
    trail: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    selectors: dict[str, Any] | None = None,
) -> TrailAnswer:
    return {
        "trail": {"ok": True, "value": trail or found()},
        "status": {"ok": True, "value": status or running()},
        "selectors": {"ok": True, "value": selectors or ALL},
    }


def failure(code: str, action: str = "cloudtrail:GetTrail") -> Failure:
    return {"ok": False, "action": action, "code": code, "message": "AWS's words"}


def judged(answer: TrailAnswer, of: Setup | None = None) -> dict[str, Result]:
    results = {each.check: each for each in judge_trail(of or setup_of(), ARN, answer, now=NOW)}
    for result in results.values():
        assert (result.mend is None) is (result.status == "ok")
    return results


def commands(result: Result) -> list[list[str]]:
    """Return a mend's commands as a shell takes them apart."""
    assert result.mend is not None
    return [shlex.split(each) for each in result.mend.commands]


def test_a_trail_as_it_should_be_is_well() -> None:
    results = judged(answer())

    assert {check: each.status for check, each in results.items()} == {
        "trail.exists": "ok",
        "trail.scope": "ok",
        "trail.logging": "ok",
        "trail.management-events": "ok",
        "trail.data-events": "ok",
    }


# --- exists, scope ---


def test_a_trail_that_is_not_there_is_created_or_named() -> None:
    none = {**answer(), "trail": failure("TrailNotFoundException")}
    wanted = setup_of(log_roots=("own/prefix/AWSLogs/",), kms_key_arns=("arn:aws:kms:k",))

    results = judged(none, wanted)  # type: ignore[arg-type]

    assert list(results) == ["trail.exists"]
    assert results["trail.exists"].status == "missing"
    assert results["trail.exists"].mend is not None
    assert results["trail.exists"].mend.where == "management"
    create, begin = commands(results["trail.exists"])
    assert create[:3] == ["aws", "cloudtrail", "create-trail"]
    assert create[create.index("--s3-key-prefix") + 1] == "own/prefix"
    assert create[create.index("--kms-key-id") + 1] == "arn:aws:kms:k"
    assert {"--is-organization-trail", "--is-multi-region-trail"} <= set(create)
    assert begin == ["aws", "cloudtrail", "start-logging", "--name", ARN, "--region", HOME]


def test_control_towers_trail_is_not_created_by_hand() -> None:
    none = {**answer(), "trail": failure("TrailNotFoundException")}

    result = judged(none, setup_of(made_by_control_tower=True))["trail.exists"]  # type: ignore[arg-type]

    assert result.mend is not None
    assert "create-trail" not in " ".join(result.mend.commands)
    assert "landing zone" in result.mend.text


@pytest.mark.parametrize(
    ("refused", "command"),
    [
        (failure("AccessDenied", "sts:AssumeRole"),
         "npx cdk deploy ByHand/PareMember --profile management"),
        (failure("AccessDeniedException"), "npx cdk deploy ByHand/PareMember --profile management"),
        (failure("ThrottlingException"), "pare doctor"),
    ],
)  # fmt: skip
def test_a_trail_that_cannot_be_looked_at_is_not_taken_for_well(
    refused: Failure, command: str
) -> None:
    (result,) = judged({**answer(), "trail": refused}).values()

    assert (result.check, result.status) == ("trail.exists", "cannot tell")
    assert result.mend is not None
    assert result.mend.commands == (command,)
    assert refused["code"] in result.says


@pytest.mark.parametrize(
    ("trail", "text"),
    [
        (found(S3BucketName="other-bucket"), "`bucket: other-bucket`"),
        (found(S3KeyPrefix="logs"), "`prefix: logs`"),
        (found(S3KeyPrefix="it's odd"), "prefix"),
    ],
)
def test_settings_that_name_another_place_are_to_be_changed(
    trail: dict[str, Any], text: str
) -> None:
    result = judged(answer(trail))["trail.exists"]

    assert result.status == "missing"
    assert result.mend is not None
    assert result.mend.where == "you"
    assert text in result.mend.text


def test_a_prefix_that_the_settings_know_is_well() -> None:
    wanted = setup_of(log_roots=("logs/AWSLogs/",))

    assert judged(answer(found(S3KeyPrefix="logs")), wanted)["trail.exists"].status == "ok"
    assert judged(answer(), wanted)["trail.exists"].status == "missing"


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"IsMultiRegionTrail": False}, {"--is-multi-region-trail"}, OTHER),
        ({"IsOrganizationTrail": False}, {"--is-organization-trail"}, "its own account only"),
        ({"IncludeGlobalServiceEvents": False}, {"--include-global-service-events"}, "IAM"),
        (
            {"IsMultiRegionTrail": False, "IncludeGlobalServiceEvents": False},
            {"--is-multi-region-trail", "--include-global-service-events"},
            "global services",
        ),
    ],
)
def test_a_trail_that_is_too_narrow_is_widened(
    changes: dict[str, Any], options: set[str], says: str
) -> None:
    result = judged(answer(found(**changes)))["trail.scope"]

    assert result.status == "missing"
    assert says in result.says
    ((*command,),) = commands(result)
    assert command[:5] == ["aws", "cloudtrail", "update-trail", "--name", ARN]
    assert set(command[5:-2]) == options
    assert command[-2:] == ["--region", HOME]


# --- logging ---


@pytest.mark.parametrize(
    ("status", "verdict", "says", "operation"),
    [
        ({"IsLogging": False, "StopLoggingTime": "2026-11-20T00:00:00Z"}, "missing",
         "stopped, since 2026-11-20", "start-logging"),
        (running(LatestDeliveryError="NoSuchBucket"), "missing", "NoSuchBucket",
         "get-bucket-policy"),
        (running(LatestDeliveryTime="2026-11-22T05:59:00Z"), "missing", "2026-11-22T05:59:00Z",
         "get-trail-status"),
        (running(LatestDeliveryTime=None), "missing", "none came", "get-trail-status"),
        (running(LatestDeliveryTime=None, StartLoggingTime="2026-11-22T11:50:00Z"), "cannot tell",
         "delivered nothing yet", "doctor"),
        (running(LatestDeliveryTime="2026-11-22T06:01:00Z"), "ok", "06:01", ""),
    ],
)  # fmt: skip
def test_a_trail_that_does_not_deliver_is_found(
    status: dict[str, Any], verdict: str, says: str, operation: str
) -> None:
    result = judged(answer(status=status))["trail.logging"]

    assert result.status == verdict
    assert says in result.says
    assert operation in " ".join(result.mend.commands if result.mend else ())


@pytest.mark.parametrize("there", [None, [], ["Others", "AllowCloudTrailToWrite"], "refused"])
def test_cloudtrails_statements_are_put_into_the_policy_as_it_is(
    there: list[str] | str | None, tmp_path: Path
) -> None:
    result = judged(answer(status=running(LatestDeliveryError="AccessDenied")))["trail.logging"]
    assert result.mend is not None
    now = [{"Sid": each, "Effect": "Allow"} for each in there] if isinstance(there, list) else ""
    code = "AccessDenied" if there == "refused" else "NoSuchBucketPolicy"
    (tmp_path / "now").write_text(json.dumps({"Statement": now}))
    aws = tmp_path / "aws"
    fails = (
        f'echo "({code})" >&2; exit 254' if not isinstance(there, list) else f"cat {tmp_path}/now"
    )
    aws.write_text(f"#!/bin/bash\ncase $2 in get-*) {fails};; *) touch {tmp_path}/put;; esac\n")
    aws.chmod(0o755)

    subprocess.run(
        ["bash", "-u", "-o", "pipefail", "-c", "\n".join(result.mend.commands)],
        cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False,
    )  # fmt: skip

    assert (tmp_path / "put").exists() is (there != "refused")
    if there != "refused":
        after = json.loads((tmp_path / "pare-bucket-policy.json").read_text())
        sids = [each["Sid"] for each in after["Statement"]]
        others = ["Others"] if there else []
        assert sids == [*others, "AllowCloudTrailToLook", "AllowCloudTrailToWrite"]
        actions = {str(each.get("Action")) for each in after["Statement"]}
        assert {"s3:GetBucketAcl", "s3:PutObject"} <= actions


@pytest.mark.parametrize(
    ("error", "action"),
    [("AccessDenied", "s3:PutObject"), ("KMS.NotFoundException", "kms:GenerateDataKey*")],
)
def test_what_cloudtrail_must_be_let_is_shown(error: str, action: str) -> None:
    result = judged(answer(status=running(LatestDeliveryError=error)))["trail.logging"]

    assert result.mend is not None
    assert result.mend.where == "log archive"
    statement = result.mend.statement
    assert statement is not None
    assert action in json.dumps(statement["Action"])
    assert ARN in json.dumps(statement["Condition"])


# --- management events ---


def basic(**changes: Any) -> dict[str, Any]:
    return {
        "EventSelectors": [
            {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": [],
             **changes}
        ]
    }  # fmt: skip


def advanced(*selectors: dict[str, list[str] | dict[str, list[str]]]) -> dict[str, Any]:
    return {
        "AdvancedEventSelectors": [
            {
                "FieldSelectors": [
                    {"Field": name, **(values if isinstance(values, dict) else {"Equals": values})}
                    for name, values in each.items()
                ]
            }
            for each in selectors
        ]
    }


MANAGEMENT_EVENTS: dict[str, Any] = {"eventCategory": ["Management"]}
DATA: dict[str, Any] = {"eventCategory": ["Data"], "resources.type": ["AWS::S3::Object"]}


@pytest.mark.parametrize(
    ("selectors", "left_out"),
    [
        (ALL, ()),
        ({"EventSelectors": [{}]}, ()),
        (basic(ReadWriteType="WriteOnly"), ("all reads",)),
        (basic(ReadWriteType="ReadOnly"), ("all writes",)),
        (basic(IncludeManagementEvents=False), ("all management events",)),
        ({}, ()),
        (
            basic(ExcludeManagementEventSources=["kms.amazonaws.com", "rdsdata.amazonaws.com"]),
            ("events of kms.amazonaws.com", "events of rdsdata.amazonaws.com"),
        ),
        (advanced(MANAGEMENT_EVENTS), ()),
        (advanced(DATA), ("all management events",)),
        (advanced(DATA, MANAGEMENT_EVENTS), ()),
        (advanced({**MANAGEMENT_EVENTS, "readOnly": ["true"]}), ("all writes",)),
        (advanced({**MANAGEMENT_EVENTS, "readOnly": ["false"]}), ("all reads",)),
        (
            advanced({**MANAGEMENT_EVENTS, "readOnly": ["true"]},
                     {**MANAGEMENT_EVENTS, "readOnly": ["false"]}),
            (),
        ),
        (
            advanced({**MANAGEMENT_EVENTS,
                      "eventSource": {"NotEquals": ["kms.amazonaws.com"]}}),
            ("events of kms.amazonaws.com",),
        ),
        (
            advanced({**MANAGEMENT_EVENTS, "readOnly": ["true"],
                      "eventSource": {"NotEquals": ["kms.amazonaws.com"]}},
                     {**MANAGEMENT_EVENTS, "readOnly": ["false"]}),
            ("events of kms.amazonaws.com",),
        ),
        (
            advanced({**MANAGEMENT_EVENTS, "eventSource": {"NotEquals": ["kms.amazonaws.com"]}},
                     MANAGEMENT_EVENTS),
            (),
        ),
        (
            advanced({**MANAGEMENT_EVENTS, "eventSource": ["iam.amazonaws.com"]}),
            ("all but eventSource iam.amazonaws.com",),
        ),
        (
            advanced({**MANAGEMENT_EVENTS, "eventName": {"NotEquals": ["AssumeRole"]}}),
            ("eventName AssumeRole",),
        ),
        (
            advanced({**MANAGEMENT_EVENTS,
                      "userIdentity.arn": {"NotStartsWith": ["arn:aws:sts::1:assumed-role/ci"]}}),
            ("userIdentity.arn arn:aws:sts::1:assumed-role/ci",),
        ),
        (
            advanced({**MANAGEMENT_EVENTS, "eventSource": ["iam.amazonaws.com"]},
                     {**MANAGEMENT_EVENTS, "eventSource": ["sts.amazonaws.com"]}),
            ("some reads", "some writes"),
        ),
    ],
)  # fmt: skip
def test_what_a_trail_leaves_out_is_named(
    selectors: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    assert management_events(selectors).left_out == left_out
    result = judged(answer(selectors=selectors or {"EventSelectors": []}))[
        "trail.management-events"
    ]
    assert (result.status == "ok") is (left_out == ())


@pytest.mark.parametrize(
    "selectors",
    [
        basic(ReadWriteType="WriteOnly"),
        basic(IncludeManagementEvents=False),
        basic(ReadWriteType="ReadOnly", ExcludeManagementEventSources=["kms.amazonaws.com"]),
        advanced(DATA, {**MANAGEMENT_EVENTS, "readOnly": ["true"]}),
        advanced({**MANAGEMENT_EVENTS, "eventName": {"NotEquals": ["x"]}}),
        {"EventSelectors": [
            {"ReadWriteType": "WriteOnly", "IncludeManagementEvents": False,
             "DataResources": [{"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::b{n}/"]}]}
            for n in range(5)
        ]},
    ],
)  # fmt: skip
def test_the_mend_records_all_management_events_and_the_same_data(
    selectors: dict[str, Any],
) -> None:
    result = judged(answer(selectors=selectors))["trail.management-events"]

    (command,) = commands(result)
    assert command[:5] == ["aws", "cloudtrail", "put-event-selectors", "--trail-name", ARN]
    name = {"--event-selectors": "EventSelectors",
            "--advanced-event-selectors": "AdvancedEventSelectors"}[command[5]]  # fmt: skip
    mended = {name: json.loads(command[6])}
    assert management_events(mended).left_out == ()
    if name == "EventSelectors":
        assert len(mended[name]) <= 5
    before, after = data_events(selectors), data_events(mended)
    assert {*before[0], *before[1]} == {*after[0], *after[1]}
    assert after[0] == before[0] or len(selectors["EventSelectors"]) == 5


def test_the_option_is_one_word_of_a_shell() -> None:
    name, value = shlex.split(whole(basic(ReadWriteType="ReadOnly")))

    assert name == "--event-selectors"
    json.loads(value)


# --- data events ---


def resources(kind: str, *values: str, **changes: Any) -> dict[str, Any]:
    return basic(DataResources=[{"Type": kind, "Values": list(values)}], **changes)


@pytest.mark.parametrize(
    ("selectors", "wholly", "partly"),
    [
        (ALL, [], []),
        (resources("AWS::S3::Object", "arn:aws:s3"), ["AWS::S3::Object"], []),
        (resources("AWS::S3::Object", "arn:aws:s3:::"), ["AWS::S3::Object"], []),
        (resources("AWS::S3::Object", "arn:aws:s3", ReadWriteType="WriteOnly"), [],
         ["AWS::S3::Object"]),
        (resources("AWS::S3::Object", "arn:aws:s3:::one/"), [], ["AWS::S3::Object"]),
        (resources("AWS::Lambda::Function", "arn:aws-cn:lambda"), ["AWS::Lambda::Function"], []),
        (advanced(DATA), ["AWS::S3::Object"], []),
        (advanced({**DATA, "readOnly": ["false"]}), [], ["AWS::S3::Object"]),
        (advanced({**DATA, "resources.ARN": {"StartsWith": ["arn:aws:s3:::b"]}}, DATA),
         ["AWS::S3::Object"], []),
        (advanced({"eventCategory": ["Data"], "resources.type": ["AWS::SQS::Queue"]}),
         ["AWS::SQS::Queue"], []),
    ],
)  # fmt: skip
def test_data_events_are_told_by_type(
    selectors: dict[str, Any], wholly: list[str], partly: list[str]
) -> None:
    assert data_events(selectors) == (wholly, partly)
    result = judged(answer(selectors=selectors))["trail.data-events"]
    assert result.status == "ok"
    assert result.facts == {"whole": wholly, "partly": partly}
    assert ("complete_data_events" in result.says) is bool(
        {"AWS::S3::Object", "AWS::Lambda::Function"} & {*wholly}
    )


def test_selectors_that_cannot_be_read_are_told() -> None:
    results = judged({**answer(), "selectors": failure("AccessDeniedException")})

    assert results["trail.management-events"].status == "cannot tell"
    assert results["trail.data-events"].status == "cannot tell"


# --- account trails, route ---


def test_of_account_trails_those_that_are_not_well_are_named_and_the_others_counted() -> None:
    own = setup_of(
        arn=f"arn:aws:cloudtrail:{HOME}:{{account_id}}:trail/own", is_organization_trail=False
    )
    arns = [own.trail.arn.replace("{account_id}", each) for each in (PAYMENTS, SHOP, LOG_ARCHIVE)]
    well = answer(found(IsOrganizationTrail=False))
    answers = {arn: well for arn in arns}
    answers[arns[1]] = {**well, "status": {"ok": True, "value": {"IsLogging": False}}}

    results = list(judge_trails(own, answers, now=NOW))

    (amiss,) = [each for each in results if each.status != "ok"]
    assert (amiss.check, amiss.subject) == ("trail.logging", SHOP)
    assert amiss.mend is not None
    assert amiss.mend.where == f"member {SHOP}"
    assert SHOP in amiss.mend.commands[0]
    said = {each.check: each.says for each in results if each.status == "ok"}
    assert said["trail.logging"].startswith("2 account trails")
    assert said["trail.scope"].startswith("3 account trails: every Region of its account")


@pytest.mark.parametrize(
    ("trail", "says"),
    [
        ({}, "Access Analyzer as a second opinion"),
        ({"made_by_control_tower": True}, "Pare alone"),
        ({"is_organization_trail": False}, "each account's own trail"),
        ({"log_roots": ("own/AWSLogs/",)}, "below own/AWSLogs/"),
        ({"bucket_region": OTHER}, f"from the bucket's Region, {OTHER}"),
    ],
)
def test_who_reads_the_trail_is_said(trail: dict[str, Any], says: str) -> None:
    result = judge_route(setup_of(**trail))

    assert result.status == "ok"
    assert says in result.says


def test_control_towers_trail_must_be_known_as_one() -> None:
    arn = f"arn:aws:cloudtrail:{HOME}:{MANAGEMENT}:trail/{CONTROL_TOWER_TRAIL}"

    result = judge_route(setup_of(arn=arn))
    assert result.status == "missing"
    assert result.mend is not None
    assert "made_by_control_tower: true" in result.mend.text
    assert judge_route(setup_of(arn=arn, made_by_control_tower=True)).status == "ok"


def test_no_command_has_a_placeholder() -> None:
    for status in (running(LatestDeliveryError="AccessDenied"), {"IsLogging": False}):
        for trail in (found(), found(IsMultiRegionTrail=False)):
            for result in judged(answer(trail, status, basic(ReadWriteType="ReadOnly"))).values():
                for command in result.mend.commands if result.mend else ():
                    assert not re.search(r"<\w|…|ACCOUNT|REGION", command)
