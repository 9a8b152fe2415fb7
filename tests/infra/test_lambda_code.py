"""The zip folder: everything a function needs beside what Lambda brings, and always the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.lambda_code import PACKAGES, REQUIREMENTS, UNREPRODUCIBLE, stage
from infra.pipeline_stack import STEPS
from tests.infra.synthesis import ROOT, copy_sources

if TYPE_CHECKING:
    from collections.abc import Callable

# What Lambda's Python brings, so that it need not be in the zip.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
BROUGHT_BY_LAMBDA = ("boto3", "botocore", "s3transfer", "dateutil", "six", "urllib3")
COMPILED = {".pyc", ".pyo", ".so", ".pyd", ".dylib", ".dll"}
# Lambda allows 250 MB, unzipped; every megabyte slows a cold start.
MOST_BYTES = 15_000_000


@pytest.fixture(scope="module")
def staged_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that stages the repository as it is, in a folder of its own."""

    def staged(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        copy_sources(root)
        for package in PACKAGES:  # as after a first run
            (root / package / "__pycache__").mkdir(exist_ok=True)
            (root / package / "__pycache__" / "x.cpython-311.pyc").write_bytes(name.encode())
        try:
            return stage(root)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"pip could not install {REQUIREMENTS} (no network?): {error}")

    return staged


@pytest.fixture(scope="module")
def staged(staged_in: Callable[[str], Path]) -> Path:
    return staged_in("staged")


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file by its path in the folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_every_handler_can_be_imported_from_the_folder_alone(staged: Path, tmp_path: Path) -> None:
    for name in BROUGHT_BY_LAMBDA:
        file = Path(str(import_module(name).__file__))
        source = file.parent if file.name == "__init__.py" else file
        (tmp_path / source.name).symlink_to(source)
    handlers = [f"lambdas.{folder}.{step}" for folder, steps in STEPS.items() for step in steps]
    # -S: no site-packages; the folder stands where the repository does not.
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-W", "error::ImportWarning", "-c",
         "import importlib, sys\n"
         "for name in sys.argv[1:]: assert importlib.import_module(name).lambda_handler\n"
         "import lambdas; print(lambdas.__file__)", *handlers],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{staged}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(staged)


def test_nothing_in_the_folder_is_compiled(staged: Path) -> None:
    # One folder for Lambda's arm64 and for whatever Python runs an emulator.
    compiled = [name for name in contents(staged) if Path(name).suffix in COMPILED]
    assert compiled == []
    assert [each for each in staged.rglob("__pycache__")] == []


def test_nothing_in_the_folder_tells_who_built_it(staged: Path) -> None:
    assert not (staged / "bin").exists()
    assert [name for name in contents(staged) if Path(name).name in UNREPRODUCIBLE] == []


def test_the_folder_holds_our_packages_whole_and_their_data(staged: Path) -> None:
    ours = {name for name in contents(staged) if name.partition("/")[0] in PACKAGES}
    wanted = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix not in COMPILED
    }
    assert ours == wanted
    assert "pare/data/iam_actions.json.gz" in ours


def test_the_folder_is_small(staged: Path) -> None:
    assert sum(file.stat().st_size for file in staged.rglob("*")) < MOST_BYTES


def test_staging_twice_gives_the_same_content(
    staged: Path, staged_in: Callable[[str], Path]
) -> None:
    assert contents(staged) == contents(staged_in("again"))


def test_what_was_staged_before_does_not_stay(staged_in: Callable[[str], Path]) -> None:
    folder = staged_in("before")
    (folder / "lambdas" / "gone.py").write_text("", encoding="utf-8")
    assert "lambdas/gone.py" not in contents(stage(folder.parents[1]))
