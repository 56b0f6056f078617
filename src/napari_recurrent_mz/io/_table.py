"""Tables as CSV and values as JSON, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..scans import InputError


def write_table(path: str | os.PathLike[str], table: Any, *, encoding: str = "utf-8") -> Path:
    """Write a table without its index as CSV, a header and six digits; whole or not at all.

    Spreadsheets need the ``encoding`` utf-8-sig: else they do not show the µ.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    try:
        part.write_text(text, encoding=encoding)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"'{path}' cannot be written ({error.strerror}): choose another place."
        ) from error
    return target


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write ``value`` as JSON, whole or not at all."""
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"'{path}' could not be written: {error.strerror}.") from error
    return target
