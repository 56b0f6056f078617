"""Alignment of the planes of a stack, or of single scans: lateral shift and rotation.

The paper corrects the lateral shift and the rotation of the stage with the ImageJ plugin
StackReg (Huang et al. 2021, Methods, "Sample preparation"); pyStackReg is its port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import AnyArray, Array, Planes
from ...core.errors import check_choice
from ...core.progress import Step, Steps, at_once
from ...core.scans import FloatArray, InputError
from . import _warp
from ._warp import TRANSFORMS, Matrix, Region

REFERENCES = ("previous", "first", "mean")
"""The target of each plane: its neighbour below it, the first one, or their mean."""

_NO_DRIFT_PX = 0.25
_UNCHANGED = 0.93  # of what correlation lacks of 1; real stacks without drift keep 0.95 and more

_Motion = tuple[Matrix, float, float]
"""The matrix of a plane, and its correlation with its reference before and after."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the planes lie to each other."""

    #: (M, 3, 3), for each plane: ``matrix @ (y, x, 1)`` is where it shows what the reference frame
    #: has at (y, x), in pixels
    matrices: Array
    shape: tuple[int, int]  #: rows and columns of the planes
    transform: str  #: one of :data:`TRANSFORMS`
    reference: str  #: one of :data:`REFERENCES`
    #: (M,), Pearson's coefficient of each plane with its reference, of what was compared (what is
    #: sharp, unless the band-pass was left out), over the field that both show once aligned; NaN
    #: for a plane that is the reference itself
    correlation_before: Array
    correlation_after: Array  #: (M,), the same once it is aligned

    @property
    def shift_px(self) -> Array:
        """How far each plane's middle is displaced, shape (M, 2): y and x, in pixels."""
        return _warp.shift_at_centre(self.matrices, self.shape)

    @property
    def rotation_deg(self) -> Array:
        """How far each plane is turned, in degrees, clockwise on the screen, shape (M,)."""
        return _warp.rotation_deg(self.matrices)

    @property
    def magnification(self) -> Array:
        """How much larger each plane shows things, 1 but for affine, shape (M,)."""
        return _warp.magnification(self.matrices)

    @property
    def common_region(self) -> Region:
        """The largest rectangle that all aligned planes show: rows and columns."""
        region = _warp.largest_region(list(self.matrices), self.shape, self.shape)
        if region is None:
            raise InputError(
                "The aligned planes have no field in common: they show different places, so "
                "leave out those that do not belong together."
            )
        return region

    @property
    def verdict(self) -> tuple[str, bool]:
        """What was found, in a sentence, and whether it is worth applying."""
        y, x = (length - 1 for length in self.shape)
        corners = np.array([(0, 0, 1), (0, x, 1), (y, 0, 1), (y, x, 1)]).T
        if np.abs(self.matrices @ corners - corners).max() < _NO_DRIFT_PX:
            return f"No drift found: the planes are within {_NO_DRIFT_PX:g} pixels.", True
        before, after = map(np.nanmean, (self.correlation_before, self.correlation_after))
        if 1 - after > _UNCHANGED * (1 - before):
            return (
                "No clear drift found: the mean correlation with the reference hardly rises, "
                f"{before:.3f} before and {after:.3f} after, as where nothing drifts and the "
                "sample changes from plane to plane. Look at both before you use the aligned ones.",
                False,
            )
        return (
            f"Mean correlation with the reference {before:.3f} before, {after:.3f} after.",
            True,
        )

    def table(self, z_um: npt.ArrayLike | None = None, pixel_um: float | None = None) -> Any:
        """The motion of every plane.

        Parameters
        ----------
        z_um : array_like, shape (M,), optional
            Heights, in micrometres.
        pixel_um : float, optional
            Pixel size; without it, shifts are in pixels and the columns end in ``_px``.

        Returns
        -------
        pandas.DataFrame
            One row a plane: plane, z_um, shift_y_um, shift_x_um, rotation_deg, magnification,
            correlation_before, correlation_after.
        """
        import pandas as pd

        unit, size = ("px", 1.0) if pixel_um is None else ("um", pixel_um)
        columns: dict[str, Any] = {"plane": np.arange(len(self.matrices))}
        if z_um is not None:
            columns["z_um"] = np.asarray(z_um, dtype=float)
        columns |= {
            f"shift_y_{unit}": size * self.shift_px[:, 0],
            f"shift_x_{unit}": size * self.shift_px[:, 1],
        }
        names = ("rotation_deg", "magnification", "correlation_before", "correlation_after")
        return pd.DataFrame(columns | {name: getattr(self, name) for name in names})

    def as_dict(self) -> dict[str, Any]:
        """The alignment as JSON can hold it, for a layer or file."""
        return {
            "transform": self.transform,
            "reference": self.reference,
            "matrices_yx": self.matrices.round(9).tolist(),
        }


def aligning(
    planes: Any,
    *,
    transform: str = "rigid",
    reference: str = "previous",
    band_pass: bool = True,
    names: Sequence[str] = (),
) -> Steps[Alignment]:
    """Find how the planes lie to each other.

    Planes are compared at mean 0 and standard deviation 1, so that bleaching does not count as
    motion.

    Parameters
    ----------
    planes : array_like, shape (M, Y, X), or sequence of (Y, X)
        In the order of their heights; may be lazy, one plane is held at a time.
    transform : {"rigid", "translation", "affine"}
        What may differ between planes.
    reference : {"previous", "first", "mean"}
        ``previous`` follows content that changes with z, and adds up the errors of all planes
        before; ``first`` and ``mean`` need content that all planes show. The frame is that of
        the first plane, or of the mean.
    band_pass : bool, optional
        Compare what is sharp only (the difference of Gaussians of 1.5 and 8 pixels): haze shifts
        as the focus moves through a sample that does not. False compares the planes as they
        are, as StackReg does.
    names : sequence of str, optional
        How error messages call the planes.

    Raises
    ------
    InputError
        If there are fewer than two planes, their shapes differ, a plane is RGB, constant or
        holds NaN, or one shows too little of what its reference shows.
    """
    check_choice("motion", transform, TRANSFORMS)
    check_choice("reference", reference, REFERENCES)
    labels = names or [f"Plane {i}" for i in range(len(Planes(planes, "The stack")))]
    planes = Planes(planes, "The stack", labels)
    shape = _shape_of_all(planes, labels, is_named=bool(names))

    def ready(i: int) -> FloatArray:
        return _warp.standardised(planes[i], labels[i], band_pass=band_pass)

    if reference == "mean":
        motions = yield from _to_the_mean(ready, shape, transform, labels)
    else:
        motions = yield from _to_a_plane(ready, transform, reference, labels)
    matrices = np.array([motion[0] for motion in motions])
    for label, matrix in zip(labels, matrices, strict=True):
        if not _warp.is_sensible(matrix, shape):
            raise InputError(
                f"{label} lies more than half a field from the first one: the planes do not "
                "follow each other, so align to the mean or leave some of them out."
            )
    before, after = np.array([motion[1:] for motion in motions], dtype=float).T
    return Alignment(matrices, shape, transform, reference, before, after)


align = at_once(aligning)


def applying(planes: Any, alignment: Alignment, region: Region | None = None) -> Steps[AnyArray]:
    """Move the planes into one frame, step by step.

    Parameters
    ----------
    planes : array_like, shape (M, Y, X), or sequence of (Y, X)
        Those that were aligned, or others taken with them, such as a second channel.
    alignment : Alignment
    region : tuple of slice, optional
        Rows and columns to keep, for instance ``alignment.common_region``. Without it the size
        stays, and what a plane does not show is mirrored at its edge.

    Returns
    -------
    numpy.ndarray, shape (M, Y, X)
        In the type of the planes: integers are rounded and stay in the range of the plane, by
        cubic splines. A plane that need not move keeps its values exactly.

    Raises
    ------
    InputError
        If the shapes are not those that were aligned.
    """
    count = len(alignment.matrices)
    planes = Planes(planes, "The stack")
    if planes.sizes != [alignment.shape] * count:
        raise InputError(
            f"The alignment is one of {count} planes of {alignment.shape[0]} × "
            f"{alignment.shape[1]} pixels: apply it to planes of that number and size."
        )
    moved = []
    for i, matrix in enumerate(alignment.matrices):
        plane = _moved(planes[i], matrix)
        moved.append(plane[region or ...].copy())
        yield Step(i + 1, count, "Moving planes")
    return np.stack(moved)


def _moved(plane: AnyArray, matrix: Matrix) -> AnyArray:
    if np.allclose(matrix, np.eye(3), rtol=0, atol=1e-9):
        return plane
    moved = _warp.moved_plane(plane, matrix, (plane.shape[0], plane.shape[1]))
    return _warp.as_type(moved, plane.dtype)


def _shape_of_all(planes: Planes, labels: Sequence[str], *, is_named: bool) -> tuple[int, int]:
    """Rows and columns of two planes or more of one size."""
    if len(planes) < 2:
        label = f"'{labels[0]}' is one plane" if is_named else "There is one plane"
        raise InputError(f"{label} only: alignment needs at least two, so choose a stack.")
    first_size = planes.sizes[0]
    for label, size in zip(labels, planes.sizes, strict=True):
        if size != first_size:
            this, first = (" × ".join(map(str, shape)) for shape in (size, first_size))
            raise InputError(
                f"{label} is {this} pixels but {labels[0]} is {first}: planes "
                "that are aligned must have the same size."
            )
    if len(first_size) < 2:
        raise InputError(f"The stack has the shape {planes.shape}: give one of planes (Z, Y, X).")
    return first_size[0], first_size[1]


def _to_a_plane(
    ready: Callable[[int], FloatArray], transform: str, reference: str, labels: Sequence[str]
) -> Steps[list[_Motion]]:
    """Align to the first plane, directly or from neighbour to neighbour."""
    target = ready(0)
    motions: list[_Motion] = [(np.eye(3), np.nan, np.nan)]
    for i in range(1, len(labels)):
        plane = ready(i)
        matrix, before, after = _motion(target, plane, transform, labels[i])
        if reference == "previous":
            matrix, target = matrix @ motions[-1][0], plane
        motions.append((matrix, before, after))
        yield Step(i, len(labels) - 1, "Aligning planes")
    return motions


def _to_the_mean(
    ready: Callable[[int], FloatArray],
    shape: tuple[int, int],
    transform: str,
    labels: Sequence[str],
) -> Steps[list[_Motion]]:
    """Align to the mean; then once more, to the mean of what is aligned, which is sharper."""
    count = len(labels)
    motions: list[_Motion] = [(np.eye(3), np.nan, np.nan)] * count
    for turn in range(2):
        mean = np.zeros(shape)
        for i, (matrix, _, _) in enumerate(motions):
            mean += _moved(ready(i), matrix)
            yield Step((2 * turn) * count + i + 1, 4 * count, "Averaging planes")
        target = _warp.standardised(mean, "The mean of the planes")
        motions = []
        for i, label in enumerate(labels):
            motions.append(_motion(target, ready(i), transform, label))
            yield Step((2 * turn + 1) * count + i + 1, 4 * count, "Aligning planes")
    return motions


def _motion(target: FloatArray, plane: FloatArray, transform: str, label: str) -> _Motion:
    """The matrix of one plane, and its correlation with the target before and after."""
    matrix = _warp.transform_matrix(target, plane, transform, label)
    shape = (target.shape[0], target.shape[1])
    inside = _warp.covered(matrix, shape)
    moved = _warp.moved_plane(plane, matrix, shape)
    before, after = (_warp.correlation(target[inside], p[inside]) for p in (plane, moved))
    return matrix, before, after
