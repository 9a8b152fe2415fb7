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

from pare.doctor.checks import title_of
from pare.doctor.commands import mend_first
from pare.doctor.trail import (
    CONTROL_TOWER_TRAIL,
    data_events,
    judge_route,
    judge_trail,
    judge_trails,
    management_events,
    whole,
)
from tests.doctor_setup import (
    BUCKET,
    HOME,
    HUB,
    LOG_ARCHIVE,
    MANAGEMENT,
    OTHER,
    PAYMENTS,
    SHOP,
    setup,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pare.doctor.answers import Failure, TrailAnswer
    from pare.doctor.model import Mend, Result
    from pare.doctor.setup import Setup

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ARN = f"arn:aws:cloudtrail:{HOME}:{MANAGEMENT}:trail/organization"
KEY = f"arn:aws:kms:{OTHER}:{SHOP}:key/11111111-2222-3333-4444-555555555555"
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


def mend_of(result: Result) -> Mend:
    assert result.mend is not None
    return result.mend


def typed(mend: Mend, folder: Path, *, policy: str | None, refusal: str = "") -> list[list[str]]:
    """Type a mend's commands; return the calls of the AWS CLI that read no policy, without it.

    The policy that is put lies in ``put-….json``.

    ``policy``: what is there; None: it cannot be read, with this ``refusal``.
    """
    (folder / "now").write_text(policy or "")
    reads = f"cat {folder}/now" if policy is not None else f'echo "({refusal})" >&2; exit 254'
    aws = folder / "aws"
    aws.write_text(
        f"#!/bin/bash\ncase $2 in get-*) {reads}; exit;; esac\nput=$2.json\n"
        "while (($#)); do\n"
        f'  if [[ $1 == --policy ]]; then echo "$2" > {folder}/$put; shift; '
        'else echo -n "$1 "; fi\n'
        f"  shift\ndone >> {folder}/called\necho >> {folder}/called\n"
    )
    aws.chmod(0o755)
    subprocess.run(
        ["bash", "-u", "-o", "pipefail", "-c", "\n".join(mend.commands)],
        cwd=folder, env={"PATH": f"{folder}:{os.environ['PATH']}"}, check=False,
    )  # fmt: skip
    called = folder / "called"
    return [line.split() for line in called.read_text().splitlines()] if called.exists() else []


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


TRUSTING = [
    "organizations", "enable-aws-service-access", "--service-principal", "cloudtrail.amazonaws.com"
]  # fmt: skip


def test_a_trail_that_is_not_there_is_created_or_named(tmp_path: Path) -> None:
    none = {**answer(), "trail": failure("TrailNotFoundException")}
    wanted = setup_of(log_roots=("own/prefix/AWSLogs/",), kms_key_arns=(KEY,))

    results = judged(none, wanted)  # type: ignore[arg-type]

    assert list(results) == ["trail.exists"]
    assert results["trail.exists"].status == "missing"
    mend = mend_of(results["trail.exists"])
    assert mend.where == "management"
    trust, bucket, key, create, begin = typed(mend, tmp_path, policy='{"Statement": []}')
    assert trust == TRUSTING
    # What CloudTrail refuses otherwise, and whose credentials let it in.
    assert bucket[:4] == ["s3api", "put-bucket-policy", "--bucket", BUCKET]
    assert bucket[-4:] == ["--region", HOME, "--profile", "log-archive"]
    assert key[:4] == ["kms", "put-key-policy", "--key-id", KEY]
    assert key[-4:] == ["--region", OTHER, "--profile", SHOP]
    refusals = ("CloudTrailAccessNotEnabledException", "InsufficientS3BucketPolicyException",
                "InsufficientEncryptionPolicyException")  # fmt: skip
    for text in (*refusals, "`--profile log-archive`", f"`--profile {SHOP}`"):
        assert text in mend.text
    assert "own/prefix/AWSLogs/" in (tmp_path / "put-bucket-policy.json").read_text()
    assert not list(tmp_path.glob("pare-*"))  # nothing is left in the person's folder
    assert "--enable-log-file-validation" in create
    assert create[:2] == ["cloudtrail", "create-trail"]
    assert create[create.index("--s3-key-prefix") + 1] == "own/prefix"
    assert create[create.index("--kms-key-id") + 1] == KEY
    assert {"--is-organization-trail", "--is-multi-region-trail"} <= set(create)
    assert begin == ["cloudtrail", "start-logging", "--name", ARN, "--region", HOME]


def test_an_accounts_own_trail_needs_no_trust_and_no_profile_of_its_own_account(
    tmp_path: Path,
) -> None:
    own = f"arn:aws:cloudtrail:{HOME}:{{account_id}}:trail/own"
    wanted = setup_of(arn=own, is_organization_trail=False)
    none: TrailAnswer = {**answer(), "trail": failure("TrailNotFoundException")}

    (result,) = judge_trail(
        wanted, own.replace("{account_id}", LOG_ARCHIVE), none, now=NOW
    )  # fmt: skip

    mend = mend_of(result)
    called = typed(mend, tmp_path, policy=None, refusal="NoSuchBucketPolicy")
    assert [each[1] for each in called] == ["put-bucket-policy", "create-trail", "start-logging"]
    assert "--profile" not in f"{mend.commands}{mend.text}"
    assert "--is-organization-trail" not in called[1]


def test_the_hubs_profile_has_a_name_where_it_is_not_in_use() -> None:
    none: TrailAnswer = {**answer(), "trail": failure("TrailNotFoundException")}
    wanted = replace(setup_of(), log_archive_account_id=HUB)

    mend = mend_of(judged(none, wanted)["trail.exists"])

    assert "--profile hub" in mend.commands[1]


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


def test_a_trail_that_writes_elsewhere_is_put_back_and_the_healthy_bucket_left_alone() -> None:
    error = running(LatestDeliveryError="NoSuchBucket")

    results = judged(answer(found(S3BucketName="other-bucket"), error))

    assert results["trail.exists"].status == "missing"
    assert commands(results["trail.exists"]) == [
        ["aws", "cloudtrail", "update-trail", "--name", ARN, "--s3-bucket-name", BUCKET,
         "--region", HOME]
    ]  # fmt: skip
    assert mend_of(results["trail.exists"]).where == "management"
    assert "`bucket: other-bucket`" in mend_of(results["trail.exists"]).text
    assert results["trail.logging"].status == "cannot tell"
    assert mend_of(results["trail.logging"]) == mend_first(title_of("trail.exists"))


def test_a_key_of_the_trail_that_the_settings_do_not_name_is_told_before_files_are_unreadable() -> (
    None
):
    result = judged(answer(found(KmsKeyId=KEY)))["trail.exists"]

    assert result.status == "missing"
    assert f"add `{KEY}` to trail.kms_key_arns" in mend_of(result).text
    named = setup_of(kms_key_arns=(KEY,))
    assert judged(answer(found(KmsKeyId=KEY)), named)["trail.exists"].status == "ok"


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
    *before, command = commands(result)
    # What makes it the organization's is refused as a new one's making is.
    widened = "--is-organization-trail" in options
    assert [each[:3] for each in before[:1]] == [["aws", *TRUSTING[:2]]] * widened
    assert len(before) == (2 if widened else 0)
    assert ("CloudTrailAccessNotEnabledException" in mend_of(result).text) is widened
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


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (running(LatestDeliveryTime="2026-11-22T05:59:00Z"), "cannot tell"),
        (running(LatestDeliveryTime=None), "cannot tell"),
        (running(LatestDeliveryTime="2026-11-22T06:01:00Z"), "ok"),
        (running(LatestDeliveryTime=None, LatestDeliveryError="AccessDenied"), "missing"),
        ({"IsLogging": False}, "missing"),
    ],
)
def test_an_account_in_which_nothing_happens_is_not_taken_for_a_fault(
    status: dict[str, Any], verdict: str
) -> None:
    own = setup_of(is_organization_trail=False)

    result = judged(answer(found(IsOrganizationTrail=False), status), own)["trail.logging"]

    assert result.status == verdict
    if verdict == "cannot tell":
        mend = mend_of(result)
        assert "no log file came" in result.says
        assert mend.commands == ("pare doctor",)
        assert "nothing happens delivers nothing" in mend.text


@pytest.mark.parametrize("there", [None, [], ["Others", "AllowCloudTrailToWrite"], "refused"])
def test_cloudtrails_statements_are_put_into_the_policy_as_it_is(
    there: list[str] | str | None, tmp_path: Path
) -> None:
    result = judged(answer(status=running(LatestDeliveryError="AccessDenied")))["trail.logging"]
    now = [{"Sid": each, "Effect": "Allow"} for each in there] if isinstance(there, list) else None
    code = "AccessDenied" if there == "refused" else "NoSuchBucketPolicy"
    policy = None if now is None else json.dumps({"Statement": now})

    called = typed(mend_of(result), tmp_path, policy=policy, refusal=code)

    assert len(called) == (0 if there == "refused" else 1)
    if there != "refused":
        after = json.loads((tmp_path / "put-bucket-policy.json").read_text())
        sids = [each["Sid"] for each in after["Statement"]]
        others = ["Others"] if there else []
        assert sids == [*others, "AllowCloudTrailToLook", "AllowCloudTrailToWrite"]
        actions = {str(each.get("Action")) for each in after["Statement"]}
        assert {"s3:GetBucketAcl", "s3:PutObject"} <= actions


@pytest.mark.parametrize("is_readable", [True, False])
def test_cloudtrails_statements_are_put_into_the_policy_of_its_key(
    is_readable: bool, tmp_path: Path
) -> None:
    old = {"Sid": "AllowCloudTrailToEncrypt", "Effect": "Deny"}
    there = {"Version": "2012-10-17", "Id": "own", "Statement": [{"Sid": "Root"}, old]}
    status = running(LatestDeliveryError="KMS.AccessDeniedException")

    result = judged(answer(found(KmsKeyId=KEY), status))["trail.logging"]

    assert result.status == "missing"
    mend = mend_of(result)
    assert mend.where == f"member {SHOP}"  # the key's account, which need not be the bucket's
    assert KEY in mend.text
    policy = json.dumps(there) if is_readable else None
    called = typed(mend, tmp_path, policy=policy, refusal="AccessDeniedException")
    if not is_readable:
        assert called == []
        return
    assert called == [
        ["kms", "put-key-policy", "--key-id", KEY, "--policy-name", "default",
         "--region", OTHER]
    ]  # fmt: skip
    after = json.loads((tmp_path / "put-key-policy.json").read_text())
    root, encrypt, decrypt, describe = after.pop("Statement")
    assert after == {"Version": "2012-10-17", "Id": "own"}
    assert root == {"Sid": "Root"}
    assert encrypt["Sid"] == "AllowCloudTrailToEncrypt"
    # The command has all three: one alone beside it would be taken for all that is meant.
    assert mend.statement is None
    assert encrypt["Action"] == "kms:GenerateDataKey*"
    assert encrypt["Condition"] == {
        "StringEquals": {"aws:SourceArn": ARN},
        "StringLike": {
            "kms:EncryptionContext:aws:cloudtrail:arn":
                f"arn:aws:cloudtrail:*:{MANAGEMENT}:trail/*"
        },
    }  # fmt: skip
    assert decrypt["Action"] == "kms:Decrypt"
    assert decrypt["Condition"] == {"StringEquals": {"aws:SourceArn": ARN}}
    assert describe["Action"] == "kms:DescribeKey"


def test_account_trails_have_a_statement_each_in_the_policy_of_one_key() -> None:
    own = setup_of(is_organization_trail=False)
    status = running(LatestDeliveryError="KMS.AccessDeniedException")
    trail = found(IsOrganizationTrail=False, KmsKeyId=KEY)

    sids = set()
    for account_id in (PAYMENTS, SHOP):
        arn = f"arn:aws:cloudtrail:{HOME}:{account_id}:trail/own"
        results = judge_trail(own, arn, answer(trail, status), now=NOW)
        (mend,) = (each.mend for each in results if each.check == "trail.logging")
        assert mend is not None
        sids |= set(re.findall(r'"Sid":"(AllowCloudTrailToEncrypt\w*)"', mend.commands[0]))

    assert len(sids) == 2


@pytest.mark.parametrize(
    ("error", "where", "operations"),
    [
        ("KMS.DisabledException", f"member {SHOP}", ["enable-key"]),
        ("KMS.KMSInvalidStateException", f"member {SHOP}", ["cancel-key-deletion", "enable-key"]),
        ("KMS.NotFoundException", "management", ["update-trail"]),
    ],
)
def test_a_key_that_cannot_be_used_is_not_put_down_to_its_policy(
    error: str, where: str, operations: list[str]
) -> None:
    status = running(LatestDeliveryError=error)

    result = judged(answer(found(KmsKeyId=KEY), status))["trail.logging"]

    mend = mend_of(result)
    assert mend.where == where
    assert KEY in mend.text
    assert [each[2] for each in commands(result)] == operations
    region = HOME if where == "management" else OTHER
    assert all(each[-2:] == ["--region", region] for each in commands(result))


def test_a_key_that_the_trail_does_not_name_is_the_buckets() -> None:
    status = running(LatestDeliveryError="KMS.AccessDeniedException")

    result = judged(answer(status=status))["trail.logging"]

    (command,) = commands(result)
    assert command == ["aws", "s3api", "get-bucket-encryption", "--bucket", BUCKET,
                       "--region", HOME]  # fmt: skip
    assert "names no key" in mend_of(result).text


@pytest.mark.parametrize(
    ("error", "action"),
    [("AccessDenied", "s3:PutObject"), ("KMS.AccessDeniedException", "kms:GenerateDataKey*")],
)
def test_what_cloudtrail_must_be_let_is_shown(error: str, action: str) -> None:
    result = judged(answer(status=running(LatestDeliveryError=error)))["trail.logging"]

    assert result.mend is not None
    assert result.mend.where == "log archive"
    shown = result.mend.commands[0] + json.dumps(result.mend.statement)
    assert action in shown
    assert ARN in shown


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
    for status in (running(LatestDeliveryError="AccessDenied"), {"IsLogging": False},
                   running(LatestDeliveryError="KMS.AccessDeniedException")):  # fmt: skip
        for trail in (found(), found(IsMultiRegionTrail=False), found(KmsKeyId=KEY)):
            for result in judged(answer(trail, status, basic(ReadWriteType="ReadOnly"))).values():
                for command in result.mend.commands if result.mend else ():
                    assert not re.search(r"<\w|…|ACCOUNT|REGION", command)
