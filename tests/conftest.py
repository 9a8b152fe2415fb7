"""What all tests share: the golden files, and that a slow machine fails no property."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("pare", deadline=None)
settings.load_profile("pare")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the expected documents in tests/golden with what the tests got",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Compare a value with a file of tests/golden, byte for byte; a text as it is, else as JSON.

    ``--update-golden`` writes the file instead; read the difference before you commit it.
    """

    def compare(name: str, value: Any) -> None:
        text = value if isinstance(value, str) else _json(value)
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.write_text(text, encoding="utf-8")
        expected = file.read_text(encoding="utf-8") if file.exists() else ""
        assert text == expected, f"{file} differs; --update-golden rewrites it"

    return compare


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
