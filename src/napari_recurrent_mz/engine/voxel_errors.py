"""The expected error of every voxel of a volume, as it is written or once it is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import real_array
from ..core.methods import METHOD_NAMES
from ..core.progress import never
from ..core.scans import FloatArray, InputError, ZGrid, scan_at
from ..io import PlaneWriter
from ..networks.voxel_error import TRAINED_FOR, VoxelErrors
from .inference import Plane, loaded
from .recipe import Recipe


def check_known(recipe: Recipe) -> None:
    """Raise :class:`~.InputError` unless the errors of what a recipe makes are known."""
    if recipe.method not in ("auto", *TRAINED_FOR) or not loaded(recipe).measured():
        names = [METHOD_NAMES[method] for method in TRAINED_FOR]
        title = recipe.chosen.title
        if recipe.method in TRAINED_FOR:
            title += " with a confocal-like image"
        raise InputError(
            f"The error of voxels is not known for {title}: choose {', '.join(names[:-1])} or "
            f"{names[-1]}."
        )


def voxel_errors(
    recipe: Recipe, volume: Any, *, stopped: Callable[[], bool] = never
) -> Iterator[FloatArray]:
    """How far a finished volume may be off, plane after plane.

    Parameters
    ----------
    recipe : Recipe
        What the volume was made by; its target is a grid.
    volume : array, shape (Z, Y, X)
        In the scans' units; it may be lazy, and is read plane by plane.
    stopped : callable, optional
        Asked before every 256 rows of a plane; True ends in :class:`~.Stopped`.

    Yields
    ------
    numpy.ndarray, float32, shape (Y, X)
        The expected error, one standard deviation, in the scans' units: for the planes in their
        order. That of a plane that is a scan is the noise of a scan.

    Raises
    ------
    InputError
        Unless wide-field images are made by Recurrent-MZ, linear MMSE, Richardson–Lucy or Auto, and
        the volume is what the recipe makes.
    """
    for plane in error_planes(recipe, volume, stopped=stopped):
        yield plane.pixels


def error_planes(
    recipe: Recipe,
    volume: Any,
    *,
    order: Sequence[int] | None = None,
    stopped: Callable[[], bool] = never,
) -> Iterator[Plane]:
    """As :func:`voxel_errors`, with the planes in any order."""
    check_known(recipe)
    assert isinstance(recipe.target, ZGrid)
    heights_um = recipe.target.z_um
    shape, made = np.shape(volume), (len(heights_um), *recipe.shape)
    if shape != made:
        raise InputError(
            f"The volume has the shape {shape}, but its recipe makes {made}: give the volume as "
            "it was made."
        )
    errors = _errors_of(recipe, stopped)
    for index in range(len(heights_um)) if order is None else order:
        z_um = float(heights_um[index])
        pixels = real_array(volume[index], f"The volume at z = {z_um:g} µm")
        yield Plane(index, z_um, errors.of(pixels, z_um), scan_at(recipe.scans, z_um) is not None)


def _errors_of(recipe: Recipe, stopped: Callable[[], bool] = never) -> VoxelErrors:
    inner, region = recipe.around_region()
    return VoxelErrors(
        inner.scans, inner.known_optics, reach_um=inner.ends_um, region=region, stopped=stopped
    )


class WithErrors(PlaneWriter):
    """Takes the planes of a volume, and writes their expected errors to another one as well."""

    def __init__(self, planes: PlaneWriter, errors: PlaneWriter, recipe: Recipe) -> None:
        super().__init__(planes.path)
        assert isinstance(recipe.target, ZGrid)
        self._planes, self._errors = planes, errors
        self._z_um, self._known = recipe.target.z_um, _errors_of(recipe)

    def __setitem__(self, index: int, plane: FloatArray) -> None:
        """Write a plane, and the expected error of its pixels."""
        self._planes[index] = plane
        self._errors[index] = self._known.of(plane, float(self._z_um[index]))

    def finish(self, provenance: Mapping[str, Any] | None = None) -> Path:
        """All planes are there."""
        return self._planes.finish(provenance)
