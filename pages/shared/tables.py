"""Values as files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from typing import Any


def file_stem(text: str, otherwise: str) -> str:
    """A text as a file name without its ending. otherwise: what to take where nothing of it is left."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or otherwise


def json_bytes(values: dict[str, Any]) -> bytes:
    """Values as JSON that people can read."""
    return json.dumps(values, indent=1).encode()


def csv_bytes(rows: Iterable[dict[str, Any]]) -> bytes:
    """Rows as CSV, with every field that any of them has."""
    rows = list(rows)
    fields = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fields, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()
