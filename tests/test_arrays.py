"""Arrays of every kind at everything public: right, or refused in one sentence.

``python tests/arrays.py`` tries every kind at every entry; here each kind meets a few of them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import arrays
from napari_recurrent_mz import Optics, Scan, ZGrid
from napari_recurrent_mz.core.arrays import Planes, real_array
from napari_recurrent_mz.core.scans import InputError

QUICK = ("reconstruct auto", "reconstruct recurrent", "reconstruct richardson", "align", "register",
         "compare", "evaluate", "measure_beads", "Session", "Place")  # fmt: skip
FAST = [entry for entry in arrays.ENTRIES if not any(slow in entry.name for slow in QUICK)]


@pytest.mark.parametrize("kind", arrays.KINDS, ids=[kind.name for kind in arrays.KINDS])
def test_an_array_of_any_kind_is_taken_or_refused_in_one_sentence(kind: arrays.Kind) -> None:
    number = arrays.KINDS.index(kind)
    chosen = np.random.default_rng(number).choice(len(FAST), 4, replace=False)
    for entry in [arrays.IMAGES[0], *(FAST[place] for place in chosen)]:
        came, told = arrays.outcome(entry, kind)
        assert came in (*arrays.GOOD, "none such"), (entry.name, told)


@pytest.mark.parametrize("name", [slow.split()[0] for slow in QUICK[3:]])
def test_slow_entries_meet_what_they_did_not_expect(name: str) -> None:
    entry = next(entry for entry in arrays.ENTRIES if entry.name.startswith(name))
    kinds = {kind.name: kind for kind in arrays.KINDS}
    for kind in ("tensor with gradient", "masked array", "ragged list", "broken"):
        came, told = arrays.outcome(entry, kinds[kind])
        assert came in (*arrays.GOOD, "none such"), (kind, told)


@pytest.mark.parametrize("kind", ["no axes", "a number"])
def test_a_volume_of_beads_has_axes(kind: str) -> None:
    entry = next(entry for entry in arrays.ENTRIES if entry.name == "measure_volumes")
    assert (
        arrays.outcome(entry, next(one for one in arrays.KINDS if one.name == kind))[0] == "refused"
    )


def test_a_transposed_image_makes_the_same_volume() -> None:
    """The order in which an image lies in memory once changed what the network makes of it."""
    entry = next(e for e in arrays.ENTRIES if e.name == "planes, reconstruct recurrent-mz")
    kind = next(kind for kind in arrays.KINDS if kind.name == "Fortran order")
    assert arrays.outcome(entry, kind) == ("right", "")


def test_what_a_library_raises_while_an_array_is_read_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^'a' cannot be read .*the camera is gone"):
        real_array(arrays.Broken(arrays.STACK), "'a'")
    planes = Planes(arrays._fails_in_the_middle(arrays.STACK), "'b'")
    np.testing.assert_array_equal(planes[3], arrays.STACK[3])  # nothing else is read
    with pytest.raises(InputError, match=r"^Plane 4 of 'b' cannot be read .*0\.4\.0 is corrupt"):
        planes[4]


def test_single_precision_that_cannot_hold_an_image_is_told() -> None:
    image = arrays.STACK[4].astype(np.float64)
    with pytest.raises(InputError, match="which single precision cannot hold: subtract one"):
        Scan(image + 1e8, 0.0)
    np.testing.assert_allclose(Scan(image + 1000.0, 0.0).pixels, image + 1000, rtol=1e-7)


NO_LENGTHS = (None, "0.1", "a", math.nan, math.inf, -math.inf, 1j, [0.1], [0.1, 0.2], {}, object())


@pytest.mark.parametrize("value", NO_LENGTHS, ids=map(str, range(len(NO_LENGTHS))))
def test_what_is_no_length_is_refused(value: object) -> None:
    good = arrays.STACK[4]
    for made in (
        lambda: Scan(good, value),  # type: ignore[arg-type]
        lambda: ZGrid(0, 1, value),  # type: ignore[arg-type]
        lambda: ZGrid(value, 1, 0.1),  # type: ignore[arg-type]
        lambda: Optics(value, 0.5, 1.5, 0.1),  # type: ignore[arg-type]
        lambda: Optics(1.4, 0.5, 1.5, value),  # type: ignore[arg-type]
        lambda: arrays.preparation.Place(arrays.HEIGHTS, value),  # type: ignore[arg-type]
        lambda: arrays.comparison.Volume("a", arrays.STACK, arrays.HEIGHTS, value),  # type: ignore[arg-type]
        lambda: arrays.beads.measure_beads(arrays.STACK, value),  # type: ignore[arg-type]
        lambda: arrays.side_views(arrays.STACK, (1.0, 0.2, value)),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError):
            made()
