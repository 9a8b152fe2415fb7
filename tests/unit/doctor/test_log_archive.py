from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pare.doctor.log_archive import (
    ENFORCED,
    PREFERRED,
    Reach,
    here_document,
    judge_bucket,
    judge_bucket_policy,
    judge_key_policy,
    judge_keys,
    judge_listing,
    judge_ownership,
    judge_reading,
    judge_size,
)
from pare.log_archive.lacking import ACCOUNT_IDS, lacking
from pare.log_archive.statements import bucket_statements, key_statements
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

    from pare.doctor.answers import (
        AccountLogs,
        Answer,
        BucketAnswer,
        Failure,
        KeyAnswer,
        ListingAnswer,
        ReadingAnswer,
        SampleJson,
        TrailAnswer,
    )
    from pare.doctor.model import Mend, Result
    from pare.doctor.setup import Setup

ORG = "o-example0000"
KEY = f"arn:aws:kms:{HOME}:{LOG_ARCHIVE}:key/11111111-2222-3333-4444-555555555555"
OLD_KEY = f"arn:aws:kms:{HOME}:{MANAGEMENT}:key/99999999-2222-3333-4444-555555555555"
OTHERS: dict[str, Any] = {
    "Sid": "AWSCloudTrailWrite",
    "Effect": "Allow",
    "Principal": {"Service": "cloudtrail.amazonaws.com"},
    "Action": "s3:PutObject",
    "Resource": f"arn:aws:s3:::{BUCKET}/AWSLogs/*",
}
STACK = "npx cdk deploy ByHand/PareLogArchive --profile log-archive --parameters Again=$(date +%s)"
TLS: dict[str, Any] = {
    "Sid": "OnlyTls",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def setup_of(**trail: Any) -> Setup:
    base = setup()
    trail = {"log_roots": ("AWSLogs/",), "kms_key_arns": (KEY,), **trail}
    return replace(base, trail=replace(base.trail, **trail))


def value(found: Any) -> Answer:
    return {"ok": True, "value": found}


def failure(code: str = "AccessDenied", action: str = "s3:GetBucketPolicy",
            message: str = "AWS's words") -> Failure:  # fmt: skip
    return {"ok": False, "action": action, "code": code, "message": message}


def policy(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def written(mend: Mend | None) -> dict[str, Any]:
    """Return the policy that a mend's commands write into their file."""
    assert mend is not None
    (found,) = re.findall(r"^cat > \S+ <<'POLICY'\n(.*?)\nPOLICY$", "\n".join(mend.commands),
                          re.DOTALL | re.MULTILINE)  # fmt: skip
    return cast("dict[str, Any]", json.loads(found))


def carried_out(
    mend: Mend | None, now: Any, folder: Path, *, lets_in: bool = True
) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Run a mend's commands in a shell, where AWS's command line shows the policy ``now``.

    Return how it ended and which other commands of it were called. ``now``: None: there is none.
    ``lets_in``: whether a role can be assumed.
    """
    assert mend is not None
    (folder / "now.json").write_text(json.dumps(now), encoding="utf-8")
    enters = r'printf "id\tsecret\ttoken\n"' if lets_in else "exit 254"
    fails = "" if now is not None else 'echo "(NoSuchBucketPolicy)" >&2; exit 254\n'
    program = folder / "aws"
    program.write_text(
        '#!/bin/bash\ncase "$2" in\n'
        f"get-*-policy|get-policy) {fails or f'cat {folder}/now.json'};;\n"
        f"assume-role) {enters};;\n"
        f'*) echo "$AWS_SESSION_TOKEN" "$@" >> {folder}/called;;\nesac\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(mend.commands)],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "AWS_SESSION_TOKEN": "mine"},
        capture_output=True,
        text=True,
        check=False,
    )
    called = folder / "called"
    lines = called.read_text(encoding="utf-8").splitlines() if called.exists() else []
    return ran, [line.split() for line in lines]


def sample(account: str = PAYMENTS, age: Any = "new", owner: str | None = "owner") -> SampleJson:
    key = f"AWSLogs/{ORG}/{account}/CloudTrail/{HOME}/2026/11/20/{age}.json.gz"
    return {"key": key, "age": age, "date": "2026-11-20", "size": 7, "owner": owner}


def well(result: Result) -> bool:
    assert (result.mend is None) is (result.status == "ok")
    return result.status == "ok"


def read(key: str | None = KEY) -> Any:
    return {"ok": True, "size": 7, "encryption": "aws:kms" if key else "AES256",
            "kms_key_arn": key}  # fmt: skip


def unread(barrier: Any, key: str | None = None, code: str = "AccessDenied",
           message: str = "AWS's words") -> Any:  # fmt: skip
    return {**failure(code, "s3:GetObject", message), "barrier": barrier, "kms_key_arn": key}


# --- bucket, ownership ---


def test_the_bucket_must_be_where_the_settings_say() -> None:
    plain_bucket = judge_bucket(setup_of(), value(HOME), failure())
    assert well(plain_bucket)
    assert plain_bucket.says == f"{BUCKET}, in {HOME}"
    default = {"algorithm": "aws:kms", "kms_key_arn": KEY}
    assert KEY in judge_bucket(setup_of(), value(HOME), value(default)).says

    elsewhere = judge_bucket(setup_of(), value(OTHER), value({}))
    assert elsewhere.status == "missing"
    assert elsewhere.mend is not None
    assert f"`bucket_region: {OTHER}`" in elsewhere.mend.text
    gone = judge_bucket(setup_of(), failure("NoSuchBucket"), failure())
    assert gone.status == "missing"
    assert gone.mend is not None
    assert (
        f"`aws cloudtrail get-trail --name {setup_of().trail.arn} --region {HOME}`, with "
        f"credentials of account {MANAGEMENT}, shows it"
    ) in gone.mend.text
    own = f"arn:aws:cloudtrail:{HOME}:{{account_id}}:trail/own"
    each = judge_bucket(setup_of(arn=own), failure("NoSuchBucket"), failure())
    assert each.mend is not None
    assert "{account_id}" not in each.mend.text
    refused = judge_bucket(setup_of(), failure("AccessDenied"), failure())
    assert refused.status == "cannot tell"
    assert refused.mend is not None
    assert refused.mend.commands == ("npx cdk deploy PareMembers",)
    assert LOG_ARCHIVE in refused.mend.text


def bucket(ownership: Answer, owner: Answer | None = None) -> BucketAnswer:
    return {
        "location": value(HOME),
        "policy": value(None),
        "ownership": ownership,
        "encryption": value({}),
        "owner": owner or value("owner"),
    }


@pytest.mark.parametrize(
    ("ownership", "owner", "owners", "status"),
    [
        (ENFORCED, value("owner"), ["owner", "other"], "ok"),  # S3 says the writer's no more
        (PREFERRED, value("owner"), ["owner", "owner"], "ok"),
        (PREFERRED, value("owner"), ["owner", "other"], "missing"),
        (PREFERRED, value("owner"), [None, "other"], "missing"),
        # Both may be CloudTrail's.
        (PREFERRED, failure(), ["owner", "owner"], "cannot tell"),
        (PREFERRED, failure(), ["owner", "other"], "missing"),
        (PREFERRED, value("owner"), [None, None], "cannot tell"),
        (PREFERRED, value("owner"), ["owner", None], "cannot tell"),
        ("ObjectWriter", value("owner"), ["owner", "owner"], "missing"),
        ("ObjectWriter", value("owner"), ["other", "other"], "missing"),
    ],
)
def test_the_buckets_owner_must_own_old_log_files_too(
    ownership: str, owner: Answer, owners: list[str | None], status: str
) -> None:
    samples = [
        sample(age=age, owner=each) for age, each in zip(("old", "new"), owners, strict=True)
    ]

    result = judge_ownership(setup_of(), bucket(value(ownership), owner), samples, {})

    assert result.status == status
    if status != "ok":
        assert result.mend is not None
        # S3 refuses to turn lists off while the bucket's own lets others in.
        private, enforced = (shlex.split(each) for each in result.mend.commands)
        assert private[:3] == ["aws", "s3api", "put-bucket-acl"]
        assert private[private.index("--acl") + 1] == "private"
        assert enforced[:3] == ["aws", "s3api", "put-bucket-ownership-controls"]
        assert f"Rules=[{{ObjectOwnership={ENFORCED}}}]" in enforced


def test_objects_of_another_owner_are_named_by_account_and_age() -> None:
    samples = [sample(age="old", owner="cloudtrail"), sample(SHOP), sample()]

    result = judge_ownership(setup_of(), bucket(value(PREFERRED)), samples, {})

    assert "1 log file of 3 looked at" in result.says
    assert f"old ones of {PAYMENTS}" in result.says


def test_without_a_log_file_looked_at_nothing_is_known_of_old_ones() -> None:
    result = judge_ownership(setup_of(), bucket(value(PREFERRED)), [], {})

    assert result.status == "cannot tell"
    assert result.mend is not None
    assert "listing" in result.mend.text
    assert well(judge_ownership(setup_of(), bucket(value(ENFORCED)), [], {}))


def test_whose_log_files_are_that_nobody_can_say_is_named_by_account_and_age() -> None:
    samples = [sample(age="old", owner=None), sample()]

    result = judge_ownership(setup_of(), bucket(value(PREFERRED)), samples, {})

    assert "of 1 of 2 log files looked at nobody can say who owns them" in result.says
    assert f"old ones of {PAYMENTS}" in result.says
    refused = bucket(value(PREFERRED), failure(action="s3:GetBucketAcl"))
    assert "s3:GetBucketAcl: AccessDenied" in judge_ownership(setup_of(), refused, samples, {}).says


def test_what_another_account_reads_by_the_buckets_policy_is_the_bucket_owners() -> None:
    samples = [sample(age="old", owner=None), sample()]
    unknown_owner = bucket(value(PREFERRED), failure())
    both: dict[str, Any] = {each["key"]: read() for each in samples}
    new_alone: dict[str, Any] = {samples[0]["key"]: unread("s3"), samples[1]["key"]: read()}

    assert well(judge_ownership(setup_of(), unknown_owner, samples, both))
    one_unknown = judge_ownership(setup_of(), unknown_owner, samples, new_alone)
    assert (one_unknown.status, one_unknown.facts) == ("cannot tell", {"unknown": 1})
    # Whoever owns what can be read is the bucket's owner, and whoever does not is another.
    cloudtrails = [sample(age="old", owner="cloudtrail"), sample()]
    assert judge_ownership(setup_of(), unknown_owner, cloudtrails, new_alone).facts == {
        "foreign": 1
    }
    # An object's own list may let the account of the bucket read another owner's.
    same = replace(setup_of(), hub_account_id=LOG_ARCHIVE)
    assert judge_ownership(same, unknown_owner, samples, both).status == "cannot tell"


# --- bucket policy ---


def test_a_bucket_that_lets_in_whom_it_must_is_well_whatever_the_sids() -> None:
    ours = [{**each, "Sid": f"Pasted{place}"} for place, each in
            enumerate(bucket_statements(setup_of()))]  # fmt: skip

    assert well(judge_bucket_policy(setup_of(), value(policy(OTHERS, TLS, *ours))))


@pytest.mark.parametrize("sid", ["PareListsTheTrail", "PareReadsTheTrail", "ParePolicyGeneration"])
def test_a_statement_that_is_not_there_is_named_and_merged_by_the_stack(sid: str) -> None:
    ours = bucket_statements(setup_of())
    there = policy(OTHERS, TLS, *(each for each in ours if each["Sid"] != sid))

    result = judge_bucket_policy(setup_of(), value(there))

    assert result.status == "missing"
    assert sid in result.says
    assert not any(str(each["Sid"]) in result.says for each in ours if each["Sid"] != sid)
    assert result.mend is not None
    assert result.mend.where == "log archive"
    # Nothing here carries what others' statements are now: they may be others when it is run.
    assert result.mend.commands == (STACK,)


def test_all_rights_that_are_lacking_are_told_and_no_account_is_made_up() -> None:
    result = judge_bucket_policy(setup_of(), value(None))

    assert "<account>:role/service-role/AccessAnalyzerMonitorServiceRole" in result.says
    for right in ("s3:ListBucket by", "PareListLogs", "PareChooseRoute", "PareDigestLogs"):
        assert right in result.says
    assert not any(each in str(result.facts) + result.says for each in ACCOUNT_IDS)
    assert "more" not in result.says


GUARDED = f"aws-controltower-logs-{LOG_ARCHIVE}-{HOME}"


@pytest.mark.parametrize("sid", ["PareListsTheTrail", "PareReadsTheTrail", "ParePolicyGeneration"])
def test_a_bucket_of_control_tower_is_changed_by_its_role_alone(sid: str, tmp_path: Path) -> None:
    made = setup_of(bucket=GUARDED)
    there = policy(OTHERS, TLS, *(each for each in bucket_statements(made) if each["Sid"] != sid))

    result = judge_bucket_policy(made, value(there))

    assert result.mend is not None
    assert result.mend.where == "management"
    assert f"arn:aws:iam::{LOG_ARCHIVE}:role/AWSControlTowerExecution" in result.mend.commands[0]
    assert "landing zone" in result.mend.text
    assert "parentheses" in result.mend.text
    whole = written(result.mend)
    assert OTHERS in whole["Statement"]
    assert TLS in whole["Statement"]
    assert well(judge_bucket_policy(made, value(whole)))
    # What the person types afterwards is typed with their own credentials.
    commands = (*result.mend.commands, "aws sts get-caller-identity")
    ran, called = carried_out(replace(result.mend, commands=commands), there, tmp_path)
    assert ran.returncode == 0, ran.stderr
    put, later = called
    assert later == ["mine", "sts", "get-caller-identity"]
    assert put[:5] == ["token", "s3api", "put-bucket-policy", "--bucket", GUARDED]
    assert put[-4:] == ["--policy", "file://pare-bucket-policy.json", "--region", HOME]


def test_a_deny_in_a_bucket_of_control_tower_is_looked_at_by_its_role_alone(
    tmp_path: Path,
) -> None:
    made = setup_of(made_by_control_tower=True)
    mend = judge_bucket_policy(made, value(policy(PERIMETER, *bucket_statements(made)))).mend
    assert mend is not None

    commands = (*mend.commands, "aws sts get-caller-identity")
    ran, called = carried_out(replace(mend, commands=commands), policy(PERIMETER), tmp_path)

    assert json.loads(ran.stdout) == policy(PERIMETER)
    assert called == [["mine", "sts", "get-caller-identity"]]


def test_where_the_role_of_control_tower_lets_nobody_in_nothing_is_done(tmp_path: Path) -> None:
    there = policy(OTHERS)
    mend = judge_bucket_policy(setup_of(bucket=GUARDED), value(there)).mend

    ran, called = carried_out(mend, there, tmp_path, lets_in=False)

    assert ran.returncode != 0
    assert called == []
    assert not (tmp_path / "pare-bucket-policy.json").exists()


def test_a_trail_of_control_tower_has_a_bucket_that_it_guards() -> None:
    made = setup_of(made_by_control_tower=True)

    mend = judge_bucket_policy(made, value(policy(OTHERS))).mend

    assert mend is not None
    assert "sts assume-role" in mend.commands[0]
    assert "ParePolicyGeneration" not in json.dumps(written(mend))


def test_what_others_wrote_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    there = policy(OTHERS, TLS)
    mend = judge_bucket_policy(setup_of(bucket=GUARDED), value(there)).mend

    ran, called = carried_out(mend, policy(OTHERS, TLS, {**OTHERS, "Sid": "New"}), tmp_path)

    assert ran.returncode != 0
    assert "run pare doctor again" in ran.stderr
    assert called == []


@pytest.mark.parametrize(("now", "is_put"), [(None, True), (policy(OTHERS), False)])
def test_where_there_was_no_policy_there_must_still_be_none(
    now: Any, is_put: bool, tmp_path: Path
) -> None:
    mend = judge_bucket_policy(setup_of(bucket=GUARDED), value(None)).mend

    _, called = carried_out(mend, now, tmp_path)

    assert bool(called) is is_put


def test_the_order_in_which_aws_tells_a_policy_is_no_change(tmp_path: Path) -> None:
    two = {**OTHERS, "Principal": {"AWS": ["arn:aws:iam::1:root", "arn:aws:iam::2:root"]}}
    turned = {**two, "Principal": {"AWS": ["arn:aws:iam::2:root", "arn:aws:iam::1:root"]}}
    mend = judge_bucket_policy(setup_of(bucket=GUARDED), value(policy(two))).mend

    _, called = carried_out(mend, policy(dict(reversed(turned.items()))), tmp_path)

    assert len(called) == 1


def test_principals_that_are_deleted_are_named_before_aws_refuses_them() -> None:
    gone = {**OTHERS, "Sid": "Old", "Principal": {"AWS": ["AROAEXAMPLE0000000000", HUB]}}

    mend = judge_bucket_policy(setup_of(), value(policy(gone))).mend

    assert mend is not None
    assert "AROAEXAMPLE0000000000 (Old)" in mend.text
    assert HUB not in mend.text


def test_a_statement_without_the_organization_is_no_statement_of_ours() -> None:
    ours = bucket_statements(setup_of())
    broken = json.loads(json.dumps(ours).replace(f"AWSLogs/{ORG}/${{", "AWSLogs/${"))

    result = judge_bucket_policy(setup_of(), value(policy(OTHERS, *broken)))

    assert result.status == "missing"
    assert "ParePolicyGeneration" in result.says
    made = setup_of(bucket=GUARDED)
    whole = written(judge_bucket_policy(made, value(policy(OTHERS, *broken))).mend)
    sids = [each["Sid"] for each in whole["Statement"]]
    assert sids.count("ParePolicyGeneration") == 1
    assert well(judge_bucket_policy(made, value(whole)))


def test_a_bucket_without_a_policy_gets_one() -> None:
    made = setup_of(bucket=GUARDED)
    result = judge_bucket_policy(made, value(None))

    assert result.status == "missing"
    assert well(judge_bucket_policy(made, value(written(result.mend))))


def test_a_deny_statement_in_the_way_is_named_and_not_overwritten() -> None:
    deny = {
        "Sid": "OnlyOurAccount",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
        "Condition": {"StringNotEquals": {"aws:PrincipalAccount": LOG_ARCHIVE}},
    }
    there = policy(OTHERS, TLS, deny, *bucket_statements(setup_of()))

    result = judge_bucket_policy(setup_of(), value(there))

    assert result.status == "missing"
    assert "OnlyOurAccount" in result.says
    assert "OnlyTls" not in result.says
    assert result.mend is not None
    assert "OnlyOurAccount" in result.mend.text
    assert "put-bucket-policy" not in " ".join(result.mend.commands)


def test_a_deny_beside_a_statement_that_is_missing_is_named_with_it() -> None:
    deny = {**TLS, "Sid": "Nobody", "Action": "s3:ListBucket"}
    del deny["Condition"]

    result = judge_bucket_policy(
        setup_of(), value(policy(deny, *bucket_statements(setup_of())[:1]))
    )

    assert {"PareReadsTheTrail", "Nobody"} <= set(result.says.replace(",", " ").split())
    assert result.mend is not None
    assert result.mend.commands == (STACK,)
    assert "Nobody" in result.mend.text


# A data perimeter: no policy says whether Access Analyzer comes from there.
PERIMETER: dict[str, Any] = {
    "Sid": "OnlyOurNetwork",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}},
}


@pytest.mark.parametrize(
    "proven", [[], ["PareListsTheTrail", "PareReadsTheTrail"]], ids=["nothing proven", "ours"]
)
def test_a_deny_that_nobody_can_judge_is_not_taken_for_well(proven: list[str]) -> None:
    there = policy(OTHERS, TLS, PERIMETER, *bucket_statements(setup_of()))

    result = judge_bucket_policy(setup_of(), value(there), proven)

    assert result.status == "cannot tell"
    assert "OnlyOurNetwork denies" in result.says
    assert "aws:SourceVpce" in result.says
    assert "OnlyTls" not in result.says
    assert result.mend is not None
    (command,) = result.mend.commands
    assert shlex.split(command)[:5] == ["aws", "s3api", "get-bucket-policy", "--bucket", BUCKET]
    assert "let the Deny statement OnlyOurNetwork except" in result.mend.text


def test_a_deny_that_excepts_the_readers_is_well() -> None:
    ours = bucket_statements(setup_of())
    readers = [arn for each in ours for arn in texts_of(each["Condition"], "aws:PrincipalArn")]
    readers = [each.replace("${aws:PrincipalAccount}", "*") for each in readers]
    condition = {**PERIMETER["Condition"], "ArnNotLike": {"aws:PrincipalArn": readers}}
    there = policy(OTHERS, {**PERIMETER, "Condition": condition}, *ours)

    assert well(judge_bucket_policy(setup_of(), value(there)))


def test_a_deny_that_lets_pares_own_functions_read_is_no_doubt_where_nobody_else_comes() -> None:
    made = setup_of(made_by_control_tower=True)
    there = policy(OTHERS, PERIMETER, *bucket_statements(made))
    ours = ["PareListsTheTrail", "PareReadsTheTrail"]

    assert judge_bucket_policy(made, value(there)).status == "cannot tell"
    assert well(judge_bucket_policy(made, value(there), ours))


def texts_of(condition: Any, key: str) -> list[str]:
    """Return the values of a condition key, whatever the operator."""
    found = [keys[key] for keys in condition.values() if key in keys]
    return [text for each in found for text in (each if isinstance(each, list) else [each])]


def test_a_policy_that_would_be_too_long_is_not_put() -> None:
    many = [{**OTHERS, "Sid": f"Other{n}", "Resource": f"arn:aws:s3:::{BUCKET}/{n:0200}"}
            for n in range(60)]  # fmt: skip

    result = judge_bucket_policy(setup_of(), value(policy(*many)))

    assert result.mend is not None
    assert "20,480 at most" in result.mend.text
    assert not any("cat >" in each for each in result.mend.commands)


@pytest.mark.parametrize("found", [failure(), value({"Statement": "nonsense"})])
def test_a_policy_that_cannot_be_read_is_not_taken_for_well(found: Answer) -> None:
    result = judge_bucket_policy(setup_of(), found)

    assert result.status == "cannot tell"
    assert result.mend is not None
    assert result.mend.commands


def test_the_command_writes_the_policy_as_it_is(tmp_path: Path) -> None:
    # The last is no sign that a terminal would show, and the doctor none that it would print.
    document = policy({"Sid": 'It\'s $HOME `x` \\ "q" ${aws:PrincipalAccount} ü \u200b'})

    command = here_document("policy.json", document)

    assert all(line.isprintable() for line in command.split("\n"))
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert json.loads((tmp_path / "policy.json").read_text(encoding="utf-8")) == document


# --- keys ---


def judged_keys(
    samples: list[SampleJson],
    objects: dict[str, Any],
    made: Setup | None = None,
    *,
    keys: dict[str, KeyAnswer] | None = None,
    trail: dict[str, Any] | None = None,
) -> list[Result]:
    wanted = made or setup_of()
    arn = wanted.trail.arn.format(account_id=PAYMENTS)
    trails: dict[str, TrailAnswer] = {}
    if trail is not None:
        trails = {arn: {"trail": value(trail), "status": value({}), "selectors": value({})}}
    results = list(judge_keys(wanted, samples, objects, keys=keys or {}, trails=trails))
    for each in results:
        well(each)
    return results


@pytest.mark.parametrize(
    ("trail", "own", "is_told"),
    [
        ({"KmsKeyId": KEY}, False, False),
        ({"KmsKeyId": OLD_KEY}, False, True),
        ({}, False, True),
        ({}, True, True),
        (None, False, False),
    ],
    ids=["its key", "another key", "no key", "an account's own trail", "not known"],
)
def test_log_files_that_the_trail_did_not_encrypt_are_told_access_analyzer_may_not_read_them(
    trail: dict[str, Any] | None, own: bool, is_told: bool
) -> None:
    made = setup_of()
    if own:
        made = setup_of(arn=made.trail.arn.replace(MANAGEMENT, "{account_id}"),
                        is_organization_trail=False)  # fmt: skip

    (result,) = judged_keys([sample()], {sample()["key"]: read()}, made, trail=trail)

    assert well(result)
    assert ("Access Analyzer may not read" in result.says) is is_told
    assert result.facts == {"files": 1, "not_the_trails": int(is_told)}


def test_where_access_analyzer_is_not_asked_it_need_not_read() -> None:
    made = setup_of(made_by_control_tower=True)

    (result,) = judged_keys([sample()], {sample()["key"]: read()}, made, trail={})

    assert "Access Analyzer" not in result.says


AWS_OWN: Any = {"ok": True, "value": {"state": "Enabled", "manager": "AWS"}}


def test_a_key_of_awss_own_gets_no_setting_and_no_policy() -> None:
    known = {OLD_KEY: key(failure("AccessDeniedException", "kms:GetKeyPolicy"), AWS_OWN)}

    amiss, _ = judged_keys([sample()], {sample()["key"]: unread("kms", OLD_KEY)}, keys=known)

    assert (amiss.status, amiss.subject) == ("missing", OLD_KEY)
    assert amiss.mend is not None
    assert amiss.mend.commands == ()
    assert "stay unread" in amiss.mend.text
    assert "kms_key_arns" not in amiss.mend.text
    assert list(judge_key_policy(setup_of(), OLD_KEY, known[OLD_KEY])) == []
    (named,) = judge_key_policy(setup_of(kms_key_arns=(OLD_KEY,)), OLD_KEY, known[OLD_KEY])
    assert named.status == "missing"
    assert named.mend is not None
    assert "take it out of trail.kms_key_arns" in named.mend.text


def test_a_key_that_cannot_be_looked_at_may_be_awss_own() -> None:
    refused = failure("AccessDeniedException", "kms:DescribeKey")

    amiss, _ = judged_keys(
        [sample()], {sample()["key"]: unread("kms", OLD_KEY)},
        keys={OLD_KEY: key(refused, refused)},
    )  # fmt: skip

    assert amiss.mend is not None
    assert f"aws kms describe-key --key-id {OLD_KEY}" in amiss.mend.text


def test_without_a_stack_set_the_member_roles_are_deployed_by_hand() -> None:
    made = replace(setup_of(), member_stacks="by-hand")
    refused = failure("AccessDenied", "sts:AssumeRole")
    member = "npx cdk deploy ByHand/PareMember --profile"

    mend = judge_bucket_policy(made, refused).mend
    amiss, _ = judged_keys([sample()], {sample()["key"]: read(OLD_KEY)}, made)

    assert mend is not None
    assert (mend.where, mend.commands) == ("log archive", (f"{member} log-archive",))
    assert amiss.mend is not None
    assert amiss.mend.commands[1:3] == (f"{member} management", f"{member} log-archive")


def test_a_key_of_old_log_files_that_the_settings_do_not_name_is_found() -> None:
    samples = [sample(age="old"), sample(SHOP, age="old"), sample()]
    objects = {samples[0]["key"]: unread("kms", OLD_KEY), samples[1]["key"]: read(OLD_KEY),
               samples[2]["key"]: read()}  # fmt: skip

    results = judged_keys(samples, objects)

    amiss, known = results
    assert (amiss.status, amiss.subject) == ("missing", OLD_KEY)
    assert "2 log files of 3 looked at" in amiss.says
    assert f"old ones of {PAYMENTS}, {SHOP}" in amiss.says
    assert amiss.mend is not None
    assert f"`{OLD_KEY}`" in amiss.mend.text
    assert "kms_key_arns" in amiss.mend.text
    assert (known.status, known.subject) == ("ok", KEY)


def test_a_key_of_the_settings_that_no_log_file_needs_is_no_fault() -> None:
    (result,) = judged_keys([sample()], {sample()["key"]: read(None)})

    assert well(result)
    assert "no log file looked at needs it" in result.says


def test_log_files_without_a_key_need_none() -> None:
    (result,) = judged_keys([sample()], {sample()["key"]: read(None)}, setup_of(kms_key_arns=()))

    assert well(result)


def test_without_a_log_file_nothing_is_known_of_the_keys() -> None:
    (result,) = judged_keys([sample()], {})

    assert result.status == "cannot tell"


@pytest.mark.parametrize(
    "found",
    [unread("s3"), unread("kms"), unread(None, code="NoSuchKey")],
    ids=["S3 refuses", "a key that nobody names", "gone"],
)
@pytest.mark.parametrize("keys", [(KEY,), ()], ids=["a key in the settings", "none"])
def test_the_key_of_a_log_file_that_cannot_be_looked_at_is_not_known(
    found: Any, keys: tuple[str, ...]
) -> None:
    (result,) = judged_keys([sample()], {sample()["key"]: found}, setup_of(kms_key_arns=keys))

    assert (result.status, result.facts) == ("cannot tell", {"unknown": 1})
    assert result.says == f"The key of 1 log file is not known: new ones of {PAYMENTS}."
    assert result.mend is not None
    assert result.mend.commands == ()
    assert "reading log files" in result.mend.text


def test_what_is_known_of_the_keys_is_told_beside_what_is_not() -> None:
    samples = [sample(age="old"), sample(age="middle"), sample()]
    # The third was not reached.
    objects = {samples[0]["key"]: unread("s3"), samples[1]["key"]: read()}

    not_known, known = judged_keys(samples, objects)

    assert (not_known.status, not_known.facts) == ("cannot tell", {"unknown": 2})
    assert (known.status, known.says) == ("ok", "of 1 of 1 log file looked at")
    objects[samples[1]["key"]] = read(None)
    (alone,) = judged_keys(samples, objects, setup_of(kms_key_arns=()))
    assert alone.status == "cannot tell"


ACCOUNT_ROOT: dict[str, Any] = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{LOG_ARCHIVE}:root"},
    "Action": "kms:*",
    "Resource": "*",
}


def state(name: str) -> Answer:
    return value({"state": name, "manager": "CUSTOMER"})


def key(policy_answer: Answer, described: Answer | None = None) -> KeyAnswer:
    return {"key": described or state("Enabled"), "policy": policy_answer}


def one(answer: KeyAnswer, arn: str = KEY, **more: Any) -> Result:
    (result,) = judge_key_policy(setup_of(kms_key_arns=(KEY, OLD_KEY)), arn, answer, **more)
    return result


def test_a_key_that_lets_in_whom_it_must_is_well() -> None:
    assert well(one(key(value(policy(ACCOUNT_ROOT, *key_statements(setup_of(), KEY))))))


@pytest.mark.parametrize("sid", ["PareDecryptsTheTrail", "ParePolicyGenerationDecrypts"])
def test_a_key_statement_that_is_not_there_is_put_in(sid: str) -> None:
    ours = [each for each in key_statements(setup_of(), KEY) if each["Sid"] != sid]

    result = one(key(value(policy(ACCOUNT_ROOT, *ours))))

    assert result.status == "missing"
    assert sid in result.says
    assert result.mend is not None
    assert result.mend.where == "log archive"
    assert result.mend.commands == (STACK,)


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_key_of_another_account_is_mended_there(is_changed: bool, tmp_path: Path) -> None:
    there = policy(ACCOUNT_ROOT)

    result = one(key(value(there)), OLD_KEY)

    assert result.mend is not None
    assert result.mend.where == "management"
    assert ACCOUNT_ROOT in written(result.mend)["Statement"]
    assert well(one(key(value(written(result.mend))), OLD_KEY))
    _, called = carried_out(result.mend, policy(OTHERS) if is_changed else there, tmp_path)
    wanted = [["mine", "kms", "put-key-policy", "--key-id", OLD_KEY]]
    assert [each[:5] for each in called] == ([] if is_changed else wanted)


def test_a_statement_about_another_key_lets_nobody_use_this_one() -> None:
    ours = [{**each, "Resource": OLD_KEY} for each in key_statements(setup_of(), KEY)]

    assert one(key(value(policy(ACCOUNT_ROOT, *ours)))).status == "missing"
    own = [{**each, "Resource": KEY} for each in ours]
    assert well(one(key(value(policy(ACCOUNT_ROOT, *own)))))


def test_a_keys_deny_that_nobody_can_judge_is_not_taken_for_well() -> None:
    deny = {**PERIMETER, "Action": "kms:*", "Resource": "*"}
    there = value(policy(ACCOUNT_ROOT, deny, *key_statements(setup_of(), KEY)))

    result = one(key(there), proven=["PareDecryptsTheTrail"])

    assert result.status == "cannot tell"
    assert "OnlyOurNetwork" in result.says
    assert result.mend is not None
    assert shlex.split(result.mend.commands[0])[:3] == ["aws", "kms", "get-key-policy"]
    proven = ["PareDecryptsTheTrail", "ParePolicyGenerationDecrypts"]
    assert well(one(key(there), proven=proven))


@pytest.mark.parametrize(
    ("described", "operations"),
    [
        (state("Disabled"), ["enable-key"]),
        (state("PendingDeletion"), ["cancel-key-deletion", "enable-key"]),
        (failure("NotFoundException"), []),
    ],
)
def test_a_key_that_decrypts_nothing_is_told_before_its_policy(
    described: Answer, operations: list[str]
) -> None:
    result = one(key(value(policy()), described))

    assert result.status == "missing"
    assert result.mend is not None
    found = [shlex.split(each)[2] for each in result.mend.commands if each.startswith("aws")]
    assert found == operations


def test_a_key_that_cannot_be_looked_at_is_not_taken_for_well() -> None:
    refused = failure("AccessDeniedException", "kms:GetKeyPolicy")

    result = one(key(refused, failure("AccessDeniedException", "kms:DescribeKey")), OLD_KEY)

    assert result.status == "cannot tell"
    assert result.mend is not None
    assert result.mend.commands == ("npx cdk deploy ByHand/PareMember --profile management",)


def test_a_key_that_may_be_disabled_is_not_taken_for_well() -> None:
    there = value(policy(ACCOUNT_ROOT, *key_statements(setup_of(), KEY)))
    refused = failure("AccessDeniedException", "kms:DescribeKey")

    result = one(key(there, refused))

    assert result.status == "cannot tell"
    assert "kms:DescribeKey" in result.says
    assert result.mend is not None
    assert result.mend.commands == ("npx cdk deploy PareMembers",)
    # What was read with it says that it decrypts.
    assert well(one(key(there, refused), proven=["PareDecryptsTheTrail"]))
    # What its policy lacks is known all the same.
    assert one(key(value(policy(ACCOUNT_ROOT)), refused)).status == "missing"


def test_a_key_that_keeps_its_accounts_roles_out_is_mended_in_its_policy(tmp_path: Path) -> None:
    words = "because no resource-based policy allows the kms:GetKeyPolicy action"
    refused = failure("AccessDeniedException", "kms:GetKeyPolicy", words)

    result = one(key(refused, refused))

    assert result.status == "cannot tell"
    assert result.mend is not None
    assert result.mend.where == "log archive"
    statement = result.mend.statement
    assert statement is not None
    assert statement["Action"] == ["kms:DescribeKey", "kms:GetKeyPolicy"]
    assert f"arn:aws:iam::{LOG_ARCHIVE}:role/PareMember" in json.dumps(statement)
    there = policy(ACCOUNT_ROOT)
    ran, called = carried_out(result.mend, there, tmp_path)
    assert ran.returncode == 0, ran.stderr
    ((*put,),) = called
    assert put[1:5] == ["kms", "put-key-policy", "--key-id", KEY]
    after = json.loads((tmp_path / "pare-key-policy.json").read_text(encoding="utf-8"))
    assert after == policy(ACCOUNT_ROOT, statement)


def test_a_key_that_the_settings_do_not_name_is_first_named_there() -> None:
    refused = failure("AccessDeniedException", "kms:GetKeyPolicy")

    (result,) = judge_key_policy(setup_of(), OLD_KEY, key(refused, refused))

    assert result.status == "cannot tell"
    assert result.mend is not None
    assert result.mend.commands == ("pare doctor",)


# --- listing ---


def logs(*samples: SampleJson, files: int = 90, size: int = 900) -> AccountLogs:
    return {"ok": True, "samples": list(samples), "files": files, "bytes": size}


def listing(accounts: dict[str, Any], **changes: Any) -> ListingAnswer:
    fields: dict[str, Any] = {"ok": True, "region": HOME, "accounts": accounts, "missing": [],
                              "not_reached": [], **changes}  # fmt: skip
    return cast("ListingAnswer", fields)


def listed_results(
    answer: ListingAnswer | Failure, accounts: list[str] | None = None, mend: Mend | None = None
) -> list[Result]:
    results = list(
        judge_listing(setup_of(), "ListLogs", answer, accounts=accounts, policy_mend=mend)
    )
    for each in results:
        well(each)
    return results


def test_accounts_with_log_files_are_well_and_those_without_are_named() -> None:
    silent, found = listed_results(
        listing({PAYMENTS: logs(sample()), SHOP: logs()}), [PAYMENTS, SHOP, LOG_ARCHIVE]
    )

    assert (silent.status, silent.facts["accounts"]) == ("cannot tell", [SHOP, LOG_ARCHIVE])
    assert "1 account" in found.says


def test_a_function_that_is_only_asked_whether_it_may_list_says_that() -> None:
    (result,) = listed_results(listing({PAYMENTS: logs()}), None)

    assert (result.status, result.says) == ("ok", "ListLogs may list")


@pytest.mark.parametrize(
    ("message", "where", "command"),
    [
        ("because no resource-based policy allows the s3:ListBucket action", "log archive",
         STACK),
        ("Access Denied", "log archive",
         STACK),
        ("because no identity-based policy allows the s3:ListBucket action", "hub",
         "npx cdk deploy ParePipeline --revert-drift"),
        ("with an explicit deny in a service control policy", "management",
         f"aws organizations list-policies-for-target --target-id {HUB} "
         "--filter SERVICE_CONTROL_POLICY"),
        ("with an explicit deny in a resource-based policy", "log archive",
         f"aws s3api get-bucket-policy --bucket {BUCKET} --query Policy --output text "
         f"--region {HOME}"),
    ],
)  # fmt: skip
def test_who_refuses_the_listing_decides_the_mend(message: str, where: str, command: str) -> None:
    (result,) = listed_results(failure("AccessDenied", "s3:ListBucket", message), [PAYMENTS])

    assert (result.check, result.status) == ("log-archive.listing", "missing")
    assert result.mend is not None
    assert result.mend.where == where
    assert result.mend.commands[0] == command


def test_where_the_policy_is_known_to_lack_something_its_mend_is_the_listings() -> None:
    policy_mend = judge_bucket_policy(setup_of(), value(policy())).mend

    (result,) = listed_results(failure("AccessDenied", "s3:ListBucket"), [], policy_mend)

    assert result.mend is policy_mend


def test_accounts_that_cannot_be_listed_or_were_not_reached_are_no_silent_ones() -> None:
    answer = listing({PAYMENTS: failure(action="s3:ListBucket")}, not_reached=[SHOP])

    refused, not_reached = listed_results(answer, [PAYMENTS, SHOP])

    assert refused.status == "missing"
    assert PAYMENTS in refused.says
    assert not_reached.status == "cannot tell"


def test_what_passes_by_itself_is_asked_again() -> None:
    (result,) = listed_results(failure("SlowDown", "s3:ListBucket"), [])

    assert result.status == "cannot tell"
    assert result.mend is not None
    assert result.mend.commands == ("pare doctor",)


# --- reading ---


def reading_results(
    objects: dict[str, Any], samples: list[SampleJson], *, mends: dict[str, Mend] | None = None,
    not_reached: list[str] | None = None, of: BucketAnswer | None = None,
) -> list[Result]:  # fmt: skip
    answer: ReadingAnswer = {"ok": True, "objects": objects, "not_reached": not_reached or []}
    results = list(
        judge_reading(
            setup_of(),
            "DigestLogs",
            answer,
            samples,
            bucket=of or bucket(value(PREFERRED)),
            mends=mends or {},
        )
    )
    for each in results:
        well(each)
    return results


def test_log_files_of_every_age_that_can_be_read_are_counted() -> None:
    samples = [sample(age="old"), sample(age="middle"), sample(), sample(SHOP)]

    (result,) = reading_results({each["key"]: read() for each in samples}, samples)

    assert result.status == "ok"
    assert "4 log files (1 old, 1 middle, 2 new) of 2 accounts" in result.says


def test_each_barrier_is_told_apart_with_its_own_mend() -> None:
    owner_of_old = sample(age="old", owner="cloudtrail")
    by_key, by_policy = sample(age="middle"), sample()
    bucket_mend = judge_bucket_policy(setup_of(), value(policy())).mend
    key_mend = one(key(value(policy(ACCOUNT_ROOT))), OLD_KEY).mend
    assert bucket_mend is not None
    assert key_mend is not None

    results = reading_results(
        {
            owner_of_old["key"]: unread("s3"),
            by_key["key"]: unread("kms", OLD_KEY),
            by_policy["key"]: unread("s3"),
        },
        [owner_of_old, by_key, by_policy],
        mends={"s3": bucket_mend, OLD_KEY: key_mend},
    )

    found = {each.facts["barrier"]: each for each in results}
    assert found["kms"].mend is key_mend
    assert OLD_KEY in found["kms"].subject
    assert found["s3"].mend is bucket_mend
    assert found["owner"].mend is not None
    assert "put-bucket-ownership-controls" in found["owner"].mend.commands[1]
    assert all("1 of 3 log files looked at" in each.says for each in results)


def barriers(results: list[Result]) -> list[tuple[str, Mend | None]]:
    return [(each.facts["barrier"], each.mend) for each in results]


@pytest.mark.parametrize("owner", ["cloudtrail", None])
def test_what_is_refused_and_nobody_can_say_whose_it_is_may_be_another_owners(
    owner: str | None,
) -> None:
    nobody_knows = bucket(value(PREFERRED), failure())
    mine = sample(owner=owner)
    objects = {mine["key"]: unread("s3")}
    ownership = judge_ownership(setup_of(), nobody_knows, [mine], objects)
    policy_mend = judge_bucket_policy(setup_of(), value(policy())).mend
    assert policy_mend is not None

    def mended(of: BucketAnswer, **more: Any) -> list[tuple[str, Mend | None]]:
        return barriers(reading_results(objects, [mine], of=of, **more))

    assert ownership.status == "cannot tell"
    assert mended(nobody_knows) == [("s3", ownership.mend)]
    # What the policy is known to lack comes first.
    assert mended(nobody_knows, mends={"s3": policy_mend}) == [("s3", policy_mend)]
    # S3 gives all to the bucket's owner, or nobody knows what it does: then the stack says more.
    for of in (bucket(value(ENFORCED), failure()), bucket(failure(), failure())):
        ((barrier, mend),) = mended(of)
        assert (barrier, mend and mend.commands) == ("s3", (STACK,))


def test_one_refused_file_of_the_buckets_owner_says_that_the_owner_is_not_why() -> None:
    samples = [sample(age="old", owner=None), sample()]

    (result,) = reading_results({each["key"]: unread("s3") for each in samples}, samples)

    assert result.mend is not None
    assert result.mend.commands == (STACK,)


def test_a_deny_of_the_bucket_is_looked_at_whoever_owns_the_log_files() -> None:
    words = "with an explicit deny in a resource-based policy"
    mine = sample(owner=None)

    (result,) = reading_results({mine["key"]: unread("s3", message=words)}, [mine])

    assert result.mend is not None
    assert "get-bucket-policy" in result.mend.commands[0]


def test_a_key_that_nobody_could_look_at_is_mended_by_the_stack() -> None:
    (result,) = reading_results({sample()["key"]: unread("kms")}, [sample()])

    assert result.mend is not None
    assert result.mend.commands == (STACK,)


@pytest.mark.parametrize("named", [KEY, None], ids=["by S3", "in AWS's words"])
def test_a_keys_deny_is_looked_at_in_its_policy(named: str | None) -> None:
    words = f"kms:Decrypt on resource: {KEY} with an explicit deny in a resource-based policy"

    (result,) = reading_results({sample()["key"]: unread("kms", named, message=words)}, [sample()])

    assert result.mend is not None
    (command,) = result.mend.commands
    assert shlex.split(command)[:5] == ["aws", "kms", "get-key-policy", "--key-id", KEY]
    assert "Deny statement" in result.mend.text


def test_a_log_file_that_is_gone_or_a_passing_failure_is_no_refusal() -> None:
    (result,) = reading_results({sample()["key"]: unread(None, code="NoSuchKey")}, [sample()])

    assert result.status == "cannot tell"
    assert "NoSuchKey" in result.says


def test_without_log_files_nothing_is_taken_for_readable() -> None:
    (none,) = reading_results({}, [])
    assert none.status == "cannot tell"
    (late,) = reading_results({}, [sample()], not_reached=["a"])
    assert late.status == "cannot tell"
    (refused,) = judge_reading(
        setup_of(), "DigestLogs", failure("InvokeAccessDenied"), [],
        bucket=bucket(value(PREFERRED)), mends={},
    )  # fmt: skip
    assert refused.status == "cannot tell"


# --- size ---


def test_the_largest_accounts_come_first_and_those_too_large_are_named() -> None:
    accounts = {
        PAYMENTS: logs(files=200_000, size=4 * 10**9),
        SHOP: logs(files=90_000, size=2 * 10**9),
        LOG_ARCHIVE: logs(files=10, size=10),
    }
    reach = {PAYMENTS: Reach(False, True), SHOP: Reach(False, False),
             LOG_ARCHIVE: Reach(True, False)}  # fmt: skip

    result = judge_size(accounts, reach, days=90, asks_access_analyzer=True, not_listed=[])

    assert result.status == "ok"
    assert result.says == (
        "about 290,010 log files, 6.0 GB as stored, in 90 days of the 3 accounts listed; most in "
        f"{PAYMENTS} 200,000 (4.0 GB), {SHOP} 90,000 (2.0 GB), {LOG_ARCHIVE} 10 (0.0 GB); "
        f"too much for Access Analyzer: {PAYMENTS}; Pare's own reading carries them; "
        f"perhaps too much for it: {SHOP}"
    )
    assert [*result.facts["accounts"]] == [PAYMENTS, SHOP, LOG_ARCHIVE]
    assert result.facts["too_large"] == [PAYMENTS]


def test_where_access_analyzer_is_not_asked_its_limits_are_not_spoken_of() -> None:
    result = judge_size(
        {PAYMENTS: logs()}, {PAYMENTS: Reach(False, True)}, days=90, asks_access_analyzer=False,
        not_listed=[],
    )  # fmt: skip

    assert "Access Analyzer" not in result.says


def test_without_a_listing_the_size_is_not_known() -> None:
    result = judge_size({}, {}, days=90, asks_access_analyzer=True, not_listed=[])

    assert result.status == "cannot tell"


def test_the_size_of_accounts_that_could_not_be_listed_is_not_known() -> None:
    def judged(*not_listed: str) -> Result:
        return judge_size(
            {PAYMENTS: logs()}, {PAYMENTS: Reach(True, False)}, days=90,
            asks_access_analyzer=True, not_listed=not_listed,
        )  # fmt: skip

    assert well(judged())
    assert "90 days of the 1 account listed" in judged().says
    assert judged().says.endswith("; none has too much for Access Analyzer")
    result = judged(LOG_ARCHIVE, SHOP)
    assert not well(result)
    assert result.status == "cannot tell"
    assert result.says == (
        f"{judged().says}. How much there is of 2 accounts more is not known: {LOG_ARCHIVE}, "
        f"{SHOP}."
    )
    assert result.facts["accounts"].keys() == {PAYMENTS}
    assert result.facts["not_listed"] == [LOG_ARCHIVE, SHOP]


def test_what_is_put_grants_what_is_lacking() -> None:
    wanted = setup_of(bucket=GUARDED)
    whole = written(judge_bucket_policy(wanted, value(policy(OTHERS))).mend)

    assert all(
        lacking(whole, each, organization_id=ORG) == () for each in bucket_statements(wanted)
    )
