"""From scans to planes: the one way through which every method fills a target.

:func:`run` is a generator, so that a window or a script takes each plane as it is done, in the
order it wants, and stops by closing it. Lengths are in micrometres.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from ..core.device import choose_device
from ..core.methods import DEFAULT_METHOD, Method, method_of
from ..core.optics import Optics
from ..core.progress import Stopped, never, nobody
from ..core.region import Region
from ..core.scans import (
    FloatArray,
    Heights,
    InputError,
    Scan,
    ScanStack,
    ZGrid,
    in_ordinary_units,
    same_height,
    scan_at,
)
from ..estimates.interpolation import Interpolator
from ..estimates.lmmse import LinearEstimate
from ..estimates.object_windows import nonnegative_estimate
from ..estimates.points import PointsAndLinear
from ..networks.weights import Model, bundled_models, load_model
from .check import (
    NETWORK,
    OwnSampleCheck,
    check_on_scans,
    kind_notes,
    points_notes,
    range_warnings,
    saturation_notes,
)
from .recipe import HeightMap, Recipe
from .tiles import NetworkPlanes


@dataclass(frozen=True, eq=False)
class Plane:
    """One finished plane."""

    index: int  #: its place in the grid
    z_um: float
    pixels: FloatArray  #: (Y, X), in the input's intensity units
    measured: bool  #: whether it is a scan itself rather than inferred


@dataclass(frozen=True, eq=False)
class SurfaceImage:
    """The finished image of a surface."""

    pixels: FloatArray  #: (Y, X), in the input's intensity units


@dataclass(frozen=True)
class Note:
    """A warning in one sentence."""

    sentence: str


Event = Plane | SurfaceImage | OwnSampleCheck | Note
"""Events that :func:`run` yields."""


class PlaneMaker(Protocol):
    """Whatever makes the plane at a height, or the image of a surface."""

    def plane(self, z_um: float | Heights) -> FloatArray: ...


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=5)


def loaded(recipe: Recipe) -> Recipe:
    """A recipe with its weights, which are read here.

    Raises
    ------
    InputError
        As :func:`model_for`.
    """
    model = model_for(recipe.method, recipe.model)
    return recipe if model is recipe.model else replace(recipe, model=model)


def run(
    recipe: Recipe,
    *,
    order: Sequence[int] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> Iterator[Event]:
    """Carry a recipe out.

    Parameters
    ----------
    recipe : Recipe
    order : sequence of int, optional
        Indices of planes in the order wanted; planes left out are not made.
    stopped : callable, optional
        Asked before every plane and every tile; True ends in
        :class:`~.Stopped`.

    Yields
    ------
    Plane
        As each is done. Planes that coincide with a scan (within 1 nm) are that scan itself,
        unless confocal images are made.
    SurfaceImage
        Of a surface, at the end.
    OwnSampleCheck
        With the method auto, what the check on the scans found, before the first plane that it
        has decided on; see :mod:`~.check`.
    Note
        What to mind: saturated scans, planes far beyond the scans, memory that ran out.

    Raises
    ------
    InputError
        If optics, method, model and target do not go together; before the first event.
    Stopped
        If ``stopped`` said so.
    """
    if recipe.region is not None:
        inner, region = recipe.around_region()
        return _cropped(run(inner, order=order, stopped=stopped), region)
    recipe, events, stopped = loaded(recipe), deque[Event](), stopped or never
    maker = plane_maker(recipe, lambda s: events.append(Note(s)), events.append, stopped)
    if isinstance(recipe.target, HeightMap):
        made: Iterator[Event] = _surface(recipe, recipe.target, maker)
    else:
        indices = range(len(recipe.target)) if order is None else order
        made = planes_in_order(recipe.target, indices, recipe.measured(), maker, stopped)
    return _with_notes(made, events, maker)


def _cropped(events: Iterator[Event], region: Region) -> Iterator[Event]:
    """The same events, with planes of a region alone."""
    with closing(events):  # type: ignore[type-var]
        for event in events:
            if isinstance(event, Plane):
                yield replace(event, pixels=np.ascontiguousarray(region.of(event.pixels)))
            else:
                yield event


def _with_notes(made: Iterator[Event], events: deque[Event], maker: PlaneMaker) -> Iterator[Event]:
    """What is made, each after what was to be said meanwhile; at last the maker's memory goes."""
    try:
        for one in chain([None], made):
            while events:
                yield events.popleft()
            if one is not None:
                yield one
    finally:
        _release(maker)


def planes_in_order(
    grid: ZGrid,
    indices: Sequence[int],
    measured: Sequence[Scan],
    maker: PlaneMaker,
    stopped: Callable[[], bool],
) -> Iterator[Plane]:
    """Planes of a grid by their numbers: those that were measured, and the others from a maker.

    Ends in :class:`~.Stopped` when ``stopped`` says so before a plane.
    """
    heights = [float(grid.z_um[index]) for index in indices]
    coinciding = [scan_at(measured, z) for z in heights]
    planes = _in_turn(
        maker, [z for z, same in zip(heights, coinciding, strict=True) if same is None]
    )
    for index, z, same in zip(indices, heights, coinciding, strict=True):
        if stopped():
            raise Stopped
        pixels = next(planes) if same is None else same.pixels.copy()
        yield Plane(int(index), z, pixels, same is not None)


def _surface(recipe: Recipe, target: HeightMap, maker: PlaneMaker) -> Iterator[Event]:
    pixels = maker.plane(target.heights_um)
    for scan in recipe.measured():
        pixels = np.where(same_height(scan.z_um, target.heights_um), scan.pixels, pixels)
    yield SurfaceImage(pixels)


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
    """Yield the planes of ``grid`` as they are done: :func:`run` for those who want planes alone.

    Parameters
    ----------
    scans, optics, model, method, device
        As in :class:`~.Recipe`.
    grid : ZGrid
        The heights wanted.
    order
        As in :func:`run`.
    on_message, on_check : callable, optional
        Given the sentence of every note, and what the check on the scans found.
    stopped : callable, optional
        Asked before every plane and every tile; True ends the planes early.

    Raises
    ------
    InputError
        If scans, grid, optics, method or device do not make sense; before the first plane.
    """
    recipe = Recipe(scans, grid, optics, method, model, device)
    try:
        events = run(recipe, order=order, stopped=stopped)
    except Stopped:
        return iter(())
    return _planes_of(events, on_message, on_check)


def _planes_of(
    events: Iterator[Event],
    on_message: Callable[[str], None] | None,
    on_check: Callable[[OwnSampleCheck], None] | None,
) -> Iterator[Plane]:
    """The planes among events; the others are told."""
    with closing(events):  # type: ignore[type-var]
        try:
            for event in events:
                if isinstance(event, Plane):
                    yield event
                else:
                    tell(event, on_message, on_check)
        except Stopped:
            return


def tell(
    event: Event,
    on_message: Callable[[str], None] | None = None,
    on_check: Callable[[OwnSampleCheck], None] | None = None,
) -> None:
    """Give a note or a check to whoever listens."""
    if isinstance(event, Note) and on_message is not None:
        on_message(event.sentence)
    if isinstance(event, OwnSampleCheck) and on_check is not None:
        on_check(event)


def plane_maker(
    recipe: Recipe,
    on_message: Callable[[str], None] = nobody,
    on_check: Callable[[OwnSampleCheck], None] = nobody,
    stopped: Callable[[], bool] | None = None,
) -> PlaneMaker:
    """What a method makes planes with, at any height of the target; also at those of the scans.

    Parameters
    ----------
    recipe : Recipe
    on_message, on_check, stopped
        As in :func:`iter_planes`.

    Raises
    ------
    InputError
        As :func:`run` does.
    """
    recipe = loaded(recipe)
    make = _MAKERS[recipe.chosen.kind]
    maker = make(_Task(recipe, on_message, on_check, stopped or never))
    for sentence in notes_before(recipe):
        on_message(sentence)
    return maker


def notes_before(recipe: Recipe) -> list[str]:
    """Sentences for a person before a run; those on a network where its weights are loaded."""
    scans, optics, z_um = recipe.scans, recipe.optics, [scan.z_um for scan in recipe.scans]
    notes = saturation_notes(scans) + recipe.size_notes()
    if not isinstance(recipe.model, str | Path | None):
        notes += [] if optics is None else range_warnings(z_um, optics, recipe.model)
        notes += kind_notes(recipe.model)
    return notes


@dataclass(frozen=True, eq=False)
class _Task:
    """A recipe, and who is told of it."""

    recipe: Recipe
    on_message: Callable[[str], None]
    on_check: Callable[[OwnSampleCheck], None]
    stopped: Callable[[], bool]

    @cached_property
    def stack(self) -> ScanStack:
        """The scans as plain arrays: all that a maker needs of them."""
        return ScanStack.of(self.recipe.scans)


class _BuiltOnFirstUse:
    """A maker that is built with its first plane, because building it takes seconds."""

    def __init__(self, build: Callable[[], PlaneMaker]) -> None:
        self._build = build

    def plane(self, z_um: float | Heights) -> FloatArray:
        return self._maker.plane(z_um)

    def planes(self, heights_um: Sequence[float]) -> Iterator[FloatArray]:
        yield from _in_turn(self._maker, heights_um)

    def release(self) -> None:
        if "_maker" in self.__dict__:
            _release(self._maker)

    @cached_property
    def _maker(self) -> PlaneMaker:
        return self._build()


def _in_turn(maker: PlaneMaker, heights_um: Sequence[float]) -> Iterator[FloatArray]:
    """Planes at several heights: a maker that can makes some at once."""
    if isinstance(maker, NetworkPlanes | _BuiltOnFirstUse):
        return maker.planes(heights_um)
    return (maker.plane(z_um) for z_um in heights_um)


def _release(maker: PlaneMaker) -> None:
    """Give back the memory that a maker keeps for its next plane."""
    if isinstance(maker, NetworkPlanes | _BuiltOnFirstUse):
        maker.release()


def _linear_mmse(task: _Task) -> PlaneMaker:
    recipe = task.recipe
    estimate = LinearEstimate(
        task.stack,
        recipe.known_optics,
        reach_um=recipe.ends_um,
        device=choose_device(recipe.device).torch,
        target=recipe.chosen.target,
    )
    estimate.forget_scans()
    return estimate


class _Rescaled:
    """Planes of a maker in another unit, converted to the scans' units."""

    def __init__(self, maker: PlaneMaker, unit: float) -> None:
        self._maker, self._unit = maker, np.float32(unit)

    def plane(self, z_um: float | Heights) -> FloatArray:
        return self._maker.plane(z_um) * self._unit


def _nonnegative(task: _Task) -> PlaneMaker:
    optics, device = task.recipe.known_optics, choose_device(task.recipe.device).torch

    def build() -> PlaneMaker:
        unit, images = in_ordinary_units(task.stack.images)
        stack = ScanStack(images, task.stack.z_um)
        fit = nonnegative_estimate(stack, optics, device=device, stopped=task.stopped)
        return fit if unit == 1 else _Rescaled(fit, unit)

    return _BuiltOnFirstUse(build)


def _points(task: _Task) -> PlaneMaker:
    recipe, device = task.recipe, choose_device(task.recipe.device).torch
    optics = recipe.known_optics

    def build() -> PlaneMaker:
        maker = PointsAndLinear(
            task.stack, optics, reach_um=recipe.ends_um, device=device, stopped=task.stopped
        )
        for sentence in points_notes(task.stack, optics, maker.fit, task.stopped):
            task.on_message(sentence)
        return maker

    return _BuiltOnFirstUse(build)


def _network(task: _Task) -> NetworkPlanes:
    recipe, method = task.recipe, task.recipe.chosen
    optics, device = recipe.known_optics, choose_device(recipe.device)
    model = recipe.model
    assert isinstance(model, Model)  # the recipe is loaded, and this method has a network
    check_model(method, model)
    return NetworkPlanes(
        task.stack,
        optics,
        model,
        device,
        reach_um=recipe.ends_um,
        on_message=task.on_message,
        stopped=task.stopped,
    )


def _checked_network(task: _Task) -> PlaneMaker:
    """The network or linear MMSE, whichever the check on the scans finds better."""
    network = _network(task)  # errors are raised before the first plane
    scans, optics = task.recipe.scans, task.recipe.known_optics

    def build() -> PlaneMaker:
        check = check_on_scans(scans, optics, network.model, network.device, stopped=task.stopped)
        task.on_check(check)
        return network if check.chosen == NETWORK else _linear_mmse(task)

    return _BuiltOnFirstUse(build)


_MAKERS: dict[str, Callable[[_Task], PlaneMaker]] = {
    "auto": _checked_network,
    "network": _network,
    "lmmse": _linear_mmse,
    "nonnegative": _nonnegative,
    "points": _points,
    "interpolation": lambda task: Interpolator(task.recipe.scans, task.recipe.method),
}


def first_look(recipe: Recipe, z_um: float) -> FloatArray | None:
    """Linear MMSE of one plane, shape (Y, X), to show while a slower method begins; else None."""
    if recipe.chosen.kind in ("lmmse", "interpolation"):
        return None
    inner, region = recipe.around_region()
    pixels: FloatArray = region.of(_linear_mmse(_Task(inner, nobody, nobody, never)).plane(z_um))
    return pixels


def model_for(method: str, given: Model | str | Path | None = None) -> Model | None:
    """The weights that a method works with.

    Parameters
    ----------
    method : str
        One of :data:`~.METHODS`.
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
    chosen = method_of(method)
    if chosen.weights is None:
        return None
    if given is not None and not isinstance(given, str | Path):
        return given
    if given is None and chosen.weights not in bundled_models():
        raise InputError(
            f"The weights of {chosen.title} are not part of this installation: train them with "
            f"'recurrent-mz train --architecture {chosen.architecture}' and give the file as "
            "the model."
        )
    return load_model(given or chosen.weights)


def check_model(method: Method, model: Model) -> None:
    """Raise :class:`InputError` unless a model is one of the method's networks."""
    if model.architecture != method.architecture:
        raise InputError(
            f"The model '{model.name}' is a network of the method {model.architecture}: choose "
            f"that method, or another model for {method.title}."
        )
    if method.target == "confocal" and model.network.config.target != "confocal":
        raise InputError(
            f"The model '{model.name}' makes wide-field images: choose one that was trained for "
            f"confocal ones, or another method than {method.title}."
        )


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
