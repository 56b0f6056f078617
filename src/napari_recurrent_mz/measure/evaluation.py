"""How well each method rebuilds a fully sampled stack from a few of its planes.

The definitions are those of :mod:`~.metrics`: the truth stack is scaled
by its own background and 99.9th percentile, the reconstruction is compared in those same
units with no rescaling to fit, and the planes that were the input are left out.

Against the stack of another microscope (:func:`evaluate_against`) there is no common unit:
each volume, the measured stack itself included, is brought to the truth's by the one gain and
offset that fit it best, and all planes count, because none of the truth was an input.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.arrays import AnyArray, Array, real_array, real_number, real_values, same_shape
from ..core.device import choose_device
from ..core.methods import METHODS, method_of
from ..core.metrics import Normalisation, fitted, plane_measures
from ..core.optics import Optics
from ..core.scans import InputError, Scan, ZGrid, require_several
from ..engine.inference import Plane, iter_planes, model_for
from ..io import even_step
from ..networks.weights import Model, load_model

DEFAULT_METHODS = ("recurrent-mz", "lmmse", "linear")
CONFOCAL_METHODS = ("recurrent-mz-plus", "lmmse-plus")
FULL_STACK = "wide-field stack"
"""Name of the row in which the measured stack stands in for a reconstruction."""

_MEASURES = {"psnr": "psnr_db", "nrmse": "nrmse_percent", "ssim": "ssim"}  # as JSON has them


@dataclass(frozen=True)
class Scores:
    """One method's values, plane by plane; NaN at the planes that were the input."""

    psnr: tuple[float, ...]  #: length Z, in dB
    nrmse: tuple[float, ...]  #: length Z, in percent of the truth plane's span
    ssim: tuple[float, ...]  #: length Z, from -1 to 1
    seconds: float  #: time to make the planes, model loading left out

    def mean(self, measure: str) -> float:
        """Mean of ``psnr``, ``nrmse`` or ``ssim`` over the planes that are not input."""
        values = [v for v in getattr(self, measure) if not math.isnan(v)]
        return math.fsum(values) / len(values) if values else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Every value and the means, as JSON can hold them."""
        values: dict[str, Any] = {
            key: [*map(_finite, getattr(self, m))] for m, key in _MEASURES.items()
        }
        means = {key: _finite(self.mean(m)) for m, key in _MEASURES.items()}
        return values | {"mean": means, "seconds": self.seconds}


@dataclass(frozen=True)
class Evaluation:
    """A table of methods, and how it was made."""

    methods: Mapping[str, Scores]  #: in the order in which they were asked for
    z_um: tuple[float, ...]  #: length Z, heights of the planes, in micrometres, rising
    planes: tuple[int, ...]  #: the planes that were the input, numbered along ``z_um``
    #: optics, scale of the truth, model, device, versions, date
    details: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> str:
        """One row a method: mean PSNR (dB), NRMSE (%), SSIM, and seconds."""
        width = max(len("method"), *map(len, self.methods))
        rows = [f"{'method':<{width}}  PSNR dB   NRMSE    SSIM  seconds"]
        rows += [
            f"{name:<{width}}  {s.mean('psnr'):7.2f}  {s.mean('nrmse'):6.2f}  "
            f"{s.mean('ssim'):6.4f}  {s.seconds:7.1f}"
            for name, s in self.methods.items()
        ]
        return "\n".join(rows)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it; null where a value does not exist."""
        return {
            "methods": {name: scores.as_dict() for name, scores in self.methods.items()},
            "z_um": list(self.z_um),
            "planes": list(self.planes),
            **self.details,
        }


def evaluate(
    stack: AnyArray,
    z_um: npt.ArrayLike,
    planes: Sequence[int],
    *,
    optics: Optics | None,
    methods: Sequence[str] = DEFAULT_METHODS,
    model: Model | str | Path | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    on_plane: Callable[[str, Plane], None] | None = None,
    reference: AnyArray | None = None,
    names: tuple[str, str] = ("The stack", "The reference"),
) -> Evaluation:
    """Rebuild a stack from some of its planes by every method, and compare with the truth.

    Parameters
    ----------
    stack : numpy.ndarray, shape (Z, Y, X)
        The truth, in any units.
    z_um : array_like, shape (Z,)
        Heights of its planes, in micrometres, evenly spaced, rising or falling.
    planes : sequence of int
        Numbers of the planes that serve as scans, at least two.
    optics : Optics or None
        Needed by all methods but the interpolations.
    methods : sequence of str
        Of :data:`~.METHODS`.
    model : Model, str or None
        Weights for the first of the methods that has a network of their architecture, and
        for those that share its bundled weights; the others take the bundled ones.
    device : str
        auto, cuda, mps or cpu.
    on_progress : callable, optional
        Called with the planes done and the planes in all.
    on_plane : callable, optional
        Given the method and every plane that it made, to keep it.
    reference : numpy.ndarray, shape (Z, Y, X), optional
        Another truth than ``stack``: see :func:`evaluate_against`.
    names : tuple of str, optional
        How error messages call the two.

    Raises
    ------
    InputError
        If the planes are not there or too few, the spacing is uneven, or a method is unknown.
    """
    if not methods:
        raise InputError(f"No method is named: choose some of {', '.join(METHODS)}.")
    for method in methods:
        method_of(method)
    stack, (name, other) = real_array(stack, names[0]), names
    if reference is not None:
        reference = real_array(reference, other)
        same_shape(reference, stack, f"{other} and {name[0].lower()}{name[1:]}")
    heights = real_values(z_um, "The list of heights")
    measured, grid, chosen = _rising(stack, heights, planes, name)
    truth = measured if reference is None else _rising(reference, heights, planes, other)[0]
    scans = [Scan(measured[p], float(grid.z_um[p]), f"plane {p}") for p in chosen]
    require_several(scans)
    targets = [i for i in range(len(grid)) if reference is not None or i not in chosen]
    if not targets:
        raise InputError("Every plane is an input: leave some out to compare with.")
    scale = Normalisation.of_stack(truth)
    models = _loaded(model, methods)
    score = partial(_scores, truth, scale, targets, reference is not None)
    results = {} if reference is None else {FULL_STACK: score(measured, 0.0)}
    for number, method in enumerate(methods):
        volume = np.empty(truth.shape, np.float32)
        rebuilt = iter_planes(
            scans, grid, optics=optics, model=models.get(method), method=method, device=device,
            order=targets,
        )  # fmt: skip
        seconds, started = 0.0, time.perf_counter()
        for count, plane in enumerate(rebuilt, start=1):
            seconds += time.perf_counter() - started
            volume[plane.index] = plane.pixels
            if on_plane is not None:
                on_plane(method, plane)
            if on_progress is not None:
                on_progress(number * len(targets) + count, len(methods) * len(targets))
            started = time.perf_counter()
        seconds += time.perf_counter() - started
        results[method] = score(volume, seconds)
    details = _details(optics, scale, models, device)
    if reference is not None:
        details["fit"] = "one gain and offset a volume"
    return Evaluation(results, tuple(grid.z_um.tolist()), tuple(chosen), details)


def evaluate_against(
    stack: AnyArray,
    reference: AnyArray,
    z_um: npt.ArrayLike,
    planes: Sequence[int],
    *,
    optics: Optics | None,
    methods: Sequence[str] = CONFOCAL_METHODS,
    model: Model | str | Path | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Rebuild from some planes of a stack, and compare with the stack of another microscope.

    Parameters
    ----------
    stack, z_um, planes, optics, methods, model, device, on_progress
        As in :func:`evaluate`; the scans are planes of ``stack``.
    reference : numpy.ndarray, shape (Z, Y, X)
        The truth, registered with ``stack``, plane by plane: a confocal stack.

    Returns
    -------
    Evaluation
        The first row is the whole of ``stack``, as if somebody had rebuilt it.

    Raises
    ------
    InputError
        As in :func:`evaluate`, and if the stacks differ in shape.
    """
    return evaluate(
        stack, z_um, planes, optics=optics, methods=methods, model=model, device=device,
        on_progress=on_progress, reference=reference,
    )  # fmt: skip


def _scores(
    truth: AnyArray,
    scale: Normalisation,
    targets: Sequence[int],
    is_fitted: bool,
    volume: AnyArray,
    seconds: float,
) -> Scores:
    if is_fitted:
        volume = fitted(volume, truth).astype(np.float32)
    values = np.full((len(_MEASURES), len(truth)), np.nan)
    for i in targets:
        values[:, i] = plane_measures(truth[i], volume[i], scale)
    psnr, nrmse, ssim = map(tuple, values.tolist())
    return Scores(psnr, nrmse, ssim, seconds)


def _rising(
    stack: AnyArray, z_um: Array, planes: Sequence[int], name: str
) -> tuple[AnyArray, ZGrid, list[int]]:
    """The stack from its lowest plane up, its even grid, and the planes in that order."""
    if stack.ndim != 3:
        raise InputError(
            f"{name} has the shape {stack.shape}: evaluation needs a fully sampled stack (Z, Y, X)."
        )
    n = stack.shape[0]
    if z_um.shape != (n,):
        raise InputError(f"{name} has {n} planes but {z_um.size} heights: give one a plane.")
    missing = [p for p in planes if not 0 <= real_number(p) < n]
    if missing:
        raise InputError(f"{name} has no plane {missing[0]}: its planes are numbered 0 to {n - 1}.")
    chosen = sorted({int(p) for p in planes})
    if n > 1 and z_um[-1] < z_um[0]:
        stack, z_um, chosen = stack[::-1], z_um[::-1], sorted(n - 1 - p for p in chosen)
    step = float(z_um[-1] - z_um[0]) / max(n - 1, 1)
    if n < 3 or even_step(z_um) is None:
        raise InputError(
            f"{name} is not evenly spaced along z: evaluation needs at least three planes with one "
            "z step (--z-step-um)."
        )
    return stack, ZGrid(float(z_um[0]), float(z_um[0]) + step * (n - 1), step), chosen


def _loaded(given: Model | str | Path | None, methods: Sequence[str]) -> dict[str, Model]:
    """The weights of every method that has some, loaded before the clock starts."""
    networks = [method for method in map(method_of, methods) if method.needs_model]
    given_for: dict[str | None, Model] = {}  # by the name of the bundled weights
    if given is not None and networks:
        model = load_model(given) if isinstance(given, str | Path) else given
        fitting = [m.weights for m in networks if m.architecture == model.architecture]
        if not fitting:
            raise InputError(
                f"The model '{model.name}' is a network of the method {model.architecture}, "
                "which is not among the methods: add it, or leave the model out."
            )
        given_for[fitting[0]] = model
    chosen = {m.key: model_for(m.key, given_for.get(m.weights)) for m in networks}
    return {key: loaded for key, loaded in chosen.items() if loaded is not None}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _details(
    optics: Optics | None, scale: Normalisation, models: Mapping[str, Model], device: str
) -> dict[str, Any]:
    """How the table was made, JSON-able."""
    chosen = choose_device(device)
    used = {key: {"name": model.name, "sha256": model.sha256} for key, model in models.items()}
    return {
        "optics": None if optics is None else optics.as_dict(),
        "truth_scale": {"background": scale.background, "foreground": scale.foreground},
        "model": next(iter(used.values()), None),
        "models": used,
        "device": {"kind": chosen.kind, "name": chosen.name},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "versions": {
            name: version(name) for name in ("napari-recurrent-mz", "torch", "numpy", "scipy")
        },
    }
