"""Imports point inward, nothing plays with the import path, and importing Pare does no work.

infra, lambdas, local, cli -> pare.aws -> the rest of pare -> the standard library
(docs/decisions, "layout and import root"). The rules are the table below; the rest reads the code.
"""

from __future__ import annotations

import ast
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EVERYWHERE = ("app", "bench", "infra", "lambdas", "local", "pare", "tests", "tools")


@dataclass(frozen=True, slots=True)
class Rule:
    """Modules under ``within``, those under ``except_`` aside, never import ``forbidden``."""

    within: tuple[str, ...]
    forbidden: tuple[str, ...]
    except_: tuple[str, ...] = ()

    def forbids(self, importer: str, imported: str) -> bool:
        return (
            is_under(importer, self.within)
            and not is_under(importer, self.except_)
            and is_under(imported, self.forbidden)
        )


RULES = (
    Rule(("pare",), ("aws_cdk", "aws_lambda_powertools", "constructs", "infra", "lambdas")),
    Rule(("pare",), ("local",), except_=("pare.cli",)),
    Rule(("pare",), ("pare.aws", "pare.cli"), except_=("pare.aws", "pare.cli", "pare.__main__")),
    Rule(("pare.aws",), ("pare.cli",)),
    Rule(
        EVERYWHERE,
        ("boto3", "botocore"),
        # infra.inline: the source of a function that a template carries, never imported by infra.
        except_=("bench", "infra.inline", "lambdas", "local", "pare.aws", "pare.cli", "tests"),
    ),
    # Compiled wheels: only functions with the asset that has them may come to import them.
    Rule(EVERYWHERE, ("obstore",), except_=("bench", "pare.aws", "tests")),
    Rule(
        EVERYWHERE,
        ("isal", "msgspec"),
        except_=("bench", "pare.cli", "pare.cloudtrail", "tests"),
    ),
    Rule(EVERYWHERE, ("click",), except_=("pare.cli", "tests")),
    Rule(("infra",), ("lambdas", "local")),
    Rule(("lambdas",), ("aws_cdk", "constructs", "infra", "local", "pare.cli")),
    Rule(EVERYWHERE, ("tests",), except_=("tests",)),
)

# Calls that read a file or decode one: at import, they would cost every function its cold start.
WORK = frozenset(
    {
        "open",
        "load",
        "loads",
        "read_text",
        "read_bytes",
        "read",
        "get_data",
        "iterdir",
        "glob",
        "load_catalogue",
        "read_table",
        "client",
        "resource",
    }
)


def is_under(module: str, roots: tuple[str, ...]) -> bool:
    """Return whether a module is one of the roots or lies in one; pare.cli_x counts as pare.cli."""
    return any(
        module == root
        or module.startswith(f"{root}.")
        or (root == "pare.cli" and module.startswith("pare.cli_"))
        for root in roots
    )


def modules() -> Iterator[tuple[str, Path]]:
    """Yield every module of the repository under its one dotted name."""
    files = [ROOT / "app.py", *(f for root in EVERYWHERE for f in (ROOT / root).rglob("*.py"))]
    for file in sorted(files):
        if file.exists():
            parts = list(file.relative_to(ROOT).with_suffix("").parts)
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def imports(importer: str, tree: ast.AST, *, is_package: bool) -> Iterator[tuple[str, int]]:
    """Yield the full name of all a module imports, wherever in it, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = importer.split(".")
                package = package[: len(package) - node.level + is_package]
                base = ".".join([*package, *([base] if base else [])])
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def layer_breaches(importer: str, tree: ast.AST, *, is_package: bool) -> Iterator[str]:
    """Yield one sentence for every import that points outward."""
    seen = set()
    for imported, line in imports(importer, tree, is_package=is_package):
        for rule in RULES:
            if rule.forbids(importer, imported) and (line, rule) not in seen:
                seen.add((line, rule))
                yield f"{importer}:{line} imports {imported}, which {rule.within} may not"


def path_games(importer: str, tree: ast.AST) -> Iterator[str]:
    """Yield one sentence for every use of ``sys.path`` and for imports across packages by dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "path":
            if isinstance(node.value, ast.Name) and node.value.id == "sys":
                yield f"{importer}:{node.lineno} uses sys.path; a module has one dotted name"
        elif isinstance(node, ast.ImportFrom):
            if node.module == "sys" and any(alias.name == "path" for alias in node.names):
                yield f"{importer}:{node.lineno} uses sys.path; a module has one dotted name"
            if node.level > 1:
                yield f"{importer}:{node.lineno} imports relatively out of its package"


def work_at_import(importer: str, tree: ast.AST) -> Iterator[str]:
    """Yield one sentence for every call at import that reads a file or makes a client."""
    for node in run_at_import(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in WORK:
                yield f"{importer}:{node.lineno} calls {name}() when it is imported"


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run at import: all but the bodies of functions and the main block."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
        return
    children: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [default for default in node.args.kw_defaults if default is not None]
        children = [*node.decorator_list, *node.args.defaults, *defaults]
    elif isinstance(node, ast.Lambda):
        children = [*node.args.defaults]
    for child in children:
        yield from run_at_import(child)


def parsed() -> list[tuple[str, ast.AST, bool]]:
    return [
        (name, ast.parse(file.read_text(encoding="utf-8"), str(file)), file.stem == "__init__")
        for name, file in modules()
    ]


def test_imports_point_inward() -> None:
    breaches = [
        breach
        for name, tree, is_package in parsed()
        for breach in layer_breaches(name, tree, is_package=is_package)
    ]
    assert breaches == []


def test_nothing_plays_with_the_import_path() -> None:
    assert [breach for name, tree, _ in parsed() for breach in path_games(name, tree)] == []


def test_importing_pare_does_no_work() -> None:
    trees = [(name, tree) for name, tree, _ in parsed() if is_under(name, ("pare",))]
    assert [breach for name, tree in trees for breach in work_at_import(name, tree)] == []


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("pare.policy.document", "import boto3"),
        ("pare.policy.document", "def f():\n    from botocore.config import Config"),
        ("pare.policy.document", "from pare.aws import stores"),
        ("pare.policy.document", "from pare import aws"),
        ("pare.policy.document", "from .. import aws"),
        ("pare.cloudtrail.reader", "import obstore"),
        ("lambdas.activity.list_logs", "import msgspec"),
        ("pare.aws.stores", "from lambdas import runtime"),
        ("pare.aws.stores", "import local.emulator"),
        ("pare.findings.model", "import click"),
        ("pare.cli", "import infra.settings"),
        ("infra.pipeline_stack", "from lambdas.findings import normalize_finding"),
        ("infra.pipeline_stack", "import boto3"),
        ("lambdas.runtime", "from tests import fakes"),
        ("app", "import boto3"),
    ],
)
def test_an_import_that_points_outward_is_found(importer: str, source: str) -> None:
    assert list(layer_breaches(importer, ast.parse(source), is_package=False)) != []


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("pare.cli", "import boto3, click\nfrom local import demo"),
        ("pare.cli_inventory", "import click"),
        ("pare.aws.stores", "import boto3\nfrom pare.errors import PareError"),
        ("lambdas.findings.normalize_finding", "import boto3\nfrom pare.findings import model"),
        ("infra.settings", "from pare.errors import SettingsError"),
    ],
)
def test_an_import_that_points_inward_is_not(importer: str, source: str) -> None:
    assert list(layer_breaches(importer, ast.parse(source), is_package=False)) == []


@pytest.mark.parametrize(
    "source", ["import sys\nsys.path.insert(0, '.')", "from sys import path", "from ..x import y"]
)
def test_a_play_with_the_import_path_is_found(source: str) -> None:
    assert list(path_games("local.demo", ast.parse(source))) != []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("TABLE = json.load(open('x'))", 2),
        ("class A:\n    table = Path('x').read_text()", 1),
        ("def f(now=open('x')):\n    pass", 1),
        ("def f():\n    return open('x')", 0),
        ("f = lambda: open('x')", 0),
        ("if __name__ == '__main__':\n    open('x')", 0),
    ],
)
def test_work_at_import_is_found(source: str, count: int) -> None:
    assert len(list(work_at_import("pare.x", ast.parse(source)))) == count


def test_a_unit_test_cannot_open_a_socket() -> None:
    with pytest.raises(pytest.fail.Exception, match="move the test"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    with socket.socket() as sock, pytest.raises(pytest.fail.Exception, match="move the test"):
        sock.connect(("192.0.2.1", 80))
