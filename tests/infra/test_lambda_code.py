"""The zip folders: everything a function needs beside what Lambda brings, and always the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.lambda_code import ACTIVITY, ASSETS, LAMBDA, PACKAGES, UNREPRODUCIBLE, Asset, stage
from infra.lambda_function import pascal
from infra.pipeline_stack import COMPILED_STEPS, STEPS
from tests.infra.synthesis import HASH, ROOT, copy_sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.synthesis import Template

# What Lambda's Python brings, so that it need not be in the zip.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
BROUGHT_BY_LAMBDA = ("boto3", "botocore", "s3transfer", "dateutil", "six", "urllib3")
COMPILED = {".pyc", ".pyo", ".so", ".pyd", ".dylib", ".dll"}
# Lambda allows 250 MB, unzipped; every megabyte slows a cold start.
MOST_BYTES = {"lambda": 15_000_000, "activity": 40_000_000}
WHEELS = ("isal", "msgspec", "obstore")


def staged_here(root: Path, asset: Asset, *, for_host: bool) -> Path:
    """Return the staged folder of an asset; skips where its wheels cannot be had."""
    try:
        return stage(root, asset, for_host=for_host)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"pip could not install {asset.requirements} (no network?): {error}")


@pytest.fixture(scope="module")
def staged_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that stages the repository as it is, in a folder of its own."""

    def staged(name: str, asset: Asset = LAMBDA, *, for_host: bool = False) -> Path:
        root = tmp_path_factory.mktemp(name)
        copy_sources(root)
        for package in PACKAGES:  # as after a first run
            (root / package / "__pycache__").mkdir(exist_ok=True)
            (root / package / "__pycache__" / "x.cpython-311.pyc").write_bytes(name.encode())
        return staged_here(root, asset, for_host=for_host)

    return staged


@pytest.fixture(scope="module")
def staged(staged_in: Callable[[str], Path]) -> Path:
    return staged_in("staged")


@pytest.fixture(scope="module")
def activity(staged_in: Callable[..., Path]) -> Path:
    """The asset of the functions that read logs, as it goes to Lambda."""
    return staged_in("activity", ACTIVITY)


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file by its path in the folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def import_handlers(
    folder: Path, brought: Path, steps: list[str]
) -> subprocess.CompletedProcess[str]:
    """Import handlers from the folder alone, beside what Lambda brings, and say where from."""
    for name in BROUGHT_BY_LAMBDA:
        file = Path(str(import_module(name).__file__))
        source = file.parent if file.name == "__init__.py" else file
        (brought / source.name).symlink_to(source)
    # -S: no site-packages; the folder stands where the repository does not.
    return subprocess.run(
        [sys.executable, "-S", "-B", "-W", "error::ImportWarning", "-c",
         "import importlib, sys\n"
         "for name in sys.argv[1:]: assert importlib.import_module(name).lambda_handler\n"
         "import lambdas; print(lambdas.__file__)", *steps],
        cwd=brought,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}{os.pathsep}{brought}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def handlers(*, compiled: bool) -> list[str]:
    return [
        f"lambdas.{folder}.{step}"
        for folder, steps in STEPS.items()
        for step in steps
        if (step in COMPILED_STEPS) is compiled
    ]


def test_every_handler_can_be_imported_from_the_folder_alone(staged: Path, tmp_path: Path) -> None:
    done = import_handlers(staged, tmp_path, handlers(compiled=False))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(staged)


def test_a_handler_that_reads_logs_can_be_imported_from_its_own_folder_alone(
    staged_in: Callable[..., Path], tmp_path: Path
) -> None:
    folder = staged_in("host", ACTIVITY, for_host=True)
    done = import_handlers(folder, tmp_path, handlers(compiled=True))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(folder)


def test_only_a_handler_that_reads_logs_needs_compiled_wheels(staged: Path, tmp_path: Path) -> None:
    # The small zip starts faster: none of its functions may come to import a wheel.
    done = import_handlers(staged, tmp_path, handlers(compiled=True))
    assert done.returncode != 0
    assert any(f"No module named '{wheel}'" in done.stderr for wheel in WHEELS), done.stderr


def test_the_wheels_are_those_of_lambdas_python_and_processor(activity: Path) -> None:
    compiled = [name for name in contents(activity) if Path(name).suffix in COMPILED]
    assert {Path(name).parts[0] for name in compiled} == set(WHEELS)
    for name in compiled:
        binary = (activity / name).read_bytes()
        assert binary[:4] == b"\x7fELF", name
        assert int.from_bytes(binary[18:20], "little") == 0xB7, f"{name} is not for arm64"
        # abi3: any Python 3.
        assert name.endswith((".cpython-314-aarch64-linux-gnu.so", ".abi3.so")), name


def test_each_function_has_the_code_of_its_kind(pipeline: Template) -> None:
    code = {
        HASH.sub("", name): properties["Code"]["ZipFile"]
        for name, properties in pipeline.properties("AWS::Lambda::Function").items()
    }
    assert {name for name, text in code.items() if "compiled" in text} == {
        pascal(step) for step in COMPILED_STEPS
    }


def test_the_requirements_that_both_have_are_the_same() -> None:
    pinned = {
        asset.name: {
            line
            for line in (ROOT / asset.requirements).read_text(encoding="utf-8").splitlines()
            if line and not line.startswith("#")
        }
        for asset in ASSETS
    }
    assert pinned["lambda"] < pinned["activity"]
    assert {line.partition("==")[0] for line in pinned["activity"] - pinned["lambda"]} == set(
        WHEELS
    )


def test_the_engine_of_the_functions_is_that_of_the_command_line() -> None:
    # The same logs must give the same activity, wherever they are read.
    wanted = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for line in (ROOT / ACTIVITY.requirements).read_text(encoding="utf-8").splitlines():
        if line.partition("==")[0] in WHEELS:
            assert f"\n{line} " in wanted, line


def test_nothing_in_the_folder_is_compiled(staged: Path) -> None:
    # One folder for Lambda's arm64 and for whatever Python runs an emulator.
    compiled = [name for name in contents(staged) if Path(name).suffix in COMPILED]
    assert compiled == []
    assert [each for each in staged.rglob("__pycache__")] == []


def test_nothing_in_the_folder_tells_who_built_it(staged: Path, activity: Path) -> None:
    for folder in (staged, activity):
        assert not (folder / "bin").exists()
        assert [name for name in contents(folder) if Path(name).name in UNREPRODUCIBLE] == []


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


def test_the_folder_is_small(staged: Path, activity: Path) -> None:
    for folder in (staged, activity):
        size = sum(file.stat().st_size for file in folder.rglob("*"))
        assert size < MOST_BYTES[folder.name], folder.name


def test_staging_twice_gives_the_same_content(
    staged: Path, activity: Path, staged_in: Callable[..., Path]
) -> None:
    assert contents(staged) == contents(staged_in("again"))
    assert contents(activity) == contents(staged_in("activity-again", ACTIVITY))


def test_what_was_staged_before_does_not_stay(staged_in: Callable[[str], Path]) -> None:
    folder = staged_in("before")
    (folder / "lambdas" / "gone.py").write_text("", encoding="utf-8")
    assert "lambdas/gone.py" not in contents(stage(folder.parents[1]))
