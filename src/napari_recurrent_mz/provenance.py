"""How a volume was made: a record that travels with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .check import OwnSampleCheck
from .device import Device
from .optics import Optics
from .recipe import Recipe
from .scans import Scan, ZGrid
from .weights import Model


def provenance(
    scans: Sequence[Scan],
    grid: ZGrid,
    *,
    optics: Optics | None,
    method: str,
    model: Model | None,
    device: Device | str,
    seconds: float,
    check: OwnSampleCheck | None = None,
) -> dict[str, Any]:
    """How a volume was made, JSON-able, to travel with it.

    Parameters
    ----------
    scans, grid, optics, method, model
        As in :class:`~napari_recurrent_mz.recipe.Recipe`.
    device, seconds, check
        As in :meth:`~napari_recurrent_mz.recipe.Recipe.provenance`.

    Returns
    -------
    dict
    """
    return Recipe(scans, grid, optics, method, model).provenance(device, seconds, check)
