"""Row 1: an image in one window, in several, and as a whole (``tests/test_tiles.py``)."""

from __future__ import annotations

from reliability._tests import module

WHAT = "shapes, tall and wide, by every network: one window, several, and the whole image"
GOAL = "at most 1e-5 of the range apart, in single precision"


def measure(quick: bool) -> tuple[str, bool]:
    """Make a plane of each shape in all three ways."""
    test_tiles = module("test_tiles")

    networks = test_tiles.every_network()
    made = [test_tiles.in_one_and_in_many(n, networks) for n in range(24 if quick else 156)]
    worst = max(max(one, many) for one, many, _ in made)
    cut = sum(is_cut for *_, is_cut in made)
    figure = f"{worst:.1e} at most, over {len(made)} shapes, of which {cut} in several windows"
    return figure, worst <= 1e-5 and cut > len(made) / 3
