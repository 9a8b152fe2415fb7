"""``pare activity s3://…`` reads a bucket as it reads a folder."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cloudtrail.records import USED, delivered, record

if TYPE_CHECKING:
    from pathlib import Path

    from local.process import Emulator

ACCOUNT = "700000000007"
BUCKET = "logs-of-the-command-line"
DAY = f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/11/"


@pytest.fixture(scope="module")
def filled(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket, and a folder with the same log files."""
    folder = tmp_path_factory.mktemp("logs")
    s3: Any = emulator.client("s3", ACCOUNT, "eu-west-1")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for number in range(40):
        name = f"{ACCOUNT}_CloudTrail_eu-west-1_202611{number % 2 + 20}T1005Z_{number:016d}.json.gz"
        key = f"{DAY}{number % 2 + 20}/{name}"
        body = gzip.compress(delivered(record(100 + number), USED), mtime=0)
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    s3.put_object(Bucket=BUCKET, Key=f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/x.json.gz", Body=b"no")
    return folder


def pare(emulator: Emulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **emulator.environment(ACCOUNT, "eu-west-1")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pare", "activity", *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_bucket_gives_what_the_same_folder_gives(emulator: Emulator, filled: Path) -> None:
    of_bucket = pare(emulator, f"s3://{BUCKET}", "--format", "json")
    assert of_bucket.returncode == 0, of_bucket.stderr
    of_folder = pare(emulator, str(filled), "--format", "json")
    bucket, folder = json.loads(of_bucket.stdout), json.loads(of_folder.stdout)
    assert bucket["principals"] == folder["principals"]
    assert bucket["header"]["files"].pop("skipped") == {"digest file": 1}
    assert bucket["header"] == folder["header"]
    assert bucket["header"]["records"]["total"] == 80


def test_an_address_with_a_prefix_reads_what_is_below(emulator: Emulator, filled: Path) -> None:
    one_day = pare(emulator, f"s3://{BUCKET}/{DAY}21/", "--format", "json")
    assert one_day.returncode == 0, one_day.stderr
    assert json.loads(one_day.stdout)["header"]["files"]["read"] == 20
    late = pare(emulator, f"s3://{BUCKET}", "--since", "2026-11-21", "--format", "json")
    skipped = json.loads(late.stdout)["header"]["files"]["skipped"]
    assert skipped == {"delivered before the window asked for": 20, "digest file": 1}


def test_a_bucket_that_is_not_there_is_a_clear_sentence(emulator: Emulator) -> None:
    missing = pare(emulator, "s3://there-is-no-such-bucket-here")
    assert missing.returncode == 3
    assert "there-is-no-such-bucket-here" in missing.stderr
    assert "Traceback" not in missing.stderr
