"""From scans to planes: the one way through which every method fills a target grid.

:func:`iter_planes` is a generator, so that a window or a script takes each plane as it is
done, in the order it wants, and stops by closing it. Lengths are in micrometres.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .baselines.interpolation import Interpolator
from .check import NETWORK, OwnSampleCheck, check_on_scans, reach_notes
from .deconvolution import Interrupted
from .device import choose_device
from .lmmse import LinearEstimate
from .methods import DEFAULT_METHOD, Method, image_made, method_of
from .object_windows import nonnegative_estimate
from .optics import Optics
from .saturation import saturation_notes
from .scans import (
    FloatArray,
    Heights,
    InputError,
    Scan,
    ZGrid,
    check_scans,
    in_ordinary_units,
    require_several,
)
from .tiles import NetworkPlanes, Stopped
from .weights import Model, bundled_models, load_model

SAME_PLANE_UM = 1e-3
"""A plane that is nearer than this to a scan is that scan, in micrometres."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One finished plane.

    Attributes
    ----------
    index : int
        Its place in the grid.
    z_um : float
    pixels : numpy.ndarray, float32, shape (Y, X)
        In the input's intensity units.
    measured : bool
        Whether it is a scan itself rather than inferred.
    """

    index: int
    z_um: float
    pixels: FloatArray
    measured: bool


class PlaneMaker(Protocol):
    """Whatever makes the plane at a height, or the image of a surface."""

    def plane(self, z_um: float | Heights) -> FloatArray: ...


def iter_planes(
    scans: Sequence[Scan],
    grid: ZGrid,
    *,
    optics: Optics | None,
    model: Model | None = None,
    method: str = DEFAULT_METHOD,
    device: str = "auto",
    order: Sequence[int] | None = None,
    on_message: Callable[[str], None] | None = None,
    on_check: Callable[[OwnSampleCheck], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> Iterator[Plane]:
    """Yield the planes of ``grid`` as they are done.

    Parameters
    ----------
    scans : sequence of Scan
        At least two, of one shape, at different heights, in any order.
    grid : ZGrid
        The heights wanted.
    optics : Optics or None
        Needed by all methods but the interpolations.
    model : Model, optional
        By default the one that is bundled for the method.
    method : str, optional
        One of :data:`~napari_recurrent_mz.methods.METHODS`.
    device : str, optional
        auto, cuda, mps or cpu.
    order : sequence of int, optional
        Indices of planes in the order wanted; planes left out are not made.
    on_message : callable, optional
        Told in a sentence what to mind: saturated scans, planes far beyond the scans, memory
        that ran out and what is done about it.
    on_check : callable, optional
        With the method auto, given what the check on the scans found, before the first plane
        that is not a scan itself; see :mod:`~napari_recurrent_mz.check`.
    stopped : callable, optional
        Asked before every plane and every tile; True ends the planes early.

    Yields
    ------
    Plane
        Planes that coincide with a scan (within 1 nm) are that scan itself, unless confocal
        images are made.

    Raises
    ------
    InputError
        If scans, grid, optics, method or device do not make sense; before the first plane.
    """
    found = check_scans(scans)
    indices = range(len(grid)) if order is None else order
    stopped = stopped or _never
    maker = plane_maker(
        found,
        (float(grid.z_um[0]), float(grid.z_um[-1])),
        optics=optics,
        model=model,
        method=method,
        device=device,
        on_message=on_message,
        on_check=on_check,
        stopped=stopped,
    )
    kept = found if image_made(method, model) == "widefield" else ()
    return _planes(maker, kept, grid, indices, stopped)


def plane_maker(
    scans: Sequence[Scan],
    reach_um: tuple[float, float],
    *,
    optics: Optics | None,
    model: Model | None = None,
    method: str = DEFAULT_METHOD,
    device: str = "auto",
    on_message: Callable[[str], None] | None = None,
    on_check: Callable[[OwnSampleCheck], None] | None = None,
    stopped: Callable[[], bool] | None = None,
    what: str = "grid",
) -> PlaneMaker:
    """What a method makes planes with, at any height of a range; also at those of the scans.

    Parameters
    ----------
    scans, optics, model, method, device, on_message, on_check, stopped
        As in :func:`iter_planes`.
    reach_um : tuple of float
        The lowest and the highest plane that will be asked for, in micrometres.
    what : str, optional
        What a person calls these planes.

    Raises
    ------
    InputError
        As :func:`iter_planes` does.
    """
    found = check_scans(scans)
    require_several(found)
    chosen = method_of(method)
    tell, told = on_message or _quiet, on_check or _quiet
    for sentence in saturation_notes(found) + reach_notes(found, reach_um, optics, what):
        tell(sentence)
    task = _Task(chosen, found, reach_um, optics, model, device, tell, told, stopped or _never)
    return _MAKERS[chosen.kind](task)


def _quiet(_message: object) -> None:
    return None


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)


def _never() -> bool:
    return False


def _planes(
    maker: PlaneMaker,
    scans: Sequence[Scan],
    grid: ZGrid,
    indices: Sequence[int],
    stopped: Callable[[], bool],
) -> Iterator[Plane]:
    heights = [float(grid.z_um[index]) for index in indices]
    there = [next((s for s in scans if abs(s.z_um - z) < SAME_PLANE_UM), None) for z in heights]
    missing = [z for z, same in zip(heights, there, strict=True) if same is None]
    made = _in_turn(maker, missing)
    try:
        for index, z, same in zip(indices, heights, there, strict=True):
            if stopped():
                return
            pixels = next(made) if same is None else same.pixels.copy()
            yield Plane(int(index), z, pixels, same is not None)
    except (Stopped, Interrupted):
        return
    finally:
        _release(maker)


@dataclass(frozen=True, eq=False)
class _Task:
    """What a maker of planes is built from."""

    method: Method
    scans: Sequence[Scan]
    reach_um: tuple[float, float]
    optics: Optics | None
    model: Model | None
    device: str
    on_message: Callable[[str], None]
    on_check: Callable[[OwnSampleCheck], None]
    stopped: Callable[[], bool]

    @property
    def known_optics(self) -> Optics:
        """The optics, or one sentence."""
        if self.optics is None:
            raise InputError(
                f"{self.method.title} needs the optics: give NA, emission wavelength, "
                "refractive index and pixel size."
            )
        return self.optics


class _Later:
    """A maker that is built with its first plane, because building it takes seconds."""

    def __init__(self, build: Callable[[], PlaneMaker]) -> None:
        self._build = build
        self._built: PlaneMaker | None = None

    def plane(self, z_um: float | Heights) -> FloatArray:
        return self._maker.plane(z_um)

    def planes(self, heights_um: Sequence[float]) -> Iterator[FloatArray]:
        yield from _in_turn(self._maker, heights_um)

    def release(self) -> None:
        if self._built is not None:
            _release(self._built)

    @property
    def _maker(self) -> PlaneMaker:
        self._built = self._built or self._build()
        return self._built


def _in_turn(maker: PlaneMaker, heights_um: Sequence[float]) -> Iterator[FloatArray]:
    """Planes at several heights: a maker that can makes some at once."""
    if isinstance(maker, NetworkPlanes | _Later):
        return maker.planes(heights_um)
    return (maker.plane(z_um) for z_um in heights_um)


def _release(maker: PlaneMaker) -> None:
    """Give back the memory that a maker keeps for its next plane."""
    if isinstance(maker, NetworkPlanes | _Later):
        maker.release()


def _interpolated(task: _Task) -> PlaneMaker:
    return Interpolator(task.scans, task.method.key)


def _linear_mmse(task: _Task) -> PlaneMaker:
    return LinearEstimate(
        task.scans,
        task.known_optics,
        reach_um=task.reach_um,
        device=choose_device(task.device).torch,
        target=task.method.target,
    )


class _InUnits:
    """What a maker makes in a unit, in the scans' units."""

    def __init__(self, maker: PlaneMaker, unit: float) -> None:
        self._maker, self._unit = maker, np.float32(unit)

    def plane(self, z_um: float | Heights) -> FloatArray:
        return self._maker.plane(z_um) * self._unit


def _nonnegative(task: _Task) -> PlaneMaker:
    optics, device = task.known_optics, choose_device(task.device).torch
    unit, scans = in_ordinary_units(task.scans)

    def build() -> PlaneMaker:
        fit = nonnegative_estimate(scans, optics, device=device, stopped=task.stopped)
        return fit if unit == 1 else _InUnits(fit, unit)

    return _Later(build)


def _network(task: _Task) -> NetworkPlanes:
    optics, device = task.known_optics, choose_device(task.device)
    model = model_for(task.method.key, task.model)
    assert model is not None  # this method has a network
    if model.architecture != task.method.architecture:
        raise InputError(
            f"The model '{model.name}' is a network of the method {model.architecture}: choose "
            f"that method, or another model for {task.method.title}."
        )
    if task.method.target == "confocal" and model.network.config.target != "confocal":
        raise InputError(
            f"The model '{model.name}' makes wide-field images: choose one that was trained for "
            f"confocal ones, or another method than {task.method.title}."
        )
    return NetworkPlanes(
        task.scans,
        optics,
        model,
        device,
        reach_um=task.reach_um,
        on_message=task.on_message,
        stopped=task.stopped,
    )


def _better_one(task: _Task) -> PlaneMaker:
    """The network or linear MMSE, whichever the check on the scans finds better."""
    network = _network(task)  # whatever is wrong is told before the first plane
    model, device = network.model, network.device

    def build() -> PlaneMaker:
        check = check_on_scans(task.scans, task.known_optics, model, device, stopped=task.stopped)
        task.on_check(check)
        return network if check.chosen == NETWORK else _linear_mmse(task)

    return _Later(build)


_MAKERS: dict[str, Callable[[_Task], PlaneMaker]] = {
    "auto": _better_one,
    "network": _network,
    "lmmse": _linear_mmse,
    "nonnegative": _nonnegative,
    "interpolation": _interpolated,
}


def model_for(method: str, given: Model | str | Path | None = None) -> Model | None:
    """The weights that a method works with.

    Parameters
    ----------
    method : str
        One of :data:`~napari_recurrent_mz.methods.METHODS`.
    given : Model, str or Path, optional
        Weights, a name or a file to use instead of the bundled ones.

    Returns
    -------
    Model or None
        None where the method has no network.

    Raises
    ------
    InputError
        If the weights are not bundled, or there is no such file.
    """
    found = method_of(method)
    if found.weights is None:
        return None
    if given is not None and not isinstance(given, str | Path):
        return given
    if given is None and found.weights not in bundled_models():
        raise InputError(
            f"The weights of {found.title} are not part of this installation: train them with "
            f"'recurrent-mz train --architecture {found.architecture}' and give the file as "
            "the model."
        )
    return load_model(given or found.weights)


def reconstruct(
    scans: Sequence[Scan],
    grid: ZGrid,
    *,
    optics: Optics | None = None,
    model: Model | None = None,
    method: str = DEFAULT_METHOD,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> FloatArray:
    """Fill a grid of heights from a few scans.

    Parameters
    ----------
    scans, grid, optics, model, method, device
        As in :func:`iter_planes`.
    on_progress : callable, optional
        Called with the number of planes done and of all planes.
    on_message : callable, optional
        Told in a sentence what to mind: saturated scans, planes far beyond the scans, memory
        that ran out. By default it becomes a Python warning.

    Returns
    -------
    numpy.ndarray, float32, shape (Z, Y, X)
        In the input's intensity units.

    Raises
    ------
    InputError
        If the input does not make sense.

    Examples
    --------
    >>> volume = reconstruct([Scan(a, z_um=3.0), Scan(b, z_um=9.0)], ZGrid(0, 12, 0.2),
    ...                      optics=Optics(1.4, 0.519, 1.515, 0.103))    # doctest: +SKIP
    """
    planes = iter_planes(
        scans, grid, optics=optics, model=model, method=method, device=device,
        on_message=on_message or _warn,
    )  # fmt: skip
    volume: FloatArray | None = None
    for done, plane in enumerate(planes, start=1):
        if volume is None:
            volume = np.empty((len(grid), *plane.pixels.shape), np.float32)
        volume[plane.index] = plane.pixels
        if on_progress is not None:
            on_progress(done, len(grid))
    assert volume is not None  # a ZGrid is never empty
    return volume
