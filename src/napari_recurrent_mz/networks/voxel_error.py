"""How far a finished volume may be off, voxel by voxel: a small model of the squared error.

For every pixel of a plane, the logarithm of the error over the unit of corrections
(:class:`~.inputs.Prepared`) is a function of what is around it, in windows of four sizes: how far
the plane is from linear MMSE, how far the nearest scans are from it, and what its structure is. The
function, two hidden layers on every pixel by itself, was fitted to the errors of simulated samples
by maximum likelihood (``docs/voxel_errors.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from scipy.ndimage import uniform_filter

from ..core.arrays import Array
from ..core.optics import Optics
from ..core.progress import Stopped, never
from ..core.region import Region
from ..core.scans import FloatArray, Scans, same_height, stack_of
from .inputs import NetworkInputs, Prepared
from .recurrent_mz import NetworkConfig

TRAINED_FOR = ("recurrent-mz", "lmmse", "richardson-lucy")
"""Methods whose errors it has learned."""

WINDOWS = (3, 9, 25, 65)  # pixels a side
_STRUCTURE = 17  # pixels a side, over which structure is the rest
_MARGIN = WINDOWS[-1] // 2 + _STRUCTURE // 2 + 1
_ROWS = 256  # that are worked on at a time
_LEAST, _FAR = 0.05, float(np.log1p(30.0))
_DARK = 1e-6  # normalised: the least unit of corrections
_LARGEST = 6.0  # of the error's logarithm, as of the asinh of a correction


def features(
    given: Prepared, correction: FloatArray, distance_dof: Array, contrast: float
) -> FloatArray:
    """What the model sees of a window of one plane.

    Parameters
    ----------
    given : Prepared
        The input of a network with the propagated scans, for one plane; nothing held back.
    correction : numpy.ndarray, shape (H, W)
        The plane less its linear estimate, over the unit of corrections.
    distance_dof : numpy.ndarray, shape (M,)
        Target − scan, in depths of field.
    contrast : float
        The unit of the network's asinh, normalised.

    Returns
    -------
    numpy.ndarray, float32, shape (F, H, W)
    """
    seen = given.skip[0, 0].numpy()
    images, carried = (given.scans[0, :, k].numpy() for k in (0, 2))
    unit = np.log(given.unit[0, 0].numpy().clip(_DARK) / contrast)
    above, up = _nearest(images - seen, distance_dof, above=True)
    below, down = _nearest(images - seen, distance_dof, above=False)
    disagreement = np.log(carried.std(axis=0).clip(1e-3))
    rows = [unit, disagreement, uniform_filter(unit, WINDOWS[-1], mode="nearest")]
    rows += [np.full_like(seen, value) for value in (up, down, min(up, down), len(images) / 5)]
    bound = float(np.sinh(_LARGEST))
    structure = seen - uniform_filter(seen, _STRUCTURE, mode="nearest")
    for image in (correction.clip(-bound, bound), above, below, structure):
        power = image**2
        rows += [
            np.log(uniform_filter(power, size, mode="nearest").clip(0) + _LEAST**2)
            for size in WINDOWS
        ]
    return np.stack(rows).astype(np.float32, copy=False)


def _nearest(images: FloatArray, distance_dof: Array, *, above: bool) -> tuple[FloatArray, float]:
    """The nearest of ``images`` on one side, or on the other, and a measure of its distance."""
    away = -distance_dof if above else distance_dof
    if not (away >= 0).any():
        return images[int(np.abs(distance_dof).argmin())], _FAR
    at = int(np.where(away >= 0, away, np.inf).argmin())
    return images[at], min(float(np.log1p(away[at])), _FAR)


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """The fitted function."""

    mean: FloatArray  # (F,), of the features
    spread: FloatArray  # (F,)
    layers: tuple[tuple[FloatArray, FloatArray], ...]  # weights (out, in) and biases (out,)

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> ErrorModel:
        """What a file holds."""
        mean, spread = (np.array(values[name], np.float32) for name in ("mean", "spread"))
        layers = [
            (np.array(weight, np.float32), np.array(bias, np.float32))
            for weight, bias in values["layers"]  # type: ignore[attr-defined]
        ]
        return cls(mean, spread, tuple(layers))

    def __call__(self, given: FloatArray) -> FloatArray:
        """The error over the unit of corrections, (H, W), one standard deviation."""
        rows = (given.reshape(len(given), -1) - self.mean[:, None]) / self.spread[:, None]
        rows = rows.clip(-4, 4)
        for weight, bias in self.layers[:-1]:
            rows = weight @ rows + bias[:, None]
            rows /= 1 + np.exp(-rows)
        weight, bias = self.layers[-1]
        logarithm = (weight @ rows + bias[:, None]).clip(-_LARGEST, _LARGEST)
        error: FloatArray = np.exp(logarithm).reshape(given.shape[1:])
        return error


@lru_cache(maxsize=1)
def error_model() -> ErrorModel:
    """The model that comes with the package."""
    path = files(__package__) / "weights_data" / "voxel-error.json"
    return ErrorModel.from_dict(json.loads(path.read_text(encoding="utf-8")))


class VoxelErrors:
    """Expected errors of the voxels of planes that were made from scans.

    Parameters
    ----------
    scans : sequence of Scan, or ScanStack
    optics : Optics
    reach_um : tuple of float
        The lowest and the highest plane.
    region : Region, optional
        The part of the field that the planes are of.
    stopped : callable, optional
        Asked before every 256 rows of a plane; True ends in :class:`~.Stopped`.

    Notes
    -----
    For wide-field planes by the methods of ``TRAINED_FOR``.
    """

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        *,
        reach_um: tuple[float, float],
        region: Region | None = None,
        stopped: Callable[[], bool] = never,
    ) -> None:
        self._stack, self._optics = stack_of(scans), optics
        self._model, self._stopped = error_model(), stopped
        self._top = 0 if region is None else region.rows[0]
        self._columns = slice(None) if region is None else slice(*region.columns)
        self._inputs = NetworkInputs(self._stack, optics, NetworkConfig(), reach_um=reach_um)

    def of(self, plane: FloatArray, z_um: float) -> FloatArray:
        """One standard deviation of the error of a plane.

        Parameters
        ----------
        plane : numpy.ndarray, shape (Y, X)
            As it was made, in the scans' units.
        z_um : float

        Returns
        -------
        numpy.ndarray, float32, shape (Y, X)
            In the scans' units; of a plane that is a scan, the noise of a scan.
        """
        inputs, scale = self._inputs, self._inputs.scale
        span = np.float32(scale.normalisation.scale)
        if same_height(z_um, self._stack.z_um).any():
            return np.full(plane.shape, span * scale.noise, np.float32)
        parts = inputs.parts(z_um)
        away = (z_um - self._stack.z_um) / self._optics.depth_of_field_um
        normal = scale.normalisation.apply(plane)
        error = np.empty(plane.shape, np.float32)
        for low in range(0, len(plane), _ROWS):
            if self._stopped():
                raise Stopped
            first, last = max(low - _MARGIN, 0), min(low + _ROWS + _MARGIN, len(plane))
            rows = slice(self._top + first, self._top + last)
            given = parts.window(rows, self._columns)
            unit = given.unit[0, 0].numpy().clip(_DARK)
            correction = (normal[first:last] - given.linear[0, 0].numpy()) / unit
            found = self._model(features(given, correction, away, scale.contrast)) * unit
            kept = slice(low - first, min(low + _ROWS, len(plane)) - first)
            error[low : low + _ROWS] = found[kept] * span
        return error
