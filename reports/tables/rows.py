"""The rows of a table as plain dictionaries."""

from __future__ import annotations

from typing import Any

import pandas as pd


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary per row, column -> value, in the table's order."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
