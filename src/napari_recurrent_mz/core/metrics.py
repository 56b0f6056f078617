"""How near a reconstruction is to the truth: PSNR, NRMSE, SSIM, KL and Frobenius change.

The values hold for any units; :class:`Normalisation` brings a truth stack and what is
compared with it to the scale on which the project states them: background 0, the 99.9th
percentile 1. Nothing is rescaled to fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import AnyArray, Array, Planes, real_array, same_shape
from .errors import InputError


@dataclass(frozen=True)
class Normalisation:
    """The scale of a truth stack."""

    background: float  #: intensity that becomes 0
    foreground: float  #: intensity that becomes 1, above ``background``

    @classmethod
    def of_stack(cls, stack: AnyArray) -> Normalisation:
        """Measure a truth stack of shape (Z, Y, X), which may be lazy: see :class:`StackScale`.

        The background is the mean over all planes of the pixels where the maximum
        projection is at or below its triangle threshold (Zack et al., J. Histochem.
        Cytochem. 25:741, 1977, as in scikit-image); the foreground is the 99.9th
        percentile of all pixels.

        Raises
        ------
        InputError
            If the stack has no contrast to measure.
        """
        planes = Planes(stack, "The truth stack")
        if len(planes.shape) != 3 or 0 in planes.shape:
            raise InputError(
                f"The truth stack has the shape {planes.shape}: give a stack (Z, Y, X)."
            )
        scale = StackScale(len(planes))
        for plane in planes:
            scale.add(plane)
        return scale.normalisation()

    def apply(self, values: AnyArray) -> Array:
        """Return ``values`` on this scale: background 0, foreground 1; float64, same shape."""
        return (values.astype(np.float64) - self.background) / (self.foreground - self.background)


class StackScale:
    """The :class:`Normalisation` of a truth stack that arrives plane by plane.

    Only two planes and the brightest thousandth of the pixels are kept.

    Parameters
    ----------
    planes : int
        How many will come.
    called : str, optional
        What an error calls the stack.
    """

    def __init__(self, planes: int, called: str = "the truth stack") -> None:
        self._planes, self._called = planes, called
        self._pixels = 0
        self._brightest: AnyArray = np.empty(0)
        self._highest: AnyArray = np.empty(0)
        self._sum: Array = np.empty(0)

    def add(self, plane: AnyArray) -> None:
        """Take a plane of shape (Y, X), the same for all."""
        if self._pixels == 0:
            self._pixels = self._planes * plane.size
            self._highest, self._sum = plane, plane.astype(np.float64)
            self._brightest = np.empty(0, plane.dtype)
        else:
            self._highest, self._sum = np.maximum(self._highest, plane), self._sum + plane
        brightest = np.concatenate([self._brightest, plane.ravel()])
        count = self._pixels - int(self._rank())
        if count < brightest.size:
            brightest = np.partition(brightest, brightest.size - count)[-count:]
        self._brightest = brightest

    def normalisation(self) -> Normalisation:
        """The scale, once all planes have come; errors as of :meth:`Normalisation.of_stack`."""
        if self._highest.min() == self._highest.max():
            stack = self._called[0].upper() + self._called[1:]
            raise InputError(f"{stack} is constant: there is nothing to compare with.")
        dark = self._highest <= triangle_threshold(self._highest)
        background = float(self._sum[dark].mean() / self._planes)
        foreground = self._percentile()
        if not foreground > background:
            raise InputError(
                f"The 99.9th percentile of {self._called} is not above its background: "
                "it holds almost no signal."
            )
        return Normalisation(background, foreground)

    def _rank(self) -> float:
        """Where the 99.9th percentile is among the sorted pixels, counted from 0."""
        return (self._pixels - 1) * 0.999

    def _percentile(self) -> float:
        rank = self._rank()
        below = int(rank)
        tail = np.sort(self._brightest)
        first = self._pixels - tail.size  # the rank of the first pixel of the tail
        around = tail[below - first : below - first + 2].astype(np.float64)
        return float(np.quantile(around, rank - below))


_MOST_BINS = 2**16


def triangle_threshold(image: AnyArray) -> float:
    """The triangle threshold of an image, which depends on its values and not on their type.

    Zack et al., J. Histochem. Cytochem. 25:741, 1977, as in scikit-image: whole numbers have a bin
    each, up to 65,536 of them; others share 256.
    """
    from skimage.filters import threshold_triangle

    threshold: Callable[[Any], float] = threshold_triangle  # scikit-image is half typed
    low = image.min()
    if float(image.max()) - float(low) < _MOST_BINS and bool((image == np.rint(image)).all()):
        return float(threshold((image - low).astype(np.int64))) + float(low)
    return float(threshold(image.astype(np.float64)))


class StraightFit:
    """One gain and offset of the least squares, from pairs that arrive plane by plane.

    For two microscopes whose intensities have no common unit, such as a wide-field and a
    confocal one; one straight line for all planes is what is best for each method.
    """

    def __init__(self) -> None:
        self._count = 0
        self._x = self._y = self._xx = self._xy = 0.0  # means, and sums about them

    def add(self, values: AnyArray, truth: AnyArray) -> None:
        """Take values and the truth at the same places, two arrays of one shape."""
        x, y = (np.asarray(a, np.float64) for a in (values, truth))
        mean_x, mean_y, before = float(x.mean()), float(y.mean()), self._count
        self._count += x.size
        share = before * x.size / self._count
        step_x, step_y = mean_x - self._x, mean_y - self._y
        self._xx += float(((x - mean_x) ** 2).sum()) + share * step_x**2
        self._xy += float(((x - mean_x) * (y - mean_y)).sum()) + share * step_x * step_y
        self._x += step_x * x.size / self._count
        self._y += step_y * x.size / self._count

    @property
    def gain(self) -> float:
        """Units of the truth per unit of the values; 0 when the values are constant."""
        return self._xy / self._xx if self._xx else 0.0

    @property
    def offset(self) -> float:
        """In units of the truth."""
        return self._y - self.gain * self._x

    def apply(self, values: AnyArray) -> Array:
        """Values in the units of the truth, float64, same shape."""
        return self.gain * np.asarray(values, np.float64) + self.offset


def fitted(volume: AnyArray, truth: AnyArray) -> Array:
    """A volume in the units of the truth, by the straight line of :class:`StraightFit`.

    Parameters
    ----------
    volume, truth : numpy.ndarray, same shape
    """
    values, wanted = _pair(volume, truth)
    line = StraightFit()
    line.add(values, wanted)
    return line.apply(values)


def plane_measures(
    truth: AnyArray, test: AnyArray, scale: Normalisation
) -> tuple[float, float, float]:
    """PSNR (dB), NRMSE (%) and SSIM of a plane, as everywhere in this project.

    Parameters
    ----------
    truth, test : numpy.ndarray, shape (Y, X), at least 11 × 11
        In the units of the truth stack.
    scale : Normalisation
        Of the truth stack.

    Returns
    -------
    tuple of float
        NRMSE is NaN where the truth plane is constant: it has no span to divide by.
    """
    truth, test = map(scale.apply, _pair(truth, test))
    error = nrmse(truth, test) if truth.min() < truth.max() else math.nan
    return psnr(truth, test), error, ssim(truth, test)


def psnr(truth: AnyArray, test: AnyArray) -> float:
    """Peak signal-to-noise ratio in dB over a range of 1; infinite when they are equal.

    Parameters
    ----------
    truth, test : numpy.ndarray, same shape
        Values on the scale of :class:`Normalisation`.
    """
    error = _mean_square(truth, test)
    return float(-10 * np.log10(error)) if error > 0 else float("inf")


def nrmse(truth: AnyArray, test: AnyArray) -> float:
    """Root mean square error over (max - min) of the truth, times 100 (as the paper states it).

    Raises
    ------
    InputError
        If the truth is constant.
    """
    truth, test = _pair(truth, test)
    span = float(truth.max()) - float(truth.min())
    if span == 0:
        raise InputError("The truth plane is constant: NRMSE has no meaning on it.")
    return 100 * float(np.sqrt(_mean_square(truth, test))) / span


_SSIM_PIXELS = 11  # its window


def ssim(truth: AnyArray, test: AnyArray) -> float:
    """Mean structural similarity over a range of 1, with the settings of its authors.

    Gaussian weights of sigma 1.5 (11 × 11 pixels), K1 = 0.01, K2 = 0.03, population
    covariance: Wang et al., IEEE Trans. Image Process. 13:600 (2004), as implemented in
    scikit-image.

    Parameters
    ----------
    truth, test : numpy.ndarray, shape (Y, X), at least 11 × 11
        Values on the scale of :class:`Normalisation`.
    """
    from skimage.metrics import structural_similarity

    truth, test = (values.astype(np.float64) for values in _pair(truth, test))
    if truth.ndim != 2 or min(truth.shape) < _SSIM_PIXELS:
        raise InputError(
            f"The planes have the shape {truth.shape}: SSIM needs two images (Y, X) of at least "
            f"{_SSIM_PIXELS} × {_SSIM_PIXELS} pixels."
        )

    similarity: Callable[..., float] = structural_similarity  # scikit-image is half typed
    value = similarity(
        truth,
        test,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def kl_divergence(
    truth: npt.ArrayLike, test: npt.ArrayLike, bins: npt.ArrayLike, *, pseudocount: float = 0.5
) -> float:
    """Kullback-Leibler divergence of two histograms, D(truth || test), in nats.

    The paper compares bead FWHM so (Fig. 3b). A pseudocount in every bin keeps it finite
    where ``test`` has no sample.

    Parameters
    ----------
    truth, test : array_like
        Samples, in any shape.
    bins : array_like, shape (B + 1,)
        Rising bin edges; samples outside are not counted.
    pseudocount : float
        Added to every bin, above 0.
    """
    edges = np.asarray(bins, dtype=np.float64)
    samples = [real_array(x, "A sample of widths", finite=False) for x in (truth, test)]
    if not all(sample.size for sample in samples):
        raise InputError("A sample of widths is empty: there is nothing to compare.")
    p, q = (np.histogram(np.ravel(x), edges)[0] + pseudocount for x in samples)
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


EPSILON = 0.08
"""A :func:`relative_change` at or below which another scan hardly pays; see docs/live.md."""

FEWEST = 3
"""A change counts from this number of scans on: two are the least that make a volume."""


def relative_change(old: AnyArray, new: AnyArray) -> float:
    """Frobenius change of a volume, ||new - old|| / ||new||; 0 when both are zero.

    The paper's Discussion proposes ||V_M - V_(M-1)||_F below a threshold as the signal to
    stop scanning; dividing by the norm of the new volume makes the threshold free of units.

    Parameters
    ----------
    old, new : numpy.ndarray, same shape (Z, Y, X)
        Volumes before and after a scan was added, background subtracted for a change that
        does not depend on the camera's offset.
    """
    change = size = 0.0
    volumes = Planes(old, "The old volume"), Planes(new, "The new volume")
    same_shape(*volumes, "The old and the new volume")
    for before, after in zip(*volumes, strict=True):  # plane by plane, to save memory
        after = after.astype(np.float64)
        change += float(np.sum((after - before) ** 2))
        size += float(np.sum(after**2))
    if size == 0:
        return 0.0 if change == 0 else float("inf")
    return float(np.sqrt(change / size))


def _pair(truth: npt.ArrayLike, test: npt.ArrayLike) -> tuple[AnyArray, AnyArray]:
    """Both as arrays of finite numbers, of one shape."""
    pair = real_array(truth, "The truth"), real_array(test, "What is compared with the truth")
    same_shape(*pair, "The truth and what is compared with it")
    return pair


def _mean_square(truth: AnyArray, test: AnyArray) -> float:
    truth, test = _pair(truth, test)
    return float(np.mean((np.asarray(truth, np.float64) - test) ** 2))
