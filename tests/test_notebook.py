"""The notebook runs from its first cell to its last, and its network beats interpolation."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import pytest
import tifffile

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "first-volume.ipynb"


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    errors = names["errors"]
    assert isinstance(errors, dict)
    assert errors["recurrent-mz"].mean() < errors["linear"].mean()
    assert tifffile.imread(tmp_path / "volume.ome.tif").shape == (9, 72, 72)
