"""Planes moved by a matrix, and how alike two planes are. Positions are (y, x, 1) in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...core.arrays import AnyArray, Array
from ...core.scans import FloatArray, InputError, check_image

Matrix = npt.NDArray[np.float64]
"""3 × 3: where in the moved plane (y, x, 1) the content of a place of the reference lies."""

Region = tuple[slice, slice]
"""Rows and columns."""

# pyStackReg's names: shift; shift and rotation; shift, rotation, scale and shear
_KINDS = {"translation": "TRANSLATION", "rigid": "RIGID_BODY", "affine": "AFFINE"}
TRANSFORMS = tuple(_KINDS)

BAND_PX = (1.5, 8.0)  # sigmas of the Gaussians between which structure is taken for sharp
_EDGE_PX = 0.1  # so far beyond its last pixel a plane still counts as showing something
_SMALLEST_SCALE, _LARGEST_SCALE = 0.5, 2.0


def sharp_part(plane: npt.ArrayLike, pixels: float = 1.0) -> FloatArray:
    """Difference of Gaussians of :data:`BAND_PX` times ``pixels``: neither noise nor haze."""
    values = np.asarray(plane, dtype=np.float32)
    fine, coarse = (ndimage.gaussian_filter(values, width * pixels) for width in BAND_PX)
    difference: FloatArray = fine - coarse
    return difference


def standardised(plane: npt.ArrayLike, label: str, *, band_pass: bool = False) -> FloatArray:
    """The plane less its mean, over its standard deviation, float32 (Y, X), once it has one."""
    pixels = check_image(plane, label)
    values = (sharp_part(pixels) if band_pass else pixels).astype(np.float64)
    scaled: FloatArray = ((values - values.mean()) / values.std()).astype(np.float32)
    return scaled


def transform_matrix(
    reference: FloatArray, moving: FloatArray, transform: str, label: str
) -> Matrix:
    """From ``reference`` to ``moving``, by pyStackReg (Thévenaz et al., IEEE TIP 7:27, 1998)."""
    try:
        from pystackreg import StackReg
    except ImportError as error:
        raise InputError(
            "Alignment needs the package pystackreg, whose licence is its own: install it with "
            "pip install 'napari-recurrent-mz[alignment]'."
        ) from error

    xy = StackReg(getattr(StackReg, _KINDS[transform])).register(reference, moving)
    matrix: Matrix = np.asarray(xy, dtype=np.float64)[np.ix_((1, 0, 2), (1, 0, 2))]
    if not is_sensible(matrix, reference.shape):
        raise InputError(
            f"{label} could not be aligned: it shows too little of what its reference shows, so "
            "leave it out or choose another reference."
        )
    return matrix


def is_sensible(matrix: Matrix, shape: tuple[int, ...]) -> bool:
    """Whether a motion is finite, keeps half of the field, and neither halves nor doubles it."""
    if not np.isfinite(matrix).all():
        return False
    away = np.abs(shift_at_centre(matrix, shape))
    stretch = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    return bool(
        (away <= np.array(shape) / 2).all()
        and _SMALLEST_SCALE <= stretch.min()
        and stretch.max() <= _LARGEST_SCALE
    )


def shift_at_centre(matrices: Matrix, shape: tuple[int, ...]) -> Array:
    """How far the content in the middle of the field is displaced, (..., 2): y and x in pixels."""
    centre = np.array([(shape[0] - 1) / 2, (shape[1] - 1) / 2, 1.0])
    moved: Array = (matrices @ centre - centre)[..., :2]
    return moved


def rotation_deg(matrices: Matrix) -> Array:
    """The rotation in matrices, in degrees, from +x towards +y: clockwise on the screen."""
    (a, b), (c, d) = np.moveaxis(matrices[..., :2, :2], (-2, -1), (0, 1))
    angle: Array = np.degrees(np.arctan2(b - c, a + d))
    return angle


def magnification(matrices: Matrix) -> Array:
    """How much larger the moved plane shows things."""
    scale: Array = np.sqrt(np.abs(np.linalg.det(matrices[..., :2, :2])))
    return scale


def moved_plane(plane: AnyArray, matrix: Matrix, shape: tuple[int, int]) -> FloatArray:
    """The plane in the reference's frame and its own range: cubic splines, edges mirrored."""
    values = np.asarray(plane, dtype=np.float64)
    moved = ndimage.affine_transform(
        values, matrix[:2, :2], offset=matrix[:2, 2], output_shape=shape, order=3, mode="mirror"
    )
    clipped: FloatArray = np.clip(moved, values.min(), values.max())
    return clipped


def as_type(values: AnyArray, dtype: npt.DTypeLike) -> AnyArray:
    """Values in another type: rounded and kept in its range when it is an integer one."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(kind)


def covered(matrix: Matrix, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where a moved plane has values of its own, in a reference of the same shape."""
    rows, columns = np.indices(shape, dtype=np.float64)
    inside = np.ones(shape, dtype=bool)
    for line, length in zip(matrix[:2], shape, strict=True):
        place = line[0] * rows + line[1] * columns + line[2]
        inside &= (place >= -_EDGE_PX) & (place <= length - 1 + _EDGE_PX)
    return inside


def correlation(first: AnyArray, second: AnyArray) -> float:
    """Pearson's coefficient of two equally large sets of values; 0 where one is constant."""
    a = np.asarray(first, dtype=np.float64).ravel()
    b = np.asarray(second, dtype=np.float64).ravel()
    if a.size < 2:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def largest_region(
    matrices: Sequence[Matrix], shape: tuple[int, int], moving_shape: tuple[int, int]
) -> Region | None:
    """The largest rectangle of the reference in every moved plane, by linear programming."""
    from scipy.optimize import linprog

    # unknowns: first row, last row, first column, last column
    sides = np.array([1, -1, 1, -1]) / np.repeat(np.array(shape, dtype=float), 2)
    rows, limits = [], []
    for matrix in matrices:
        for line, length in zip(matrix[:2], moving_shape, strict=True):
            for y in (0, 1):
                for x in (2, 3):
                    corner = np.zeros(4)
                    corner[y], corner[x] = line[0], line[1]
                    rows += [corner, -corner]
                    limits += [length - 1 + _EDGE_PX - line[2], _EDGE_PX + line[2]]
    bounds = [(0, shape[0] - 1)] * 2 + [(0, shape[1] - 1)] * 2
    ordered = [np.array([1, -1, 0, 0]), np.array([0, 0, 1, -1])]
    solution = linprog(sides, np.array(rows + ordered), [*limits, 0, 0], bounds=bounds)
    if not solution.success:
        return None
    slack = 1e-6
    first = np.ceil(solution.x[::2] - slack).astype(int).tolist()
    last = np.floor(solution.x[1::2] + slack).astype(int).tolist()
    region = slice(first[0], last[0] + 1), slice(first[1], last[1] + 1)
    return region if all(part.stop > part.start for part in region) else None
