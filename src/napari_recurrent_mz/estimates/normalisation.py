"""Intensities of scans: the normalisation that training and use share, and their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_triangle

from ..core.arrays import real_array
from ..core.metrics import triangle_threshold
from ..core.scans import FloatArray, InputError, check_image, in_ordinary_units


@dataclass(frozen=True)
class Normalisation:
    """Shift and scale that take intensities to about 0 (background) … 1 (bright structure)."""

    shift: float  # mean of the background, in the input's units
    scale: float  # 99th percentile of the foreground above it, in the input's units, > 0

    def apply(self, image: npt.ArrayLike) -> FloatArray:
        """Normalised image, float32."""
        normal: FloatArray = np.asarray(image, dtype=np.float32) - np.float32(self.shift)
        normal /= np.float32(self.scale)
        return normal

    def undo(self, image: npt.ArrayLike) -> FloatArray:
        """Back to the input's units, float32."""
        values: FloatArray = np.asarray(image, dtype=np.float32) * np.float32(self.scale)
        values += np.float32(self.shift)
        return values


def quantile(values: npt.NDArray[np.floating], part: float) -> float:
    """The ``part`` quantile of values without NaN, as :func:`numpy.quantile` but much faster."""
    place = part * (values.size - 1)
    low = int(place)
    selected = np.partition(values, low, axis=None)
    below = float(selected[low])
    if place == low:
        return below
    return below + (place - low) * (float(selected[low + 1 :].min()) - below)


_BINS = 256  # of the triangle threshold


def normalisation(images: npt.ArrayLike) -> Normalisation:
    """Shift and scale from scans (M, Y, X), whose maximum stands in for the paper's EDF image."""
    unit, stack = in_ordinary_units(np.asarray(images, dtype=np.float32))
    projection = stack.max(axis=0)
    steps = np.ptp(projection) / np.spacing(np.abs(projection).max())
    binned = projection if steps > _BINS else projection.astype(np.float64)  # which has them
    foreground = projection > threshold_triangle(binned)  # type: ignore[no-untyped-call]
    background = stack.sum(axis=0, dtype=np.float64)[~foreground]
    shift = float(background.mean()) / len(stack) if background.size else float(stack.min())
    bright = projection[foreground] if foreground.any() else projection
    scale = quantile(bright, 0.99) - shift
    if scale <= 0:  # a flat projection: any positive scale serves
        scale = max(float(stack.max() - stack.min()), 1e-6)
    return Normalisation(shift * unit, scale * unit)


@dataclass(frozen=True)
class EdfNormalisation:
    """The paper's normalisation, measured on an extended-depth-of-field image.

    Huang et al. 2021, Methods, "Sample preparation": the triangle threshold separates background
    from foreground; the mean of the background is the shift, and the 99th percentile of the
    foreground is the scale.
    """

    #: triangle threshold (Zack et al., J. Histochem. Cytochem. 25:741, 1977); what lies above it is
    #: foreground
    threshold: float
    background: float  #: mean of the background: it becomes 0
    p99: float  #: 99th percentile of the foreground: it becomes 1
    foreground_share: float  #: share of the pixels above the threshold, between 0 and 1

    @property
    def normalisation(self) -> Normalisation:
        """Shift and scale."""
        return Normalisation(self.background, self.p99 - self.background)

    def as_dict(self) -> dict[str, float]:
        """The numbers, as JSON can hold them, with the shift and the scale that they give."""
        normalisation = self.normalisation
        return {
            "shift": normalisation.shift,
            "scale": normalisation.scale,
            "threshold": self.threshold,
            "background_mean": self.background,
            "foreground_p99": self.p99,
            "foreground_share": self.foreground_share,
        }


def edf_normalisation(edf: npt.ArrayLike, name: str = "this image") -> EdfNormalisation:
    """Measure the paper's normalisation on an extended-depth-of-field image.

    Unlike :func:`normalisation`, which a network uses and which needs a few scans only.

    Parameters
    ----------
    edf : array_like, shape (Y, X)
        For instance from :func:`~.extended_focus`.
    name : str, optional
        How error messages call it.

    Raises
    ------
    InputError
        If it is no image, holds NaN, is constant, or has no foreground.
    """
    pixels = check_image(edf, f"'{name}'")
    threshold = triangle_threshold(real_array(edf, f"'{name}'"))
    foreground = pixels > threshold
    if not foreground.any() or foreground.all():
        raise InputError(
            f"'{name}' has no background and foreground that the triangle threshold "
            f"({threshold:g}) tells apart: choose an image with dark and bright parts."
        )
    return EdfNormalisation(
        threshold,
        float(pixels[~foreground].mean(dtype=np.float64)),
        float(np.percentile(pixels[foreground], 99)),
        float(foreground.mean()),
    )


_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6


def noise_of(image: FloatArray, *, is_empty_counted: bool = True) -> float:
    """Standard deviation of the noise (Immerkaer, Comput. Vis. Image Underst. 64:300, 1996)."""
    rest = ndimage.convolve(image, _NOISE_MASK)
    rest = np.abs(rest, out=rest)
    if not is_empty_counted and not rest.all():
        rest = rest[rest > 0]
    return quantile(rest, 0.5) / 0.6745 if rest.size else 0.0
