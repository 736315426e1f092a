"""Tables as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any


def csv_bytes(rows: Iterable[dict[str, Any]]) -> bytes:
    """Rows as CSV, with every field that any of them has."""
    rows = list(rows)
    fields = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fields, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()
