from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pare.cloudtrail.sources import (
    LINKED_FOLDER,
    NOT_A_LOG_FILE,
    LogKey,
    classify,
    files_under,
    log_key,
    reading_order,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ACCOUNT = "111122223333"
NAME = f"{ACCOUNT}_CloudTrail_eu-west-1_20261121T1015Z_AbCdEfGh12345678.json.gz"
FOLDERS = f"{ACCOUNT}/CloudTrail/eu-west-1/2026/11/21"
PLAIN = LogKey(ACCOUNT, "eu-west-1", "2026-11-21")
IN_ORGANIZATION = LogKey(ACCOUNT, "eu-west-1", "2026-11-21", "o-abcde12345")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"AWSLogs/{FOLDERS}/{NAME}", PLAIN),
        (f"a/prefix of/mine/AWSLogs/{FOLDERS}/{NAME}", PLAIN),
        (f"AWSLogs/o-abcde12345/{FOLDERS}/{NAME}", IN_ORGANIZATION),
        (f"prefix/AWSLogs/o-abcde12345/{FOLDERS}/{NAME}", IN_ORGANIZATION),
        # Control Tower: the organization is the prefix as well.
        (f"o-abcde12345/AWSLogs/o-abcde12345/{FOLDERS}/{NAME}", IN_ORGANIZATION),
        (NAME, PLAIN),
        (f"copied/flat/{NAME}", PLAIN),
        (NAME.replace(".json.gz", ".json"), PLAIN),
        (f"AWSLogs/{FOLDERS}/renamed.json.gz", PLAIN),
        (f"/home/ann/AWSLogs/{FOLDERS}/{NAME}", PLAIN),
    ],
)
def test_the_key_of_a_log_file_tells_account_region_and_day_in_every_layout(
    key: str, expected: LogKey
) -> None:
    assert log_key(key) == expected
    assert classify(key) is None


@pytest.mark.parametrize(
    "key",
    [
        "log.json",
        f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/eu-west-1/2026/11/21/{NAME}",
        f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/11/{NAME}".replace(ACCOUNT, "1234"),
        f"AWSLogs/{FOLDERS}/.hidden",
        "",
        "/",
    ],
)
def test_other_keys_tell_nothing(key: str) -> None:
    assert log_key(key) is None


@pytest.mark.parametrize(
    ("sibling", "reason"),
    [
        ("CloudTrail-Digest", "digest file"),
        ("CloudTrail-Insight", "Insights file"),
        ("CloudTrail-NetworkActivity", "network activity file"),
        ("CloudTrail-Aggregated", "aggregated file"),
    ],
)
def test_files_beside_the_logs_are_passed_over_by_folder_and_by_name(
    sibling: str, reason: str
) -> None:
    name = NAME.replace("_CloudTrail_", f"_{sibling}_")
    folders = FOLDERS.replace("/CloudTrail/", f"/{sibling}/")
    assert classify(f"AWSLogs/{folders}/{name}") == reason
    assert classify(f"AWSLogs/o-abcde12345/{folders}/anything.json.gz") == reason
    assert classify(name) == reason
    assert classify(f"copied/{name}") == reason
    assert log_key(f"copied/{name}") is None


def test_a_digest_files_real_name_is_known() -> None:
    # The trail's name and home Region stand in it too.
    name = f"{ACCOUNT}_CloudTrail-Digest_eu-west-1_my-Trail.1_us-east-2_20261121T110000Z.json.gz"
    assert classify(name) == "digest file"


@pytest.mark.parametrize(
    "name", ["a.json", "a.json.gz", "a.JSON.GZ", "a.ndjson", "a.jsonl.gz", "a.log", "a.gz"]
)
def test_log_files_are_known_by_their_endings(name: str) -> None:
    assert classify(name) is None
    assert classify(f"some/folder/{name}") is None


@pytest.mark.parametrize("name", ["a.txt", "README.md", ".a.json", "a.zip", "json", "a.csv", ""])
def test_others_are_not(name: str) -> None:
    assert classify(name) == NOT_A_LOG_FILE


def test_a_file_of_that_folders_name_is_no_folder() -> None:
    assert classify("CloudTrail-Digest.json") is None


def touch(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_folders_are_walked_and_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    touch(
        tmp_path,
        ["b.json", "x/a.json.gz", "x/notes.txt", "x/CloudTrail-Digest/d.json.gz", "x/y/z/n.ndjson"],
    )
    skipped: dict[str, int] = {}
    found = files_under([str(tmp_path)], skipped)
    assert found == sorted(
        str(tmp_path / each) for each in ("b.json", "x/a.json.gz", "x/y/z/n.ndjson")
    )
    assert skipped == {NOT_A_LOG_FILE: 1, "digest file": 1}


def test_a_file_that_is_named_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    touch(tmp_path, ["notes.txt"])
    skipped: dict[str, int] = {}
    assert files_under([str(tmp_path / "notes.txt")], skipped) == [str(tmp_path / "notes.txt")]
    assert skipped == {}


def test_a_file_reached_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, ["x/a.json"])
    monkeypatch.chdir(tmp_path)
    paths = [".", "x", "x/a.json", str(tmp_path), "x/../x/a.json", f"{tmp_path}/"]
    assert files_under(paths, {}) == [str(tmp_path / "x/a.json")]


def test_what_lies_above_the_named_folder_does_not_matter(tmp_path: Path) -> None:
    touch(tmp_path, ["CloudTrail-Digest/mine/a.json"])
    assert files_under([str(tmp_path / "CloudTrail-Digest/mine")], {})


def test_the_root_folder_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = [("/", ["CloudTrail-Digest"], ["a.json"]), ("/CloudTrail-Digest", [], ["d.json"])]
    monkeypatch.setattr(os, "walk", lambda *_, **__: iter(walked))
    skipped: dict[str, int] = {}
    assert files_under(["/"], skipped) == ["/a.json"]
    assert skipped == {"digest file": 1}


def test_a_folder_that_cannot_be_listed_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, ["a.json", "closed/b.json"])
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    # As a file, so that opening it fails and it is named.
    assert files_under([str(tmp_path)], {}) == [str(tmp_path / "a.json"), str(tmp_path / "closed")]


def test_a_link_to_a_folder_is_not_followed_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, ["logs/a.json", "far/b.json"])
    (tmp_path / "logs/link").symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "logs/self").symlink_to(tmp_path / "logs", target_is_directory=True)
    skipped: dict[str, int] = {}
    assert files_under([str(tmp_path / "logs")], skipped) == [str(tmp_path / "logs/a.json")]
    assert skipped == {LINKED_FOLDER: 2}


def test_a_link_that_is_named_itself_is_read(tmp_path: Path) -> None:
    touch(tmp_path, ["far/b.json"])
    (tmp_path / "link").symlink_to(tmp_path / "far", target_is_directory=True)
    assert len(files_under([str(tmp_path / "link")], {})) == 1


def test_files_are_read_day_by_day_and_account_by_account() -> None:
    def key(account: str, day: str, region: str, end: str) -> str:
        return (
            f"AWSLogs/{account}/CloudTrail/{region}/2026/11/{day}/"
            f"{account}_CloudTrail_{region}_202611{day}T0000Z_{end}.json.gz"
        )

    in_order = [
        "plain.json",
        key("111111111111", "20", "us-east-1", "a"),
        key("222222222222", "20", "eu-west-1", "a"),
        key("111111111111", "21", "eu-west-1", "a"),
        key("111111111111", "21", "us-east-1", "a"),
    ]
    assert sorted(reversed(in_order), key=reading_order) == in_order
