"""Log files read by one process a core.

Every process sums up its own files; the parts are merged at the end. The event ids are kept in one
place, here, because the two copies of an event lie in different files: a worker asks for each file
which of its events were counted already. At the end a worker packs its part as an activity file, a
twentieth of what it is in memory, and is gone before the parts are unpacked.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from pare.cloudtrail.activity import Activity
from pare.cloudtrail.activity_file import read_activity, write_activity
from pare.cloudtrail.calls import load_tables
from pare.cloudtrail.deduplicate import event_keys, split_keys
from pare.cloudtrail.sources import log_key
from pare.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from pare.cloudtrail.deduplicate import Seen
    from pare.cloudtrail.digest import Digest

# Handed to a worker at once: fewer questions for small files.
_FILES_AT_ONCE = 16
# Below this, starting processes costs more than it saves.
_BYTES_WORTH_A_PROCESS = 2_000_000
# The largest share against the mean, up to which workers get whole accounts.
_EVEN = 1.25
# Files, and their size together.
Batch = tuple["Sequence[str]", int]
# ``Digest`` with all its arguments but ``seen``: ``functools.partial(Digest, since=...)``.
NewDigest = Callable[..., "Digest"]


def digest_files(
    files: Sequence[str],
    sizes: Sequence[int],
    new_digest: NewDigest,
    *,
    jobs: int,
    seen: Seen,
    progress: Callable[[int], None] = lambda size: None,
    is_all: bool = False,
) -> Activity:
    """Return the activity of local files; ``progress`` is told the size of what has been read.

    ``is_all``: nothing more is read with these event ids, so that they need not be kept.
    """
    jobs = max(1, min(jobs, len(files), sum(sizes) // _BYTES_WORTH_A_PROCESS))
    if jobs > 1:
        return _in_processes(
            files, sizes, new_digest, seen, jobs=jobs, progress=progress, is_all=is_all
        )
    digest = new_digest(seen=seen)
    for file, size in zip(files, sizes, strict=True):
        add_local_file(digest, file)
        progress(size)
    if is_all:
        seen.clear()
    return digest.activity()


def add_local_file(digest: Digest, file: str) -> None:
    """Count one file of this machine; one that cannot be opened is counted and named."""
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 a Path costs as much as reading a small file
            digest.add_stream(file, opened)
    except OSError as error:
        digest.lose_file(file, f"cannot be opened: {error.strerror}")


class _RemoteSeen:
    """Asks the parent which events were counted already."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def repeated(self, event_ids: list[str]) -> list[int] | None:
        self.connection.send(b"".join(event_keys(event_ids)))
        answer: list[int] | None = self.connection.recv()
        return answer


def _work(connection: Connection, new_digest: NewDigest) -> None:
    """A worker: asks for files until there are none, then sends its activity."""
    try:
        digest = new_digest(seen=_RemoteSeen(connection))
        while True:
            connection.send(None)
            files = connection.recv()
            if not files:
                break
            for file in files:
                add_local_file(digest, file)
        packed = io.BytesIO()
        write_activity(digest.activity(), packed)
        packed.seek(0)
        connection.send(packed)
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone, or was interrupted
    except Exception:
        traceback.print_exc()
        raise
    finally:
        connection.close()


def _in_processes(
    files: Sequence[str],
    sizes: Sequence[int],
    new_digest: NewDigest,
    seen: Seen,
    *,
    jobs: int,
    progress: Callable[[int], None],
    is_all: bool,
) -> Activity:
    # Forking shares the tables that are loaded already; where it is unsafe, workers start anew.
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    load_tables()
    parts: list[io.BytesIO] = []
    workers: dict[Connection, Any] = {}
    given: dict[Connection, int] = {}
    work: dict[Connection, Iterator[Batch]] = {}
    try:
        for batches in _shares(files, sizes, jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, new_digest), daemon=True)
            process.start()
            theirs.close()
            workers[ours], work[ours] = process, batches
        waiting = list(workers)
        reading = len(workers)  # those that may still ask about event ids
        connection: Any
        while waiting:
            for connection in wait(waiting):
                try:
                    asked = connection.recv()
                except EOFError:
                    raise WorkerError(
                        "a process that reads log files ended before its work"
                    ) from None
                if isinstance(asked, bytes):
                    connection.send(seen.repeated_keys(split_keys(asked)))
                elif asked is None:
                    progress(given.get(connection, 0))
                    batch, given[connection] = next(work[connection], ((), 0))
                    connection.send(batch)
                    reading -= not batch
                    if is_all and not reading:
                        seen.clear()
                else:
                    parts.append(asked)
                    waiting.remove(connection)
    except BaseException:
        for process in workers.values():
            process.terminate()
        raise
    finally:
        for connection, process in workers.items():
            connection.close()
            process.join()
    activity = Activity()
    while parts:
        activity.absorb(read_activity(parts.pop()))
    return activity


def _shares(files: Sequence[str], sizes: Sequence[int], jobs: int) -> list[Iterator[Batch]]:
    """Return the batches of each worker: whole accounts, if these make even shares.

    Then no two workers have rows of the same principal. Otherwise all take from one heap.
    """
    accounts: dict[str, list[int]] = {}
    for position, file in enumerate(files):
        key = log_key(file)
        accounts.setdefault(key.account_id if key else "", []).append(position)
    loads, shares = [0] * jobs, [list[int]() for _ in range(jobs)]
    by_size = {name: sum(sizes[i] for i in positions) for name, positions in accounts.items()}
    for name in sorted(by_size, key=lambda each: (-by_size[each], each)):
        least = loads.index(min(loads))
        loads[least] += by_size[name]
        shares[least] += accounts[name]
    if max(loads) > _EVEN * sum(loads) / jobs:
        heap = _batches(files, sizes)
        return [heap] * jobs
    return [
        _batches([files[i] for i in sorted(share)], [sizes[i] for i in sorted(share)])
        for share in shares
    ]


def _batches(files: Sequence[str], sizes: Sequence[int]) -> Iterator[Batch]:
    for start in range(0, len(files), _FILES_AT_ONCE):
        end = start + _FILES_AT_ONCE
        yield files[start:end], sum(sizes[start:end])
