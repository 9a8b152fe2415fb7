"""The engine on real records, which lie beside the checkout and not in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pare.cloudtrail.deduplicate import Seen
from pare.cloudtrail.digest import DUPLICATE, Digest
from pare.cloudtrail.parallel import digest_files
from pare.cloudtrail.sources import files_under
from tests.unit.cloudtrail.records import (
    as_bytes,
    assert_consistent,
    by_lines,
    copy_of,
    digest,
    header,
    lines,
    merged,
    packed,
    read,
)

REAL = Path(__file__).parents[4] / "shared/cloudtrail"
INVICTUS = "invictus-ir-aws_dataset"
# Folder -> records, duplicates among them.
FOLDERS = {
    INVICTUS: (2900, 0),
    "stratus-red-team": (312, None),
    "opensearch-catalog": (891, None),
    "umccr-cloudtrail-parquet-lambda": (206, None),
    "aws-docs": (292, None),
}


def contents(folder: str) -> dict[str, bytes]:
    path = REAL / folder
    if not path.is_dir():
        pytest.skip(f"{path} is not here: the engine is not tested on real records")
    found = files_under([str(path)], {})
    return {Path(file).name: Path(file).read_bytes() for file in found}


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_of_real_records_is_unreadable_and_each_has_its_place(folder: str) -> None:
    count, duplicates = FOLDERS[folder]
    activity = digest(contents(folder))
    assert_consistent(activity, records=count)
    assert activity.totals.unreadable_files == {}
    assert activity.totals.unreadable_records == {}
    assert activity.problem_files == {}
    if duplicates is not None:
        assert activity.totals.ignored.get(DUPLICATE, 0) == duplicates


def test_the_invictus_trail_is_known() -> None:
    activity = digest(contents(INVICTUS))
    told = header(activity)
    assert told["files"]["read"] == len(contents(INVICTUS))
    records = [each for file in contents(INVICTUS).values() for each in json.loads(file)["Records"]]
    times = sorted(each["eventTime"] for each in records)
    assert (told["first"], told["last"]) == (times[0], times[-1])
    arns = {
        (each["userIdentity"].get("sessionContext") or {}).get("sessionIssuer", {}).get("arn")
        or each["userIdentity"].get("arn")
        for each in records
    }
    assert {principal.principal for principal in activity.principals} & arns >= {
        line["principal"] for line in lines(activity) if line.get("kind") in {"IAMUser", "Root"}
    }
    denied = sum(line["count"] for line in lines(activity) if line.get("outcome") == "denied")
    assert denied >= told["records"]["denied"] > 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_halves_of_real_records_add_up_to_the_whole(folder: str) -> None:
    whole = contents(folder)
    if len(whole) == 1:
        # One file of many records: cut into many files, each record still in its order.
        ((name, content),) = whole.items()
        loaded = json.loads(content)
        records = loaded if isinstance(loaded, list) else loaded["Records"]
        whole = {
            f"{n:03}-{name}": by_lines(*records[n : n + 10]) for n in range(0, len(records), 10)
        }
    names = sorted(whole)
    seen = Seen()
    halves = [
        digest({name: whole[name] for name in part}, seen=seen)
        for part in (names[: len(names) // 2], names[len(names) // 2 :])
    ]
    expected = as_bytes(digest({name: whole[name] for name in names}))
    assert as_bytes(merged(halves)) == expected
    assert as_bytes(merged([copy_of(half) for half in reversed(halves)])) == expected


def test_the_order_of_files_does_not_matter_where_no_event_id_has_two_contents() -> None:
    whole = contents(INVICTUS)
    assert as_bytes(digest(dict(reversed(whole.items())))) == as_bytes(digest(whole))


@pytest.mark.parametrize("folder", FOLDERS)
def test_real_records_in_any_form_are_the_same_records(folder: str) -> None:
    for content in contents(folder).values():
        loaded = json.loads(content)
        records = loaded if isinstance(loaded, list) else loaded["Records"]
        expected, _ = read(content)
        for form in (
            by_lines(*records),
            packed(content),
            json.dumps(records, indent=2).encode(),
            b"".join(json.dumps(each).encode() for each in records),
        ):
            found, reading = read(form)
            assert [each.eventID for each in found] == [each.eventID for each in expected]
            assert (reading.file_problem, reading.record_problems) == (None, {})


def test_processes_read_real_records_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pare.cloudtrail.parallel._BYTES_WORTH_A_PROCESS", 1)
    files = []
    for name, content in contents(INVICTUS).items():
        files.append(str(tmp_path / name))
        (tmp_path / name).write_bytes(content)
    sizes = [Path(file).stat().st_size for file in files]
    alone, several = (digest_files(files, sizes, Digest, jobs=jobs, seen=Seen()) for jobs in (1, 2))
    assert as_bytes(alone) == as_bytes(several)
    assert as_bytes(alone) == as_bytes(digest(contents(INVICTUS)))
