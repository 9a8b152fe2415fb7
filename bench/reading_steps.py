"""How long decompression, and decompression with a full parse, take for a folder of log files.

A process of its own for ``bench.activity``, with the wheels that it compares on the path:
``python bench/reading_steps.py FOLDER STEP...`` prints a line of JSON for each step. The files are
in memory before the clock starts, so that only the step is measured: a harder mark to be held
against than one that opens files too. The steps: ``isal``, ``deflate``, ``zlib-ng`` or ``stdlib``;
with ``+json``, ``+orjson`` or ``+msgspec`` for the parse.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# module, function; each decompresses one gzip file in one call. Of a wheel's functions it is the
# fastest that is right for a file as AWS delivers it: one member, its size at the end.
_DECOMPRESS = {
    "isal": ("isal.isal_zlib", "decompress"),
    "deflate": ("deflate", "gzip_decompress"),
    "zlib-ng": ("zlib_ng.zlib_ng", "decompress"),
    "stdlib": ("gzip", "decompress"),
}
_PARSE = {
    "json": ("json", "loads"),
    "orjson": ("orjson", "loads"),
    "msgspec": ("msgspec.json", "decode"),
}
_GZIP_WINDOW = 31


def decompressor(name: str) -> Callable[[bytes], bytes]:
    """Return a function that decompresses one gzip file; raises ImportError without the wheel."""
    module, attribute = _DECOMPRESS[name]
    function: Callable[..., bytes] = getattr(importlib.import_module(module), attribute)
    if name in ("isal", "zlib-ng"):
        # The size is the last field of the file: told it, they need not guess.
        return lambda packed: function(
            packed, _GZIP_WINDOW, max(1, int.from_bytes(packed[-4:], "little"))
        )
    return function


def step(name: str, files: list[bytes]) -> dict[str, Any]:
    """Return what one step took, for all files."""
    unpack_name, _, parse_name = name.partition("+")
    unpack = decompressor(unpack_name)
    parse: Callable[[bytes], Any] | None = None
    if parse_name:
        module, attribute = _PARSE[parse_name]
        parse = getattr(importlib.import_module(module), attribute)
    size = 0
    begin, begin_cpu = time.perf_counter(), time.process_time()
    for packed in files:
        content = unpack(packed)
        size += len(content)
        if parse is not None:
            parse(content)
    return {
        "step": name,
        "wall": time.perf_counter() - begin,
        "cpu": time.process_time() - begin_cpu,
        "bytes": size,
    }


def main() -> None:
    """Measure the steps named, in turn."""
    folder, *names = sys.argv[1:]
    files = [path.read_bytes() for path in sorted(Path(folder).glob("AWSLogs/**/*.json.gz"))]
    for name in names:
        try:
            print(json.dumps(step(name, files)), flush=True)
        except ImportError as error:
            print(json.dumps({"step": name, "missing": str(error)}), flush=True)


if __name__ == "__main__":
    main()
