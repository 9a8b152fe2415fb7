"""What the function that reads logs takes: processor time a MB, and peak memory, by its own code.

Run: ``python -m bench.digest_step [--size 1GB] [--principals 5000]``. ``digest_logs``'s own handler
reads all files of a generated trail as if they were one account's (the hardest case: every
account's files go to one step), from a server on the loopback over TLS with the fetcher it has in
AWS; the evidence bucket is a dictionary. Memory is the process's peak, less what it had before
the handler ran; the 1,769 MB of the function are one processor in AWS, so processor time here is
about its duration there, on a processor like this one. Arm64 is not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bench.fetch import ENVIRONMENT, ROOT, make_certificate
from bench.trail_files import MEGABYTE, Parameters, Trail, make_trail, parse_size

FUNCTION = {"EVIDENCE_BUCKET_NAME": "evidence", "TRAIL_BUCKET_NAME": "trail",
            "POWERTOOLS_LOG_LEVEL": "WARNING"}  # fmt: skip


async def serve(folder: Path, certificate: str) -> None:
    """Answer a GET of /trail/KEY with the file of that name; print the port first."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = unquote(head.split(b" ", 2)[1].decode()).removeprefix("/trail/")
                body = (folder / path).read_bytes()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nLast-Modified: Sat, 21 Nov 2026 00:05:00 GMT\r\n"
                    b'ETag: "0"\r\nContent-Length: %d\r\n\r\n' % len(body) + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass
class Store:
    """The evidence bucket in memory: nothing was read before."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def get(self, key: str) -> bytes:
        return self.objects[key]

    def put(self, key: str, body: bytes) -> None:
        self.objects[key] = body

    def committed(self, *_: str) -> None:
        return None


class Context:
    """All the time there is."""

    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def measure(folder: Path) -> dict[str, float]:
    """Return what the handler took for all files of a folder."""
    from lambdas.activity import digest_logs

    store = Store()
    setattr(digest_logs, "ActivityStore", lambda *_: store)  # noqa: B010 - mypy knows it as a class
    days: dict[str, list[tuple[str, int]]] = {}
    for path in sorted(folder.glob("AWSLogs/**/*.json.gz")):
        key = path.relative_to(folder).as_posix()
        day = "-".join(key.split("/")[-4:-1])
        days.setdefault(day, []).append((key, path.stat().st_size))
    text = json.dumps({"region": ENVIRONMENT["AWS_REGION"], "days": days})
    store.put("logs", gzip.compress(text.encode()))
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    event: Any = {
        "account_id": "111122223333",
        "logs": {"bucket": "evidence", "key": "logs"},
        "prefix": "run",
    }
    progress = digest_logs.lambda_handler(event, Context())  # type: ignore[arg-type]
    after = resource.getrusage(resource.RUSAGE_SELF)
    if not progress["is_complete"]:
        raise SystemExit(f"not complete: {progress}")
    return {
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "seconds": time.perf_counter() - begin,
        "before_mb": before.ru_maxrss / 1024,
        "peak_mb": after.ru_maxrss / 1024,
        "written_mb": sum(map(len, store.objects.values())) / MEGABYTE,
    }


def run(trail: Trail) -> dict[str, float]:
    """Return the figures of a fresh process that reads the trail."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder) / "server.pem"
        make_certificate(certificate)
        command = [sys.executable, "-m", "bench.digest_step"]
        environment = {**os.environ, **ENVIRONMENT, **FUNCTION}
        with subprocess.Popen(
            [*command, "--serve", str(trail.folder), "--certificate", str(certificate)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        ) as server:  # fmt: skip
            assert server.stdout is not None
            try:
                port = server.stdout.readline().strip()
                environment["AWS_ENDPOINT_URL"] = f"https://127.0.0.1:{port}"
                environment["AWS_CA_BUNDLE"] = str(certificate)
                done = subprocess.run(
                    [*command, "--client", str(trail.folder)], cwd=ROOT, env=environment,
                    stdout=subprocess.PIPE, text=True, check=True, timeout=1_800,
                )  # fmt: skip
            finally:
                server.terminate()
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=1_000 * MEGABYTE)
    parser.add_argument("--principals", type=int, default=5_000)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--certificate", help=argparse.SUPPRESS)
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve, given.certificate))
        return
    if given.client:
        print(json.dumps(measure(given.client)), flush=True)
        os._exit(0)
    trail = make_trail(Parameters(size=given.size, principals=given.principals))
    found = run(trail)
    mb = trail.bytes / MEGABYTE
    print(
        f"digest step: {trail.files:,} files, {mb:,.0f} MB uncompressed, {trail.records:,} records"
    )
    print(f"digest step: {found['cpu'] / mb * 1000:.2f} ms of processor time a MB uncompressed")
    print(f"digest step: {found['cpu'] / trail.files * 1000:.2f} ms a file, fetching included")
    print(f"digest step: {found['cpu']:.1f} s of processor time in {found['seconds']:.1f} s")
    print(f"digest step: peak {found['peak_mb']:.0f} MB, {found['before_mb']:.0f} MB of it before")
    print(f"digest step: {found['written_mb']:.1f} MB written")


if __name__ == "__main__":
    main()
