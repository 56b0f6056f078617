"""One plane, its preview, its equality, and a whole volume, by the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ...core.device import choose_device, cpu_flags
from ...core.scans import FloatArray, Scan
from ...estimates.lmmse import LinearEstimate
from ..shared import Goal, timed
from .base import Bench, Row, Times, in_words, interleaved
from .child import ChildError, in_child
from .scene import (
    CHOSEN,
    OPTICS,
    REACH_UM,
    Way,
    heights,
    noise_scans,
    plain,
    prepared,
    sample_scans,
    unprepared,
    volume_of,
)

# --- one plane beside the plain network -----------------------------------------------------------


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
    makers = {
        "plain": prepared(bench, scans, plain(bench)),
        "chosen": prepared(bench, scans),
    }
    times = interleaved(
        {name: partial(maker.plane, z_um) for name, maker in makers.items()},
        sizes.repeats,
    )
    seconds = {name: some.seconds for name, some in times.items()}
    return {**seconds, "form": makers["chosen"].runner.form.words}


def measure_plane(bench: Bench) -> Iterator[Row]:
    """A plane here, and on a CPU also within older instruction sets."""
    if bench.on_gpu:
        yield _row(bench, "", measured(bench), "eager mixed precision", None)
        return
    amx = "amx_bf16" in cpu_flags()
    yield _row(bench, "", measured(bench), "eager float32", _WITH_AMX if amx else _WITHOUT)


def measure_older(bench: Bench) -> Iterator[Row]:
    """A plane on this CPU within older instruction sets, each in a process of its own."""
    bench = replace(bench, device=choose_device("cpu"))  # also where there is a GPU
    for isa, flag in _ISAS.items():
        words = f", ONEDNN_MAX_CPU_ISA={isa}"
        absent = "" if flag in cpu_flags() else f"this CPU has no {isa.partition('_')[0]}"
        results = {}
        if not absent:
            bench.note(f"a process limited to {isa}")
            try:
                results = in_child(measured, bench, environment={"ONEDNN_MAX_CPU_ISA": isa})
            except ChildError as error:
                absent = str(error)
        yield _row(bench, words, results, "eager float32, limited likewise", _WITHOUT, absent)


def _row(
    bench: Bench,
    within: str,
    results: dict[str, Any],
    against: str,
    goal: Goal | None,
    absent: str = "",
) -> Row:
    sizes = bench.sizes
    what = f"one plane of {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, CPU{within}"
    if bench.on_gpu:
        what = what.replace("CPU", "GPU")
    subject = "older-cpu" if within else "plane"
    if absent:
        return Row(subject, what, ratio_goal=goal, absent=absent)
    reference, chosen = Times(tuple(results["plain"])), Times(tuple(results["chosen"]))
    return Row(
        subject,
        what,
        **chosen.spread,
        ratio=chosen.ratio(reference),
        against=f"{against}: {reference.words}",
        ratio_goal=goal,
        words=results["form"],
    )


# --- the linear MMSE preview ----------------------------------------------------------------------


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


# --- the fast path beside the plain network in single precision -----------------------------------


_PSNR = Goal(60.0, "dB")
_DEVIATION = Goal(1e-5, "of the range", at_least=False)


def measure_equality(bench: Bench) -> Iterator[Row]:
    """The worst of some planes: PSNR in half precision, largest deviation in single."""
    reference = _planes(bench, Way(fast=False, half=False))
    half = _planes(bench, Way(fast=True, half=True))
    yield Row(
        "equality",
        "fast path in half precision: PSNR to the plain network in float32",
        min(psnr(a, b) for a, b in zip(reference, half, strict=True)),
        "dB",
        goal=_PSNR,
        words=_what(bench),
    )
    single = _planes(bench, Way(fast=True, half=False))
    yield Row(
        "equality",
        "fast path in float32: largest deviation from the plain network",
        max(deviation(a, b) for a, b in zip(reference, single, strict=True)),
        "of the range",
        goal=_DEVIATION,
        words=_what(bench),
    )


def psnr(truth: FloatArray, test: FloatArray) -> float:
    """Peak signal to noise over the range of ``truth``, in dB; 240 where nothing differs."""
    relative = float(np.mean((truth.astype(np.float64) - test) ** 2)) / float(np.ptp(truth)) ** 2
    return -10 * math.log10(max(relative, 1e-24))


def deviation(truth: FloatArray, test: FloatArray) -> float:
    """Largest difference, relative to the range of ``truth``."""
    return float(np.abs(truth.astype(np.float64) - test).max()) / float(np.ptp(truth))


def _planes(bench: Bench, way: Way) -> list[FloatArray]:
    sizes = bench.sizes
    maker = prepared(bench, sample_scans(sizes.scans, sizes.compared), way)
    return [maker.plane(z) for z in heights(5)]


def _what(bench: Bench) -> str:
    side = bench.sizes.compared
    return f"the worst of 5 planes of {side} × {side} of a simulated sample"


# --- a whole volume on a GPU, and its first plane -------------------------------------------------


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
    scans = noise_scans(sizes.scans, sizes.pixels)
    ways = {"plain": plain(bench), "chosen": CHOSEN}
    times = interleaved(
        {name: partial(_whole, bench, scans, way) for name, way in ways.items()},
        sizes.repeats,
    )
    makers = {name: prepared(bench, scans, way) for name, way in ways.items()}
    targets = heights(sizes.planes)
    alone = interleaved(
        {name: partial(volume_of, maker, targets) for name, maker in makers.items()},
        sizes.repeats,
    )
    yield Row(
        "volume",
        what,
        **times["chosen"].spread,
        ratio=times["chosen"].ratio(times["plain"]),
        against=f"plane by plane, eager mixed precision: {times['plain'].words}",
        goal=_VOLUME_SECONDS,
        ratio_goal=_VOLUME_FASTER,
        words=f"the scans prepared: {alone['chosen'].words}, {_by(alone)} × eager",
    )


def measure_first(bench: Bench) -> Iterator[Row]:
    """What is computed between the button and the first plane, once the process is warm."""
    sizes = bench.sizes
    scans = noise_scans(sizes.scans, sizes.pixels)
    z_um = heights(sizes.planes)[sizes.planes // 2]
    ways = {"plain": plain(bench), "chosen": CHOSEN}
    times = interleaved(
        {name: partial(_first, bench, scans, z_um, way) for name, way in ways.items()},
        sizes.repeats if bench.on_gpu else 1,
    )
    planes = prepared(bench, scans)
    planes.plane(z_um)
    alone = interleaved({"plane": lambda: planes.plane(z_um)}, 1)["plane"].median
    yield Row(
        "first-plane",
        f"first plane of {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, from the scans "
        f"({bench.device.kind.upper()})",
        **times["chosen"].spread,
        ratio=times["chosen"].ratio(times["plain"]),
        against=f"the plain network: {times['plain'].words}",
        goal=_FIRST if bench.on_gpu else None,
        words=f"the plane alone: {in_words(alone, 's')}",
    )


def _whole(bench: Bench, scans: list[Scan], way: Way) -> None:
    volume_of(unprepared(bench, scans, way), heights(bench.sizes.planes))


def _first(bench: Bench, scans: list[Scan], z_um: float, way: Way) -> None:
    unprepared(bench, scans, way).plane(z_um)


def _by(times: dict[str, Times]) -> str:
    return f"{times['chosen'].ratio(times['plain']):.3g}"
