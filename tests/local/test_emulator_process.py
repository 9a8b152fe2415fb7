"""Starting, finding and stopping the emulated organization, and its control plane."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, SSLError

from local import process
from local.process import EmulatorControlError, EmulatorStartError, PortBusyError
from tests.local.conftest import free_port
from tests.local.emulator_fixtures import REGION, WORKLOAD, trusts, unique

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box


def children(pid: int) -> list[int]:
    """The children of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def lives(pid: int) -> bool:
    """Whether a process lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_it_is_found_again_stopped_with_its_lambda_workers_and_forgotten(tmp_path: Path) -> None:
    emulator = process.start(tmp_path, free_port(), wait_scale=0.0)
    iam, functions = (emulator.client(s, WORKLOAD) for s in ("iam", "lambda"))
    role = iam.create_role(
        RoleName="f",
        AssumeRolePolicyDocument=json.dumps(trusts(service="lambda.amazonaws.com")),
    )["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "def run(event, context):\n    return 1\n")
    functions.create_function(
        FunctionName="f",
        Runtime="python3.11",
        Handler="handler.run",
        Role=role,
        Code={"ZipFile": code.getvalue()},
    )
    functions.invoke(FunctionName="f")["Payload"].close()
    workers = children(emulator.pid)

    again = process.running(tmp_path)
    same = process.start(tmp_path, emulator.port)
    stopped = process.stop(tmp_path)

    assert again == same == emulator
    assert workers
    assert stopped
    assert not any(lives(pid) for pid in (emulator.pid, *workers))
    assert process.running(tmp_path) is None
    assert process.stop(tmp_path) is False


def test_a_busy_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(PortBusyError, match=str(port)) as error:
            process.start(tmp_path, port)

    assert "port" in error.value.what_to_do
    assert process.running(tmp_path) is None


def test_a_server_that_dies_at_start_shows_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named ministack\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))

    with pytest.raises(EmulatorStartError, match="code 3") as error:
        process.start(tmp_path / "state", free_port())

    assert "no module named ministack" in str(error.value)
    assert process.running(tmp_path / "state") is None


def test_another_process_with_a_reused_id_is_not_taken_for_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "emulator.json").write_text(f'{{"pid": {other.pid}, "port": 1}}')
        assert process.running(tmp_path) is None
        assert process.stop(tmp_path) is False
        assert other.poll() is None
        other.communicate(b"\n")


def test_the_environment_can_reach_nothing_but_the_emulator(emulator: Emulator) -> None:
    environment = emulator.environment(WORKLOAD, REGION)

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])",
        ],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == f"arn:aws:iam::{WORKLOAD}:root"
    assert (
        environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    )


def test_it_listens_on_the_loopback_only_and_with_tls(emulator: Emulator) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = [line.split()[1] for line in listening if line.split()[3] == "0A"]
    ours = [address for address in local if int(address.split(":")[1], 16) == emulator.port]
    assert ours == [f"0100007F:{emulator.port:04X}"]

    client = boto3.client(
        "sts",
        endpoint_url=emulator.endpoint_url,
        region_name=REGION,
        aws_access_key_id=WORKLOAD,
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(SSLError):
        client.get_caller_identity()


def test_state_shows_what_is_there_and_reset_forgets_it(tmp_path: Path) -> None:
    emulator = process.start(tmp_path, free_port(), wait_scale=0.0)
    try:
        account = {"account_id": WORKLOAD, "name": "workload", "tags": {"Owner": "payments"}}
        added = emulator.control("accounts", {"accounts": [account]})["accounts"]
        analyzer = emulator.client("accessanalyzer", WORKLOAD)
        analyzer.create_analyzer(analyzerName="a", type="ACCOUNT")
        emulator.control("settings", {"max_files": 7})
        emulator.client("s3", WORKLOAD).create_bucket(
            Bucket="some-bucket", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        before = emulator.control("state")

        emulator.control("reset", {})
        after = emulator.control("state")

        assert added[0]["Id"] == WORKLOAD
        assert [a["Id"] for a in before["accounts"]][-1] == WORKLOAD
        assert before["analyzers"][0]["type"] == "ACCOUNT"
        assert before["settings"]["max_files"] == 7
        assert (after["accounts"], after["analyzers"]) == ([], [])
        assert after["settings"]["max_files"] == 100_000
        assert emulator.client("s3", WORKLOAD).list_buckets()["Buckets"] == []
    finally:
        process.stop(tmp_path)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("nowhere", {}, "known"),
        ("settings", {"speed": 1}, "speed"),
        ("settings", {"max_files": "many"}, "max_files"),
        ("accounts", {"accounts": [{"account_id": "12", "name": "x"}]}, "12 digits"),
        ("usage", {}, "entries"),
    ],
)
def test_a_wrong_control_request_says_what_is_wrong(
    emulator: Emulator, path: str, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(EmulatorControlError, match=message):
        emulator.control(path, body)


def test_unknown_credentials_are_refused_as_aws_does(box: Box) -> None:
    client = box.emulator.client_with("accessanalyzer", access_key_id=unique("AKIAUNKNOWN"))

    with pytest.raises(ClientError) as error:
        client.list_analyzers()

    assert error.value.response["Error"]["Code"] == "UnrecognizedClientException"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
