"""One plane, its preview, its equality, and a whole volume, by the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ...core.device import choose_device, cpu_flags
from ...core.scans import FloatArray
from ...estimates.lmmse import LinearEstimate
from ..shared import Goal, timed
from .base import Bench, ChildError, Row, Times, in_child, in_words, interleaved
from .scene import (
    OPTICS,
    REACH_UM,
    heights,
    modes,
    noise_scans,
    prepared,
    sample_scans,
    unprepared,
    volume_of,
)

_ISAS = {"AVX2": "avx2", "AVX512_CORE": "avx512f"}
"""Instruction sets that oneDNN may be limited to, and the flag of a CPU that has each."""

_WITH_AMX = Goal(4.0, "×", text="≥ 4 × (with AMX)")
_WITHOUT = Goal(1.3, "×", text="≥ 1.3 × (without AMX)")


@lru_cache(maxsize=1)
def measured(bench: Bench) -> dict[str, Any]:
    """Seconds of a plane by the plain network and as chosen here, and in words what that is."""
    sizes = bench.sizes
    scans = noise_scans(sizes.scans, sizes.pixels)
    z_um = heights(sizes.planes)[sizes.planes // 2]
    makers = {name: prepared(bench, scans, **how) for name, how in modes(bench).items()}
    calls = {name: partial(maker.plane, z_um) for name, maker in makers.items()}
    seconds = {name: t.seconds for name, t in interleaved(calls, sizes.repeats).items()}
    return {**seconds, "form": makers["chosen"].runner.form.words}


def measure_plane(bench: Bench) -> Iterator[Row]:
    """A plane here."""
    what = "plane", _plane_of(bench)
    if bench.on_gpu:
        yield _row(what, measured(bench), "eager mixed precision", None)
    else:
        goal = _WITH_AMX if "amx_bf16" in cpu_flags() else _WITHOUT
        yield _row(what, measured(bench), "eager float32", goal)


def measure_older(bench: Bench) -> Iterator[Row]:
    """A plane on this CPU within older instruction sets, each in a process of its own."""
    bench = replace(bench, device=choose_device("cpu"))  # also where there is a GPU
    for isa, flag in _ISAS.items():
        what = "older-cpu", f"{_plane_of(bench)}, ONEDNN_MAX_CPU_ISA={isa}"
        if flag not in cpu_flags():
            absent = f"this CPU has no {isa.partition('_')[0]}"
            yield Row(*what, ratio_goal=_WITHOUT, absent=absent)
            continue
        bench.note(f"a process limited to {isa}")
        try:
            timed = in_child(measured, bench, environment={"ONEDNN_MAX_CPU_ISA": isa})
        except ChildError as error:
            yield Row(*what, ratio_goal=_WITHOUT, absent=str(error))
        else:
            yield _row(what, timed, "eager float32, limited likewise", _WITHOUT)


def _plane_of(bench: Bench) -> str:
    sizes, processor = bench.sizes, "GPU" if bench.on_gpu else "CPU"
    return f"one plane of {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, {processor}"


def _row(what: tuple[str, str], timed: dict[str, Any], against: str, goal: Goal | None) -> Row:
    chosen, reference = Times(tuple(timed["chosen"])), Times(tuple(timed["plain"]))
    return Row.beside(what, chosen, reference, against, ratio_goal=goal, words=timed["form"])


_PREVIEW_SECONDS = Goal(4.0, "s", at_least=False)
_PREVIEW_FASTER = Goal(40.0, "×")


def measure_preview(bench: Bench) -> Iterator[Row]:
    """The first preview, from nothing: the tables, the transforms, every plane."""
    sizes = bench.sizes
    scans = noise_scans(sizes.scans, sizes.pixels)

    def preview() -> None:
        estimate = LinearEstimate(scans, OPTICS, reach_um=REACH_UM, device=bench.device.torch)
        for z in heights(sizes.planes):
            estimate.plane(z)

    first = timed(preview)
    again = Times(tuple(timed(preview) for _ in range(sizes.repeats)))
    bench.note("the network beside it")
    plane = measured(bench)
    whole = {name: sizes.planes * Times(plane[name]).median for name in ("plain", "chosen")}
    yield Row(
        "preview",
        f"linear MMSE, {sizes.planes} × {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, "
        f"from nothing ({bench.device.kind.upper()})",
        first,
        ratio=whole["plain"] / first,
        against=f"{sizes.planes} planes of the plain network: {in_words(whole['plain'], 's')}",
        goal=None if bench.on_gpu else _PREVIEW_SECONDS,  # goals of a CPU
        ratio_goal=None if bench.on_gpu else _PREVIEW_FASTER,
        words=f"once more: {again.words}; {whole['chosen'] / first:.3g} × the network as chosen",
    )


_PSNR = Goal(60.0, "dB")
_DEVIATION = Goal(1e-5, "of the range", at_least=False)


def measure_equality(bench: Bench) -> Iterator[Row]:
    """The worst of some planes: PSNR in half precision, largest deviation in single."""
    side = bench.sizes.compared
    words = f"the worst of 5 planes of {side} × {side} of a simulated sample"
    reference = _planes(bench, fast=False, half=False)
    half = zip(reference, _planes(bench, fast=True, half=True), strict=True)
    what = "fast path in half precision: PSNR to the plain network in float32"
    worst = min(psnr(a, b) for a, b in half)
    yield Row("equality", what, worst, "dB", goal=_PSNR, words=words)
    single = zip(reference, _planes(bench, fast=True, half=False), strict=True)
    what = "fast path in float32: largest deviation from the plain network"
    largest = max(deviation(a, b) for a, b in single)
    yield Row("equality", what, largest, "of the range", goal=_DEVIATION, words=words)


def psnr(truth: FloatArray, test: FloatArray) -> float:
    """Peak signal to noise over the range of ``truth``, in dB; 240 where nothing differs."""
    relative = float(np.mean((truth.astype(np.float64) - test) ** 2)) / float(np.ptp(truth)) ** 2
    return -10 * math.log10(max(relative, 1e-24))


def deviation(truth: FloatArray, test: FloatArray) -> float:
    """Largest difference, relative to the range of ``truth``."""
    return float(np.abs(truth.astype(np.float64) - test).max()) / float(np.ptp(truth))


def _planes(bench: Bench, **how: bool) -> list[FloatArray]:
    sizes = bench.sizes
    maker = prepared(bench, sample_scans(sizes.scans, sizes.compared), **how)
    return [maker.plane(z) for z in heights(5)]


_VOLUME_SECONDS = Goal(0.35, "s", at_least=False)
_VOLUME_FASTER = Goal(4.0, "×")
_FIRST = Goal(0.05, "s", at_least=False, text="≤ 50 ms on a GPU")


def measure_volume(bench: Bench) -> Iterator[Row]:
    """From scans in main memory to a volume in main memory, the model loaded."""
    sizes = bench.sizes
    what = f"{sizes.planes} × {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, from the scans"
    if not bench.on_gpu:
        yield Row(
            "volume", what, goal=_VOLUME_SECONDS, ratio_goal=_VOLUME_FASTER, absent="needs a GPU"
        )
        return
    scans, targets = noise_scans(sizes.scans, sizes.pixels), heights(sizes.planes)

    def whole(**how: bool) -> None:
        volume_of(unprepared(bench, scans, **how), targets)

    times = interleaved({n: partial(whole, **h) for n, h in modes(bench).items()}, sizes.repeats)
    makers = {name: prepared(bench, scans, **how) for name, how in modes(bench).items()}
    alone = interleaved({n: partial(volume_of, m, targets) for n, m in makers.items()},
                        sizes.repeats)  # fmt: skip
    faster = f"{alone['chosen'].ratio(alone['plain']):.3g} × eager"
    yield Row.beside(
        ("volume", what),
        times["chosen"],
        times["plain"],
        "plane by plane, eager mixed precision",
        goal=_VOLUME_SECONDS,
        ratio_goal=_VOLUME_FASTER,
        words=f"the scans prepared: {alone['chosen'].words}, {faster}",
    )


def measure_first(bench: Bench) -> Iterator[Row]:
    """What is computed between the button and the first plane, once the process is warm."""
    sizes = bench.sizes
    scans = noise_scans(sizes.scans, sizes.pixels)
    z_um = heights(sizes.planes)[sizes.planes // 2]

    def first(**how: bool) -> None:
        unprepared(bench, scans, **how).plane(z_um)

    repeats = sizes.repeats if bench.on_gpu else 1
    times = interleaved({n: partial(first, **h) for n, h in modes(bench).items()}, repeats)
    planes = prepared(bench, scans)
    planes.plane(z_um)
    alone = timed(lambda: planes.plane(z_um))
    what = f"first plane of {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, from the scans"
    yield Row.beside(
        ("first-plane", f"{what} ({bench.device.kind.upper()})"),
        times["chosen"],
        times["plain"],
        "the plain network",
        goal=_FIRST if bench.on_gpu else None,
        words=f"the plane alone: {in_words(alone, 's')}",
    )
