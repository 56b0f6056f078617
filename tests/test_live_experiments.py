"""The experiments behind the Live dock's defaults: rules, thresholds, and what is counted."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from napari_recurrent_mz import Optics
from napari_recurrent_mz.core.metrics import EPSILON
from napari_recurrent_mz.lab.experiments.lab import QUICK, HeldOutStack, Lab
from napari_recurrent_mz.lab.experiments.next_scan import (
    NEXT_SCAN,
    STOPPING,
    against_equal,
    contrast,
    relative_error,
    simulated,
    steps,
    stopped_at,
)


@pytest.fixture(scope="module")
def held() -> HeldOutStack:
    """A small stack whose planes differ."""
    rng = np.random.default_rng(0)
    truth = (100 + 50 * rng.random((9, 40, 40))).astype(np.float32)
    optics = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.33, pixel_um=0.1)
    return HeldOutStack(truth, truth, np.arange(9) * 0.5, optics)


@pytest.mark.parametrize("rule", ["expected-error", "largest-gap", "spread", "equal", "random"])
def test_every_rule_takes_one_more_plane_each_time(held: HeldOutStack, rule: str) -> None:
    taken = list(steps(held, rule, 5, np.random.default_rng(1)))
    assert [len(set(step.planes)) for step in taken] == [1, 2, 3, 4, 5]
    for before, after in pairwise(taken):
        assert rule == "equal" or after.planes[:-1] == before.planes
    last = taken[-1]
    for plane in last.planes:  # what was scanned is known
        np.testing.assert_array_equal(last.volume[plane], held.seen[plane])
    assert relative_error(held, last.volume, 100.0) < relative_error(held, taken[0].volume, 100.0)
    assert relative_error(held, held.truth, 100.0) == 0
    assert last.next_change > 0


def test_errors_are_parts_of_the_volume(held: HeldOutStack) -> None:
    dimmer = 100 + 0.9 * (held.truth - 100)
    assert relative_error(held, dimmer, 100.0) == pytest.approx(0.1, rel=1e-4)
    flat = np.full((2, 4, 4), 110.0, np.float32)
    flat[:, ::2] = 90.0
    assert contrast(flat, 60.0) == pytest.approx(10 / np.sqrt((50**2 + 30**2) / 2), rel=1e-5)


def table() -> pd.DataFrame:
    """Two samples, of which the second never changes little."""
    rows = []
    for sample, changes in (("a", [0.5, 0.01, 0.06, 0.02]), ("b", [0.5, 0.4, 0.3, 0.3])):
        for scans, change in enumerate(changes, start=2):
            error = {2: 0.5, 3: 0.4, 4: 0.21, 5: 0.2}[scans]
            rows.append({"sample": sample, "number": 1, "scans": scans, "error": error,
                         "change": change, "ahead": 0.5 / scans**2})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("counted", "epsilon", "scans"),
    [("change", 0.05, [3, 5]), ("ahead", 0.04, [4, 4]), ("both", 0.07, [3, 5]),
     ("both", 0.05, [5, 5])],
)  # fmt: skip
def test_where_samples_stop(counted: str, epsilon: float, scans: list[int]) -> None:
    found = stopped_at(table(), epsilon, counted)
    assert list(found.scans) == scans
    best = [{3: 0.2, 4: 0.01, 5: 0.0}[n] for n in scans]
    np.testing.assert_allclose(found.excess, best, atol=1e-9)
    assert list(found.stopped) == [True, counted == "ahead"]


def test_rules_are_compared_sample_by_sample() -> None:
    rows = [
        {"sample": s, "number": 1, "scans": 4, "rule": rule, "error": size * part}
        for s, size in (("dense", 1.0), ("sparse", 0.1))
        for rule, part in (("equal", 1.0), ("random", 1.21))
    ]
    found = against_equal(pd.DataFrame(rows))
    assert found.loc["equal", 4] == pytest.approx(0.0)
    assert found.loc["random", 4] == pytest.approx(0.21)


def test_each_sample_comes_also_upside_down() -> None:
    lab = Lab(replace(QUICK, size=32))
    (about, first), (turned, second) = (
        next_one for next_one, _ in zip(simulated(lab), "ab", strict=False)
    )
    assert about["sample"] == turned["sample"]
    assert about["number"] == -turned["number"]
    np.testing.assert_array_equal(first.truth, second.truth[::-1])
    np.testing.assert_array_equal(first.z_um, second.z_um)


def test_the_lines_of_the_page() -> None:
    lines = STOPPING.outcomes(table())
    default = [line for line in lines if line.goal is not None]
    assert len(default) == 1
    assert default[0].what.startswith(f"ε = {100 * EPSILON:g} %, both, the default")
    assert NEXT_SCAN.name == "next-scan"
