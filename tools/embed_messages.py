"""Put the golden messages into docs/findings.md, where it names them.

    python -m tools.embed_messages

A line ``<!-- golden: NAME -->`` is followed by a block with tests/golden/findings/NAME. A test
holds them equal.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/findings.md"
GOLDEN = ROOT / "tests/golden/findings"
_BLOCK = re.compile(r"<!-- golden: (?P<name>[\w.]+) -->\n+(?:```text\n.*?\n```\n)?", re.DOTALL)


def embedded(page: str) -> str:
    """Return the page with each message as its golden file has it."""

    def put(found: re.Match[str]) -> str:
        text = (GOLDEN / found["name"]).read_text(encoding="utf-8").rstrip("\n")
        return f"<!-- golden: {found['name']} -->\n\n```text\n{text}\n```\n"

    return _BLOCK.sub(put, page)


if __name__ == "__main__":
    PAGE.write_text(embedded(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
