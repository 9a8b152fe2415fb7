from __future__ import annotations

import multiprocessing
import os
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pare.cloudtrail import parallel
from pare.cloudtrail.deduplicate import Seen
from pare.cloudtrail.digest import DUPLICATE, OTHER_PRINCIPAL, Digest
from pare.cloudtrail.parallel import add_local_file, digest_files
from pare.errors import WorkerError
from tests.unit.cloudtrail.records import (
    ONE_OF_EACH,
    USER_ARN,
    Json,
    as_bytes,
    assert_consistent,
    delivered,
    packed,
    principals,
    record,
    role_session,
    s3_get,
    user,
)

if TYPE_CHECKING:
    from pare.cloudtrail.activity import Activity
    from pare.cloudtrail.parallel import NewDigest
    from pare.cloudtrail.principals import Principal


@pytest.fixture(autouse=True)
def _worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_BYTES_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(parallel, "_FILES_AT_ONCE", 2)


def write(folder: Path, contents: dict[str, bytes]) -> list[str]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def run(
    files: list[str], jobs: int, new_digest: NewDigest = Digest, seen: Seen | None = None
) -> Activity:
    read: list[int] = []
    sizes = [os.path.getsize(file) if Path(file).is_file() else 0 for file in files]  # noqa: PTH202
    activity = digest_files(
        files,
        sizes,
        new_digest,
        jobs=jobs,
        seen=Seen() if seen is None else seen,
        progress=read.append,
    )
    assert sum(read) == sum(sizes)
    assert multiprocessing.active_children() == []
    return activity


def contents() -> dict[str, bytes]:
    """Return files whose duplicates lie in others; some are broken."""
    made: dict[str, bytes] = {}
    for number in range(12):
        records: list[Json] = [s3_get(1000 + number * 10 + n, f"{n}/{number}") for n in range(5)]
        records += [
            s3_get(1000 + (number * 10 + 30) % 120 + n, f"{n}/{(number + 3) % 12}")
            for n in range(3)
        ]
        records += ONE_OF_EACH
        records.append(record(5000 + number, userIdentity=role_session(f"pod-{number % 7}")))
        records.append(
            record(
                6000 + number, userIdentity=user(), eventTime=f"2026-11-{number + 1:02}T00:00:00Z"
            )
        )
        made[f"{number:02}.json.gz"] = packed(delivered(*records))
    return made | {
        "broken.json": b"no",
        "cut.json.gz": packed(delivered(record(9000)))[:-9],
        "empty.json": b"",
    }


def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path) -> None:
    files = [*write(tmp_path, contents()), str(tmp_path / "not there.json"), str(tmp_path)]
    alone = run(files, 1)
    assert alone.totals.ignored[DUPLICATE] > 50
    assert len(alone.problem_files) >= 5
    assert_consistent(alone)
    for jobs in (2, 3):
        assert as_bytes(run(files, jobs)) == as_bytes(alone)


def test_the_same_files_the_other_way_round_give_the_same_bytes(tmp_path: Path) -> None:
    files = write(tmp_path, contents())
    assert as_bytes(run(files[::-1], 2)) == as_bytes(run(files, 1))


def test_event_ids_of_processes_are_in_the_one_set_afterwards(tmp_path: Path) -> None:
    files = write(tmp_path, contents())
    alone, several = Seen(), Seen()
    run(files, 1, seen=alone)
    run(files, 2, seen=several)
    assert alone.to_bytes() == several.to_bytes()
    again = run(files, 2, seen=several)
    # Nothing but the records without an id.
    assert again.totals.used == again.totals.denied == 0
    assert len(several) == len(alone) > 0


def only_the_user(principal: Principal) -> str | None:
    return None if principal.principal == USER_ARN else OTHER_PRINCIPAL


def test_options_reach_every_process(tmp_path: Path) -> None:
    files = write(tmp_path, contents())
    new_digest = partial(
        Digest, since="2026-11-03T00:00:00Z", until="2026-11-05T00:00:00Z", wanted=only_the_user
    )
    alone = run(files, 1, new_digest)
    assert [line["principal"] for line in principals(alone)] == [USER_ARN]
    assert alone.totals.used == 2
    assert as_bytes(run(files, 3, new_digest)) == as_bytes(alone)


def test_no_more_processes_than_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(tmp_path, {"a.json": delivered(record(1))})
    monkeypatch.setattr(parallel, "_in_processes", lambda *_, **__: pytest.fail("not worth it"))
    assert run(files, 8).totals.used == 1
    assert run([], 8).totals.records == 0


def test_little_is_read_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    files = write(tmp_path, contents())
    monkeypatch.setattr(parallel, "_in_processes", lambda *_, **__: pytest.fail("not worth it"))
    run(files, 8)


def dying(digest: Digest, file: str) -> None:
    if file.endswith("00.json.gz"):
        os._exit(9)
    add_local_file(digest, file)


def test_a_process_that_dies_is_an_error_not_a_part_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write(tmp_path, contents())
    monkeypatch.setattr(parallel, "add_local_file", dying)
    with pytest.raises(WorkerError, match="ended before"):
        run(files, 2)


def test_a_process_that_dies_ends_the_others_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write(tmp_path, contents())
    waited: list[float] = []
    real = BaseProcess.join

    def join(self: BaseProcess, timeout: float | None = None) -> None:
        started = time.monotonic()
        real(self, 1 if timeout is None else min(timeout, 1))
        waited.append(time.monotonic() - started)

    monkeypatch.setattr(parallel, "add_local_file", dying)
    monkeypatch.setattr(BaseProcess, "join", join)
    with pytest.raises(WorkerError):
        run(files, 2)
    assert max(waited) < 0.9
