"""`pare local status` tells how to look at what runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pare import cli

if TYPE_CHECKING:
    import pytest


def test_how_to_read_what_people_were_told_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    emulator: Any = SimpleNamespace(environment=lambda *_: {"AWS_REGION": "eu-west-1"})
    outputs = {"ProposalsTableName": "Proposals", "EvidenceBucketName": "evidence"}
    found = {"accounts": [], "executions": {}, "outputs": outputs, "hub_account_id": "1",
             "home_region": "eu-west-1"}  # fmt: skip

    cli._print_deployment(emulator, found)

    text = capsys.readouterr().out
    assert "aws sqs receive-message" in text
    assert "--queue-name pare-demo-people" in text
