"""One plane by the network: as chosen for this machine, beside the plain network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from ...core.device import choose_device, cpu_flags
from ..shared import Goal
from .base import Bench, Row, Times, interleaved
from .child import ChildError, in_child
from .scene import heights, noise_scans, plain, prepared

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


def measure(bench: Bench) -> Iterator[Row]:
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
