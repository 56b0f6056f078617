"""The expected error of every voxel of a volume, as it is written or once it is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.arrays import real_array
from ..core.methods import METHOD_NAMES
from ..core.progress import never
from ..core.scans import FloatArray, InputError, ZGrid
from ..io import PlaneWriter
from ..networks.voxel_error import TRAINED_FOR, VoxelErrors
from .inference import loaded
from .recipe import Recipe

IMAGE = "expected error of every voxel, one standard deviation"


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
    recipe: Recipe, volume: FloatArray, *, stopped: Callable[[], bool] = never
) -> Iterator[FloatArray]:
    """How far a finished volume may be off, plane after plane.

    Parameters
    ----------
    recipe : Recipe
        What the volume was made by; its target is a grid.
    volume : numpy.ndarray, shape (Z, Y, X)
        In the scans' units.
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
    check_known(recipe)
    assert isinstance(recipe.target, ZGrid)
    planes, made = real_array(volume, "The volume"), (len(recipe.target), *recipe.shape)
    if planes.shape != made:
        raise InputError(
            f"The volume has the shape {planes.shape}, but its recipe makes {made}: give the "
            "volume as it was made."
        )
    errors = _errors_of(recipe, stopped)
    for plane, z_um in zip(planes, recipe.target.z_um, strict=True):
        yield errors.of(plane, float(z_um))


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
