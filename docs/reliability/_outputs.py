"""What a command has made: numbers where there are some, by the name of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.image import imread
from safetensors.numpy import load_file

from napari_recurrent_mz.io import read_image

Contents = dict[str, Any]


def contents(folder: Path) -> Contents:
    """What there is in a folder, by name: numbers where there are some; an error if torn."""
    found: Contents = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if ".ome.zarr/" in name or ".recurrent-mz" in name:
            continue
        if path.name.endswith((".tif", ".ome.zarr")):
            found[name] = read_image(path).data.astype(float)
        elif path.suffix == ".csv":
            table = pd.read_csv(path).drop(columns="seconds", errors="ignore")
            found[name] = table.select_dtypes("number").to_numpy(float)
        elif path.suffix == ".json":
            found[name] = len(json.loads(path.read_text(), parse_constant=_refuse))
        elif path.suffix == ".npy":
            found[name] = np.load(path).shape
        elif path.suffix == ".safetensors":
            found[name] = sorted(load_file(path))
        elif path.suffix == ".png":
            found[name] = imread(path).shape
        elif path.is_file():
            found[name] = path.stat().st_size > 0
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def is_near(made: Contents, expected: Contents, part: float) -> bool:
    """Whether files are the same, images and tables but for a part of their range."""
    return made.keys() == expected.keys() and all(
        _near(made[name], expected[name], part) for name in made
    )


def _near(made: Any, expected: Any, part: float) -> bool:
    if not isinstance(expected, np.ndarray):
        return bool(made == expected)
    most = part * float(np.nanmax(np.abs(expected), initial=0))
    return made.shape == expected.shape and np.allclose(made, expected, part, most, equal_nan=True)
