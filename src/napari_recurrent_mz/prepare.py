"""Preparation of scans: the intensity normalisation that training and use share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_triangle

from .scans import FloatArray


@dataclass(frozen=True)
class Normalisation:
    """Shift and scale that take intensities to about 0 (background) … 1 (bright structure).

    Attributes
    ----------
    shift : float
        Mean of the background, in the input's units.
    scale : float
        99th percentile of the foreground above the background, in the input's units, > 0.
    """

    shift: float
    scale: float

    def apply(self, image: npt.ArrayLike) -> FloatArray:
        """Normalised image, float32."""
        return ((np.asarray(image, dtype=np.float32) - self.shift) / self.scale).astype(np.float32)

    def undo(self, image: npt.ArrayLike) -> FloatArray:
        """Back to the input's units, float32."""
        return (np.asarray(image, dtype=np.float32) * self.scale + self.shift).astype(np.float32)


def normalisation(images: npt.ArrayLike) -> Normalisation:
    """Shift and scale from the scans alone.

    The paper (Methods, "Sample preparation") thresholds an extended-depth-of-field image of
    the whole stack by the triangle method and takes the mean of its background and the 99th
    percentile of its foreground. A user has a few planes only, so their maximum projection
    stands in for it, in training as in use.

    Parameters
    ----------
    images : array_like, shape (M, Y, X)

    Returns
    -------
    Normalisation
    """
    stack = np.asarray(images, dtype=np.float32)
    projection = stack.max(axis=0)
    foreground = projection > threshold_triangle(projection)  # type: ignore[no-untyped-call]
    background = stack[:, ~foreground]
    shift = float(background.mean()) if background.size else float(stack.min())
    bright = projection[foreground] if foreground.any() else projection
    scale = float(np.percentile(bright, 99)) - shift
    if scale <= 0:  # a flat projection: any positive scale serves
        scale = max(float(stack.max() - stack.min()), 1e-6)
    return Normalisation(shift, scale)
