"""Every stage of the network beside the least time that this machine could take for it."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ...cli._terminal import columns
from ...core.device import Device
from ...core.scans import InputError
from ...engine.tiles import NetworkPlanes
from ...estimates.deconvolution import NonnegativeEstimate
from ...networks.inputs import NetworkInputs
from ...networks.operations import Work, network_work
from ...networks.recurrent_mz import RecurrentMZ
from ..shared import markdown_table, timed
from .base import Bench, in_words
from .scene import heights, noise_scans, prepared

_MATRIX = {"cpu": 2048, "mps": 4096, "cuda": 8192}
_COPIED_BYTES = {"cpu": 2**27, "mps": 2**28, "cuda": 2**30}
_CHANNELS = 256
_TRIES = 5


@dataclass(frozen=True)
class Peak:
    """The best of some tries."""

    # multiplications and additions in a second: of a product of large square matrices, or of a
    # convolution of many channels. The library for the one may not know all instructions of a CPU
    # that the other's uses
    operations: float
    moved_bytes: float  # bytes read and written in a second, of a copy far larger than the caches


def peak(device: Device, dtype: torch.dtype, *, matrix: int = 0) -> Peak:
    """Measure it, in well under a minute."""
    side = matrix or _MATRIX[device.kind]
    operations = max(_product(device, dtype, side), _convolution(device, dtype, side))
    source = torch.zeros(_COPIED_BYTES[device.kind] // 4, device=device.torch)
    target = torch.ones_like(source)
    copied = _best(device, lambda: target.copy_(source))
    return Peak(operations, 2.0 * source.nbytes / copied)


def _product(device: Device, dtype: torch.dtype, side: int) -> float:
    """Operations in a second of a product of two square matrices."""
    a = torch.randn(side, side, device=device.torch).to(dtype)
    b = torch.randn(side, side, device=device.torch).to(dtype)
    as_convolutions = torch.backends.cudnn.allow_tf32
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = as_convolutions
    try:
        return 2.0 * side**3 / _best(device, lambda: torch.mm(a, b))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _convolution(device: Device, dtype: torch.dtype, side: int) -> float:
    """The same of a 3 × 3 convolution that has about as many."""
    pixels = math.ceil(math.sqrt(side**3 / 9) / _CHANNELS)
    image = torch.randn(1, _CHANNELS, pixels, pixels, device=device.torch).to(dtype)
    layer = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, bias=False).to(device.torch, dtype)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = image.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return 18.0 * (pixels * _CHANNELS) ** 2 / _best(device, lambda: layer(image))


def synchronize(device: Device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.kind == "cuda":
        torch.cuda.synchronize()
    elif device.kind == "mps":
        torch.mps.synchronize()


def _best(device: Device, call: Callable[[], object]) -> float:
    def whole() -> None:
        call()
        synchronize(device)

    whole()
    return min(timed(whole) for _ in range(_TRIES))


_HEAD = ("stage", "GFLOP", "MB", "at least", "measured", "times the least", "limited by")
_REST = "pooling, enlarging, joining"
_PARTS = {"encoder": "encoder", "recurrent": "gates", "mix": "mix", "decoder": "decoder"}


@dataclass(frozen=True)
class Stage:
    """One stage of one plane."""

    name: str
    # as in :class:`~.Work`; NaN where nothing is counted
    operations: float
    moved_bytes: float
    # seconds: what arithmetic and memory traffic take at the machine's best, whichever is more, and
    # what was measured on the plain network
    least: float
    measured: float
    limit: str  # ``arithmetic`` or ``memory``, whichever takes longer at best

    @classmethod
    def of(cls, work: Work, at_best: Peak, measured: float) -> Stage:
        """A stage from its work, the machine's best and the time it took."""
        arithmetic = work.operations / at_best.operations
        memory = work.moved_bytes / at_best.moved_bytes
        limit = "arithmetic" if arithmetic >= memory else "memory"
        least = max(arithmetic, memory)
        return cls(work.stage, work.operations, work.moved_bytes, least, measured, limit)

    @property
    def cells(self) -> tuple[str, ...]:
        """As the columns have it."""
        if not self.limit:
            return self.name, "", "", "", in_words(self.measured, "s"), "", ""
        return (
            self.name,
            f"{self.operations / 1e9:.3g}",
            f"{self.moved_bytes / 1e6:.3g}",
            in_words(self.least, "s"),
            in_words(self.measured, "s"),
            f"{self.measured / self.least:.2g}",
            self.limit,
        )


@dataclass(frozen=True)
class StageTable:
    """The stages of one plane in one precision."""

    title: str
    peak: Peak  # what the machine can do at best
    stages: tuple[Stage, ...]
    # seconds of the same plane as it is made by default on this machine, inputs included
    chosen: float

    @property
    def total(self) -> Stage:
        """All stages together; its limit is the share of the least time that is arithmetic."""
        counted = [stage for stage in self.stages if stage.limit]
        least = sum(stage.least for stage in counted)
        arithmetic = sum(stage.least for stage in counted if stage.limit == "arithmetic")
        return Stage(
            "all",
            sum(stage.operations for stage in counted),
            sum(stage.moved_bytes for stage in counted),
            least,
            sum(stage.measured for stage in self.stages),
            f"arithmetic {arithmetic / least:.0%}",
        )

    @property
    def caption(self) -> str:
        """What was measured, and the machine's best."""
        return (
            f"{self.title}. At best {self.peak.operations / 1e9:,.0f} GFLOP/s and "
            f"{self.peak.moved_bytes / 1e9:,.3g} GB/s. As chosen for this machine, the same plane "
            f"takes {in_words(self.chosen, 's')}."
        )

    def as_text(self) -> str:
        """For a terminal."""
        return f"{self.caption}\n{columns([_HEAD, *self._rows])}"

    def as_markdown(self) -> str:
        """For a page."""
        return f"{self.caption}\n\n{markdown_table(_HEAD, self._rows)}"

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [stage.cells for stage in (*self.stages, self.total)]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: what is not counted is null."""
        record = asdict(self)
        record["stages"] = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in stage.items()}
            for stage in record["stages"]
        ]
        return record

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> StageTable:
        """What :meth:`as_dict` made."""
        tables: list[dict[str, Any]] = [
            {k: math.nan if v is None else v for k, v in stage.items()} for stage in given["stages"]
        ]
        stages = tuple(Stage(**stage) for stage in tables)
        return cls(given["title"], Peak(**given["peak"]), stages, given["chosen"])


def measure(bench: Bench) -> Iterator[StageTable]:
    """The stages of the plain network: in single precision, and mixed where that pays."""
    if not isinstance(bench.model.network, RecurrentMZ):
        raise InputError(
            f"The model '{bench.model.name}' is not recurrent: only Recurrent-MZ has these stages."
        )
    chosen = prepared(bench, noise_scans(bench.sizes.scans, bench.sizes.pixels))
    for half in (False, True) if bench.device.half else (False,):
        bench.note(f"stages in {'mixed' if half else 'single'} precision")
        yield _table(bench, chosen, half)


def _table(bench: Bench, chosen: NetworkPlanes, half: bool) -> StageTable:
    sizes = bench.sizes
    z_um = heights(sizes.planes)[sizes.planes // 2]
    chosen.plane(z_um)
    network = deepcopy(bench.model.network)
    assert isinstance(network, RecurrentMZ)  # the others have been refused
    network = network.to(bench.device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
    taken = stage_seconds(
        network, chosen.inputs, z_um, bench.device, half=half, repeats=sizes.repeats
    )
    best = peak(bench.device, torch.bfloat16 if half else torch.float32)
    shape = (sizes.pixels, sizes.pixels)
    config = bench.model.network.config
    work = [
        input_work(chosen.inputs, sizes.scans),
        *network_work(config, shape, sizes.scans, value_bytes=2 if half else 4),
    ]
    rest = Stage(_REST, math.nan, math.nan, math.nan, taken[_REST], "")
    stages = [Stage.of(each, best, taken[each.stage]) for each in work]
    precision = "mixed precision" if half else "float32"
    return StageTable(
        f"One plane of {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, plain network, "
        f"{precision}",
        best,
        (*stages, rest),
        statistics.median(timed(lambda: chosen.plane(z_um)) for _ in range(sizes.repeats)),
    )


def input_work(inputs: NetworkInputs, n_scans: int) -> Work:
    """The filtered transforms of a plane's input: 2.5 P log2 P each, and 3.5 P a spectrum."""
    pixels = math.prod(inputs.linear.filter.padded)
    transforms, spectra = 1.0, float(n_scans)  # the linear estimate
    if inputs.config.propagated_input:
        transforms, spectra = transforms + n_scans, spectra + n_scans
    for fit in inputs.objects:
        if isinstance(fit, NonnegativeEstimate):
            sheets = fit.density.numel() / pixels  # coarse ones count for less
            transforms, spectra = transforms + 1, spectra + sheets
    return Work(
        "inputs",
        transforms * 2.5 * pixels * math.log2(pixels) + spectra * 3.5 * pixels,
        4.0 * pixels * (2 * transforms + spectra),
    )


def stage_seconds(
    network: RecurrentMZ,
    inputs: NetworkInputs,
    z_um: float,
    device: Device,
    *,
    half: bool,
    repeats: int,
) -> dict[str, float]:
    """Median seconds of every stage of a plane after the first, and of what is between them."""
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(repeats + 1):
        once: dict[str, float] = defaultdict(float)
        with (
            torch.inference_mode(),
            torch.autocast(device.kind, torch.bfloat16, enabled=half),
            _timed_stages(network, device, once),
        ):
            begun = time.perf_counter()
            given = inputs.at(z_um)
            synchronize(device)
            once["inputs"] = time.perf_counter() - begun
            network(*given)
            synchronize(device)
            whole = time.perf_counter() - begun
        once[_REST] = max(whole - sum(once.values()), 0.0)
        for name, seconds in once.items() if number else ():
            taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


@contextmanager
def _timed_stages(
    network: RecurrentMZ, device: Device, seconds: dict[str, float]
) -> Iterator[None]:
    """Add up what each stage takes while this lasts."""
    begun: dict[str, float] = {}

    def begin(name: str, _module: nn.Module, _given: Any) -> None:
        synchronize(device)
        begun[name] = time.perf_counter()

    def end(name: str, _module: nn.Module, _given: Any, _made: Any) -> None:
        synchronize(device)
        seconds[name] += time.perf_counter() - begun[name]

    modules: list[tuple[str, nn.Module]] = [("last", network.last)]
    for part, words in _PARTS.items():
        modules += [(f"{words} {k}", m) for k, m in enumerate(getattr(network, part), start=1)]
    with ExitStack() as hooks:
        for name, module in modules:
            hooks.enter_context(module.register_forward_pre_hook(partial(begin, name)))
            hooks.enter_context(module.register_forward_hook(partial(end, name)))
        yield
