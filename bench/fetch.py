"""What it costs this process to fetch a small object from S3, by client: one line a figure.

The bar is 0.5 ms of client CPU an object, the reach 0.2 ms (design.md §11). Run:
``python -m bench.fetch [--objects 3000] [--size 15000] [--rounds 3]``.

A server in another process answers on the loopback as S3 does to a GET; each client runs in a fresh
process of its own and fetches every object, many at a time. Counted is the process time of the
client, all its threads, user and system (``getrusage``), from the first fetch to the last; the
median of some rounds, taken in turns. Plain HTTP and TLS are measured apart: in AWS it is always
TLS. The server checks no signature, but every client signs.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
BUCKET = "trail"
REGION = "eu-west-1"
AT_ONCE = 16
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "token" * 60,
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def keys_of(count: int) -> list[str]:
    """Return keys as an organization trail has them."""
    folder = "AWSLogs/o-a1b2c3d4e5/111122223333/CloudTrail/eu-west-1/2026/11/21"
    stem = f"{folder}/111122223333_CloudTrail_eu-west-1_20261121T0005Z_"
    return [f"{stem}{number:016d}.json.gz" for number in range(count)]


# --- The server -----------------------------------------------------------------------------------


async def serve(size: int, certificate: str | None) -> None:
    """Answer every GET with the same bytes, connections kept alive; print the port first."""
    body = os.urandom(size)
    head = (
        "HTTP/1.1 200 OK\r\n"
        "x-amz-id-2: eftixk72aD6Ap51TnqcoF8eFidJG9Z/2mkiDFu8yU9AS1ed4OpIszj7UDNEHGran\r\n"
        "x-amz-request-id: 318BC8BC148832E5\r\n"
        "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
        "Last-Modified: Sat, 21 Nov 2026 00:05:00 GMT\r\n"
        'ETag: "0123456789abcdef0123456789abcdef"\r\n'
        "x-amz-server-side-encryption: AES256\r\n"
        "Accept-Ranges: bytes\r\n"
        "Content-Type: application/json\r\n"
        "Content-Encoding: gzip\r\n"
        f"Content-Length: {size}\r\n"
        "Server: AmazonS3\r\n\r\n"
    ).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def make_certificate(path: Path) -> None:
    """Write a certificate of 127.0.0.1 and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )


# --- The clients: each yields the sizes of what it fetched ----------------------------------------


def threaded(fetch: Callable[[str], int], keys: list[str]) -> int:
    """Return the bytes of all objects, fetched by threads side by side."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(fetch, keys))


def by_boto3(keys: list[str], _: str) -> int:
    """boto3's get_object."""
    import boto3
    from botocore.config import Config

    s3 = boto3.client("s3", config=Config(max_pool_connections=AT_ONCE))
    return threaded(lambda key: len(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()), keys)


def obstore_of(endpoint: str) -> Any:
    """Return obstore's view of the bucket."""
    from obstore.store import S3Store

    options: Any = {"allow_http": True}
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = Path(bundle).read_bytes()
    return S3Store(
        BUCKET,
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        session_token=os.environ["AWS_SESSION_TOKEN"],
        region=REGION,
        endpoint=endpoint,
        client_options=options,
    )


def by_obstore_threads(keys: list[str], endpoint: str) -> int:
    """obstore's get, in threads."""
    import obstore

    store = obstore_of(endpoint)
    return threaded(lambda key: len(obstore.get(store, key).bytes()), keys)


def by_obstore_asyncio(keys: list[str], endpoint: str) -> int:
    """obstore's get_async, in one event loop."""
    import obstore

    store = obstore_of(endpoint)

    async def fetch_all() -> int:
        waiting = iter(keys)

        async def worker() -> int:
            size = 0
            for key in waiting:
                got = await obstore.get_async(store, key)
                size += len(await got.bytes_async())
            return size

        return sum(await asyncio.gather(*(worker() for _ in range(AT_ONCE))))

    return asyncio.run(fetch_all())


def pool_of(endpoint: str) -> Any:
    """Return urllib3's connections to the endpoint."""
    import urllib3

    maker = urllib3.HTTPSConnectionPool if endpoint.startswith("https") else (
        urllib3.HTTPConnectionPool
    )  # fmt: skip
    host, _, port = endpoint.partition("//")[2].partition(":")
    more: Any = {}
    if endpoint.startswith("https"):
        more["ca_certs"] = os.environ["AWS_CA_BUNDLE"]
    return maker(host, int(port), maxsize=AT_ONCE, **more)


def by_urllib3_and_botocore(keys: list[str], endpoint: str) -> int:
    """urllib3 kept alive, signed by botocore."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    pool = pool_of(endpoint)
    auth = S3SigV4Auth(
        Credentials(
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            os.environ["AWS_SESSION_TOKEN"],
        ),
        "s3",
        REGION,
    )

    def fetch(key: str) -> int:
        request = AWSRequest("GET", f"{endpoint}/{BUCKET}/{key}")
        auth.add_auth(request)
        path = f"/{BUCKET}/{key}"
        headers = dict(request.headers.items())
        return len(pool.request("GET", path, headers=headers, decode_content=False).data)

    return threaded(fetch, keys)


def by_urllib3_and_presigned(keys: list[str], endpoint: str) -> int:
    """urllib3 kept alive, boto3's presigned addresses."""
    import boto3

    pool, s3 = pool_of(endpoint), boto3.client("s3")

    def fetch(key: str) -> int:
        url = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key})
        return len(pool.request("GET", url.removeprefix(endpoint), decode_content=False).data)

    return threaded(fetch, keys)


def by_http_client(keys: list[str], endpoint: str) -> int:
    """http.client kept alive, a signature of 25 lines of our own."""
    local = threading.local()
    host = endpoint.partition("//")[2]
    secret, token = os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_SESSION_TOKEN"]
    empty = hashlib.sha256(b"").hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"

    def hashed(secret: bytes, text: str) -> bytes:
        return hmac.new(secret, text.encode(), hashlib.sha256).digest()

    day = time.strftime("%Y%m%d", time.gmtime())
    scope = f"{day}/{REGION}/s3/aws4_request"
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hashed(signing, part)

    def fetch(key: str) -> int:
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = f"/{BUCKET}/{quote(key)}"
        canonical = (
            f"GET\n{path}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{moment}\n"
            f"x-amz-security-token:{token}\n\n{names}\n{empty}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hashed(signing, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}").hex()
        credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
        connection = getattr(local, "connection", None)
        if connection is None:
            if endpoint.startswith("https"):
                context = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
                connection = http.client.HTTPSConnection(host, context=context)
            else:
                connection = http.client.HTTPConnection(host)
            local.connection = connection
        connection.request(
            "GET",
            path,
            headers={
                "x-amz-content-sha256": empty,
                "x-amz-date": moment,
                "x-amz-security-token": token,
                "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, "
                f"SignedHeaders={names}, Signature={signature}",
            },
        )
        return len(connection.getresponse().read())

    return threaded(fetch, keys)


CLIENTS: dict[str, Callable[[list[str], str], int]] = {
    "boto3 get_object, threads": by_boto3,
    "urllib3, presigned by boto3": by_urllib3_and_presigned,
    "urllib3, signed by botocore": by_urllib3_and_botocore,
    "http.client, own signature": by_http_client,
    "obstore get, threads": by_obstore_threads,
    "obstore get_async": by_obstore_asyncio,
}


def measure(name: str, count: int, size: int, endpoint: str) -> dict[str, float]:
    """Return what fetching all objects by one client cost this process."""
    fetch = CLIENTS[name]
    fetch(keys_of(2 * AT_ONCE), endpoint)  # imports, models, first connections
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    fetched = fetch(keys_of(count), endpoint)
    after, seconds = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - begin
    if fetched != count * size:
        raise SystemExit(f"{name}: {fetched} bytes instead of {count * size}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "seconds": seconds, "peak_mb": after.ru_maxrss / 1024}


# --- The run --------------------------------------------------------------------------------------


def in_turns(count: int, size: int, rounds: int, *, tls: bool) -> Iterator[str]:
    """Yield one line a client."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder) / "server.pem"
        if tls:
            make_certificate(certificate)
        command = [sys.executable, "-m", "bench.fetch"]
        environment = {**os.environ, **ENVIRONMENT}
        more = ["--certificate", str(certificate)] if tls else []
        with subprocess.Popen(
            [*command, "--serve", "--size", str(size), *more],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        ) as server:  # fmt: skip
            assert server.stdout is not None
            endpoint = f"http{'s' * tls}://127.0.0.1:{server.stdout.readline().strip()}"
            environment["AWS_ENDPOINT_URL"] = endpoint
            if tls:
                environment["AWS_CA_BUNDLE"] = str(certificate)
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
            try:
                for _ in range(rounds):
                    for name, figures in taken.items():
                        done = subprocess.run(
                            [*command, "--client", name, "--endpoint", endpoint,
                             "--objects", str(count), "--size", str(size)],
                            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
                            check=True, timeout=300,
                        )  # fmt: skip
                        figures.append(json.loads(done.stdout))
            finally:
                server.terminate()
    for name, figures in taken.items():
        cpu = statistics.median(each["cpu"] for each in figures) / count * 1000
        rate = count / statistics.median(each["seconds"] for each in figures)
        peak = max(each["peak_mb"] for each in figures)
        scheme = "TLS" if tls else "HTTP"
        yield (
            f"fetch {scheme:<4} {name:<28} {cpu:.3f} ms CPU an object, {rate:,.0f} objects/s, "
            f"peak {peak:.0f} MB"
        )


def main() -> None:
    """Print the figures of every client; the inner runs are started by this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=3_000)
    parser.add_argument("--size", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.size, given.certificate))
    elif given.client:
        print(json.dumps(measure(given.client, given.objects, given.size, given.endpoint)))
        sys.stdout.flush()
        # obstore's event loop now and then aborts the interpreter while it ends.
        os._exit(0)
    else:
        for tls in (False, True):
            for line in in_turns(given.objects, given.size, given.rounds, tls=tls):
                print(line, flush=True)


if __name__ == "__main__":
    main()
