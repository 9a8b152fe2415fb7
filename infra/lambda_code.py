"""The zip folders of the functions, made without Docker (docs/decisions/0002).

``LAMBDA`` is pure Python and small: for every function that reads no logs. ``ACTIVITY`` has the
compiled wheels that reading logs needs, for the platform it runs on.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("lambdas", "pare")
# pip writes the builder's paths and choices into these; the asset's hash must not depend on them.
UNREPRODUCIBLE = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")
# Lambda's Python, and the tags of wheels that run there: Python 3.14 runs on Amazon Linux 2023,
# which has glibc 2.34. pip takes exactly the tags that are named, so each is.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
PYTHON_VERSION = "3.14"
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_24_aarch64", "manylinux_2_28_aarch64")


@dataclass(frozen=True, slots=True)
class Asset:
    """A zip folder: its name under ``.build``, and what is installed in it."""

    name: str
    requirements: str


LAMBDA = Asset("lambda", "requirements-lambda.txt")
ACTIVITY = Asset("activity", "requirements-activity.txt")
ASSETS = (LAMBDA, ACTIVITY)


def stage(root: Path, asset: Asset = LAMBDA, *, for_host: bool = False) -> Path:
    """Return the folder to zip: the dependencies, ``pare`` and ``lambdas`` beside each other.

    ``for_host``: with wheels for the Python that runs this, where an emulator runs the functions.
    The dependencies are installed anew only when the requirements have changed.
    """
    requirements = root / asset.requirements
    tags = (
        (sys.platform, sys.implementation.cache_tag) if for_host else (PYTHON_VERSION, *PLATFORMS)
    )
    key = hashlib.sha256(f"{tags}".encode() + requirements.read_bytes()).hexdigest()[:16]
    dependencies = root / ".build" / f"dependencies-{key}"
    if not dependencies.is_dir():
        _install(requirements, dependencies, for_host=for_host)
    folder = root / ".build" / asset.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(dependencies, folder)
    for package in PACKAGES:
        shutil.copytree(
            root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def _install(requirements: Path, target: Path, *, for_host: bool) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    where = [] if for_host else ["--python-version", PYTHON_VERSION]
    where += [] if for_host else [f"--platform={platform}" for platform in PLATFORMS]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-compile", "--only-binary=:all:", *where, "--target", str(partial),
         "-r", str(requirements)],
        check=True,
    )  # fmt: skip
    shutil.rmtree(partial / "bin", ignore_errors=True)
    for info in partial.glob("*.dist-info"):
        for name in UNREPRODUCIBLE:
            (info / name).unlink(missing_ok=True)
    partial.rename(target)
