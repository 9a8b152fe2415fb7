"""The one zip folder of all functions, made without Docker (docs/decisions/0002)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

REQUIREMENTS = "requirements-lambda.txt"
PACKAGES = ("lambdas", "pare")
# pip writes the builder's paths and choices into these; the asset's hash must not depend on them.
UNREPRODUCIBLE = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")
# Lambda's Python. Pure-Python wheels only, so the same folder runs in any emulator's Python.
PYTHON_VERSION = "3.14"
PLATFORM = "manylinux2014_aarch64"


def stage(root: Path) -> Path:
    """Return the folder to zip: the dependencies, ``pare`` and ``lambdas`` beside each other.

    The dependencies are installed anew only when requirements-lambda.txt has changed.
    """
    requirements = root / REQUIREMENTS
    key = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    dependencies = root / ".build" / f"dependencies-{key}"
    if not dependencies.is_dir():
        _install(requirements, dependencies)
    folder = root / ".build" / "lambda"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(dependencies, folder)
    for package in PACKAGES:
        shutil.copytree(
            root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def _install(requirements: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-compile", "--only-binary=:all:", "--platform", PLATFORM,
         "--python-version", PYTHON_VERSION, "--target", str(partial), "-r", str(requirements)],
        check=True,
    )  # fmt: skip
    shutil.rmtree(partial / "bin", ignore_errors=True)
    for info in partial.glob("*.dist-info"):
        for name in UNREPRODUCIBLE:
            (info / name).unlink(missing_ok=True)
    partial.rename(target)
