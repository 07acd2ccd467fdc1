"""Parquet: the rows of `samples` in columns with their types, a tenth of the size of the text."""

from __future__ import annotations

import io
from importlib.util import find_spec

from ditbench.errors import UsageError
from ditbench.export.result import Exported, Result
from ditbench.export.samples import table


def write(result: Result) -> Exported:
    """Raises UsageError where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError(
            "--format parquet: needs pyarrow: pip install 'ditbench[parquet]', or take --format csv"
        )
    file = io.BytesIO()
    table(result.run).to_parquet(file, engine="pyarrow", index=False)
    return Exported(file.getvalue())
