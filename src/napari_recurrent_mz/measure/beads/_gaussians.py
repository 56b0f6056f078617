"""Gaussians fitted to many small windows at once: batched Levenberg-Marquardt in numpy.

A Gaussian on a grid is a product of one function an axis, and so are its derivatives. Every
sum over a window that least squares asks for is then a product of short sums along the axes,
or the window contracted with one vector after another; no Jacobian is ever formed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))

_MAX_STEPS = 60
_SMALLEST_STEP = 1e-5  # in units of the parameters' own scales: a smaller one is the last
_LARGEST_DAMPING = 1e9  # damping at which no step helps any more


@dataclass(frozen=True, eq=False)
class Windows:
    """Pieces of images around N places, on D axes."""

    values: Array  # (N, n1, ..., nD); beyond the image its edge is repeated
    axes: Sequence[Array]  # D of (n,): distances from the place in micrometres
    weights: Sequence[Array]  # D of (N, n): 1 inside the image and 0 outside

    def of(self, chosen: npt.NDArray[np.intp]) -> Windows:
        """The windows of some of the places."""
        return Windows(self.values[chosen], self.axes, [w[chosen] for w in self.weights])

    @property
    def weight(self) -> Array:
        """The product of the weights along the axes, shape of ``values``."""
        total = np.ones_like(self.values)
        for axis, along in enumerate(self.weights):
            others = [1 + other for other in range(len(self.axes)) if other != axis]
            total *= np.expand_dims(along, others)
        return total


@dataclass(frozen=True, eq=False)
class Fits:
    """Fits of N windows: background + amplitude * exp(-sum((x - c)² / 2 s²))."""

    amplitude: Array  # (N,), in the units of the image, as are background and residual
    background: Array
    centre: Array  # (N, D), in micrometres from the place
    sigma: Array  # (N, D), in micrometres
    residual: Array  # root mean square over the window
    converged: npt.NDArray[np.bool_]


def fit_gaussians(windows: Windows, sigma: Array) -> Fits:
    """A Gaussian and background for each window (Marquardt, J. Soc. Ind. Appl. Math. 11:431)."""
    scaled, base, height = _normalised(windows)
    d = len(sigma)
    start = np.concatenate([[1.0, 0.0], np.zeros(d), np.log(sigma)])
    state, converged = _descend(scaled, np.tile(start, (len(base), 1)))
    points = np.maximum(windows.weight.reshape(len(base), -1).sum(axis=1), 1.0)
    return Fits(
        amplitude=state.parameters[:, 0] * height,
        background=state.parameters[:, 1] * height + base,
        centre=state.parameters[:, 2 : 2 + d],
        sigma=np.exp(state.parameters[:, 2 + d :]),
        residual=np.sqrt(np.maximum(state.squares, 0) / points) * height,
        converged=converged,
    )


def _normalised(windows: Windows) -> tuple[Windows, Array, Array]:
    """Windows with a rough background at 0 and their place at 1; both levels, shape (N,)."""
    weight = windows.weight
    flat = windows.values.reshape(len(weight), -1)  # values repeated beyond an edge do no harm
    base = np.percentile(flat, 10, axis=1)
    height = flat[:, flat.shape[1] // 2] - base
    height = np.where(height > 0, height, np.maximum(flat.max(axis=1) - base, 1e-30))
    shape = (-1,) + (1,) * len(windows.axes)
    values = (windows.values - base.reshape(shape)) / height.reshape(shape) * weight
    return Windows(values, windows.axes, windows.weights), base, height


class _State(NamedTuple):
    """Where the descent is, and the normal equations there."""

    parameters: Array  # (N, 2 + 2 D): amplitude, background, centre, log of sigma
    squares: Array
    slope: Array
    curvature: Array


def _descend(windows: Windows, parameters: Array) -> tuple[_State, npt.NDArray[np.bool_]]:
    """The state at the least squares, and which windows got there."""
    state = _equations(windows, parameters)
    damping = np.full(len(parameters), 1e-2)
    converged = np.zeros(len(parameters), bool)
    active = np.arange(len(parameters))
    centre, width = np.split(np.arange(2, parameters.shape[1]), 2)
    for _ in range(_MAX_STEPS):
        if not len(active):
            break
        start = state.parameters[active]
        step = _step(state.slope[active], state.curvature[active], damping[active])
        # no step moves a centre by more than its width, or a width by more than a factor two
        sigma = np.exp(start[:, width])
        step[:, centre] = np.clip(step[:, centre], -sigma, sigma)
        step[:, width] = np.clip(step[:, width], -0.7, 0.7)
        trial = _equations(windows.of(active), start + step)
        better = trial.squares < state.squares[active]
        for values, tried in zip(state, trial, strict=True):
            values[active[better]] = tried[better]
        damping[active] *= np.where(better, 0.2, 6.0)
        step[:, centre] /= sigma  # in units of each parameter's own scale
        done = (np.abs(step).max(axis=1) < _SMALLEST_STEP) | (damping[active] > _LARGEST_DAMPING)
        converged[active[done]] = True
        active = active[~done]
    return state, converged


def _step(slope: Array, curvature: Array, damping: Array) -> Array:
    """Solve (H + damping * diag H) step = slope for every window."""
    diagonal = np.einsum("npp->np", curvature)
    ridge = damping[:, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-30
    damped = curvature + ridge[:, :, None] * np.eye(slope.shape[1])
    return np.asarray(np.linalg.solve(damped, slope[:, :, None])[:, :, 0])


def _equations(windows: Windows, parameters: Array) -> _State:
    """Sum of squares and normal equations, from products of 1, g, g u and g u² along the axes."""
    axes = len(windows.axes)
    which = _functions_of(axes)
    curves, grams = [], []
    for axis, (x, weights) in enumerate(zip(windows.axes, windows.weights, strict=True)):
        sigma = np.exp(parameters[:, 2 + axes + axis, None])
        u = (x - parameters[:, 2 + axis, None]) / sigma
        g = np.exp(-0.5 * u**2)
        curve = np.stack([np.ones_like(g), g, g * u, g * u**2], axis=1)
        curves.append(curve)
        grams.append((curve * weights[:, None]) @ curve.transpose(0, 2, 1))
    products = np.ones((len(parameters), len(which), len(which)))
    for axis, gram in enumerate(grams):
        products *= gram[:, which[:, axis, None], which[None, :, axis]]
    seen = _contracted(windows.values, curves)[(slice(None), *which.T)]
    levels = parameters[:, :2]
    expected = np.einsum("nl,nlp->np", levels, products[:, :2])
    amplitude, sigmas = parameters[:, :1], np.exp(parameters[:, 2 + axes :])
    factor = np.concatenate(
        [np.ones_like(levels), amplitude / sigmas, np.repeat(amplitude, axes, axis=1)], axis=1
    )
    flat = windows.values.reshape(len(parameters), -1)
    total = np.einsum("nk,nk->n", flat, flat)
    squares = total - np.einsum("nl,nl->n", levels, 2 * seen[:, :2] - expected[:, :2])
    return _State(
        parameters,
        squares,
        factor * (seen - expected),
        factor[:, :, None] * factor[:, None, :] * products,
    )


def _functions_of(axes: int) -> npt.NDArray[np.intp]:
    """The function of each axis in the derivative by each parameter, shape (2 + 2 D, D)."""
    table = np.ones((2 + 2 * axes, axes), np.intp)
    table[1] = 0
    for axis in range(axes):
        table[2 + axis, axis] = 2
        table[2 + axes + axis, axis] = 3
    return table


def _contracted(values: Array, curves: Sequence[Array]) -> Array:
    """The windows summed against every product of functions, shape (N, 4, ..., 4)."""
    count = len(values)
    for curve in curves:
        flat = values.reshape(count, curve.shape[2], -1)
        values = np.moveaxis(curve @ flat, 1, -1)
    return values.reshape((count,) + (4,) * len(curves))
