"""The data tables of ``pare/data``, read in one place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any


def read_table(name: str, *, schema_version: int) -> Any:
    """Return a table shipped with Pare, packed or not, of the shape the caller reads.

    Raises ValueError where the file has another schema version.
    """
    content = (Path(__file__).parent / "data" / name).read_bytes()
    table = json.loads(gzip.decompress(content) if name.endswith(".gz") else content)
    if table["schema_version"] != schema_version:
        raise ValueError(
            f"{name} has schema version {table['schema_version']}, this code reads "
            f"{schema_version}: run `make data`."
        )
    return table
