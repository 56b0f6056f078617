"""Side views: projections against NumPy's own, in micrometres, and what is read for them."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
import zarr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.measure.plots import PRINT, style
from napari_recurrent_mz.measure.plots.side_views import (
    Look,
    Panel,
    contrast,
    side_views_figure,
    side_views_size_mm,
)
from napari_recurrent_mz.measure.projections import VIEWS, Slab, iter_side_views, side_views

VOXEL = (0.5, 0.2, 0.1)


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 10, (7, 11, 13)).astype(np.float32)


@pytest.mark.parametrize("how", ["max", "mean", "sum"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, bool])
def test_everything_is_numpys_own_projection(volume, how, dtype) -> None:
    data = (volume * 3).astype(dtype)
    views = side_views(data, VOXEL, how=how)
    for axis, view in enumerate(VIEWS):
        expected = getattr(data, how)(axis=axis)
        np.testing.assert_allclose(views[view], expected, rtol=1e-4, atol=1e-4)
    if how == "max":
        assert views.xy.dtype == (np.uint8 if dtype is bool else dtype)


def test_extents_are_the_outer_edges_of_the_voxels(volume) -> None:
    views = side_views(volume, VOXEL, origin_um=(2, 10, -1))
    assert views.z_um == pytest.approx((1.75, 5.25))
    assert views.y_um == pytest.approx((9.9, 12.1))
    assert views.x_um == pytest.approx((-1.05, 0.25))
    assert views.through_um == (views.z_um, views.y_um, views.x_um)
    assert views.depth == (7, 11, 13)


@pytest.mark.parametrize(
    ("centre", "thickness", "z", "y", "x"),
    [
        ((1.0, 1.0, 0.6), 0.0, (2, 3), (5, 6), (6, 7)),  # one voxel: the one at the point
        ((1.1, 1.05, 0.64), 0.0, (2, 3), (5, 6), (6, 7)),  # between centres: the nearest
        ((1.0, 1.0, 0.6), 1.0, (1, 4), (3, 8), (1, 12)),  # ± 0.5 µm, ends included
        ((0.0, 0.0, 0.0), 1.0, (0, 2), (0, 3), (0, 6)),  # reaches beyond the border
        ((-0.24, -0.09, 1.24), 0.0, (0, 1), (0, 1), (12, 13)),  # within the outermost voxels
        ((-9.0, 1.0, 0.6), 40.0, (0, 7), (0, 11), (0, 13)),  # middle outside, slab inside
    ],
)
def test_a_slab_is_looked_through(volume, centre, thickness, z, y, x) -> None:
    views = side_views(volume, VOXEL, slab=Slab(*centre, thickness_um=thickness))
    np.testing.assert_array_equal(views.xy, volume[slice(*z)].max(axis=0))
    np.testing.assert_array_equal(views.xz, volume[:, slice(*y)].max(axis=1))
    np.testing.assert_array_equal(views.yz, volume[:, :, slice(*x)].max(axis=2))
    assert views.depth == (z[1] - z[0], y[1] - y[0], x[1] - x[0])
    assert views.through_um[0] == pytest.approx(((z[0] - 0.5) * 0.5, (z[1] - 0.5) * 0.5))


def test_an_axis_that_runs_backwards_is_turned_round(volume) -> None:
    forwards = side_views(volume, VOXEL, slab=Slab(1, 1, 0.6, 0.6))
    turned = volume[::-1, :, ::-1]
    backwards = side_views(
        turned, (-0.5, 0.2, -0.1), origin_um=(3.0, 0, 1.2), slab=Slab(1, 1, 0.6, 0.6)
    )
    for view in VIEWS:
        np.testing.assert_array_equal(backwards[view], forwards[view])
    assert backwards.z_um == pytest.approx(forwards.z_um)
    assert backwards.x_um == pytest.approx(forwards.x_um)


class Counting:
    """An array that keeps account of what is read from it."""

    def __init__(self, data: np.ndarray, chunks: Any = None) -> None:
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.chunks = chunks
        self.times = np.zeros(data.shape, int)
        self.largest = 0

    def __getitem__(self, index: Any) -> np.ndarray:
        self.times[index] += 1
        read = self.data[index]
        self.largest = max(self.largest, read.nbytes)
        return read


@pytest.mark.parametrize("chunks", [None, (1, 11, 13), (3, 4, 5), (7, 11, 13)])
@pytest.mark.parametrize("block_bytes", [1, 300, 10**9])
def test_every_voxel_is_read_once_in_blocks_of_bounded_size(volume, chunks, block_bytes) -> None:
    counted = Counting(volume, chunks)
    steps = iter_side_views(counted, VOXEL, block_bytes=block_bytes)
    done = list(steps)
    assert (counted.times == 1).all()
    chunk = np.prod(chunks or (1, 1, 13)) * 4
    assert counted.largest <= max(chunk, block_bytes)
    assert [number for number, _ in done] == list(range(1, done[-1][1] + 1))


def test_only_what_a_slab_needs_is_read(volume) -> None:
    counted = Counting(volume, (1, 4, 4))
    list(iter_side_views(counted, VOXEL, slab=Slab(1.0, 1.0, 0.6, 0.0), block_bytes=1))
    assert counted.times.max() == 1
    needed = np.zeros(volume.shape, bool)
    needed[2], needed[:, 5], needed[:, :, 6] = True, True, True
    assert counted.times[needed].all()
    # A chunk that meets one view only is read no deeper than the slab.
    assert counted.times[0, 5, 0] == 1
    assert counted.times[0, 4, 0] == 0
    assert counted.times[0, 0, 0] == 0


def counted_dask(data: np.ndarray, chunks: Any) -> tuple[Any, list[tuple[int, ...]]]:
    """A dask array each of whose chunks notes when it is computed."""
    reads: list[tuple[int, ...]] = []

    def read(block_info: Any = None) -> np.ndarray:
        place = block_info[None]["array-location"]
        reads.append(tuple(low for low, _ in place))
        return data[tuple(slice(*ends) for ends in place)]

    lazy = dask.array.map_blocks(
        read, chunks=dask.array.core.normalize_chunks(chunks, data.shape), dtype=data.dtype,
        meta=np.empty((0, 0, 0), data.dtype),
    )  # fmt: skip
    return lazy, reads


@pytest.mark.parametrize("chunks", [(1, 11, 13), (2, 5, 6), ((3, 1, 3), (11,), (6, 7))])
def test_a_dask_array_computes_each_chunk_once(volume, chunks) -> None:
    lazy, reads = counted_dask(volume, chunks)
    reads.clear()
    views = side_views(lazy, VOXEL)
    assert len(reads) == len(set(reads)) == lazy.npartitions
    for axis, view in enumerate(VIEWS):
        np.testing.assert_array_equal(views[view], volume.max(axis=axis))


def test_a_dask_array_is_not_computed_beyond_the_block_at_work(volume) -> None:
    lazy, reads = counted_dask(volume, (1, 11, 13))
    reads.clear()
    steps = iter_side_views(lazy, VOXEL, block_bytes=2 * volume[0].nbytes)
    assert next(steps) == (1, 4)
    steps.close()
    assert sorted(reads) == [(0, 0, 0), (1, 0, 0)]


def test_a_zarr_array_is_read_where_it_lies(volume, tmp_path) -> None:
    stored = zarr.create_array(
        str(tmp_path / "v.zarr"), shape=volume.shape, chunks=(2, 4, 5), dtype=volume.dtype
    )
    stored[:] = volume
    views = side_views(stored, VOXEL, how="mean")
    np.testing.assert_allclose(views.yz, volume.mean(axis=2), rtol=1e-5, atol=1e-5)


def broken(value: float) -> np.ndarray:
    data = np.ones((5, 6, 7), np.float32)
    data[3, 2, 1] = value
    return data


@pytest.mark.parametrize(
    ("volume", "options", "sentence"),
    [
        (np.ones((6, 7)), {}, r"needs? a volume \(z, y, x\)"),
        (np.ones((2, 3, 6, 7)), {}, "needs? a volume"),
        (np.ones((0, 6, 7)), {}, "with voxels in it"),
        (np.ones((5, 6, 7), complex), {}, "complex128: give real intensities"),
        (broken(np.nan), {}, "worm has voxels that are NaN .* first in plane 3"),
        (broken(np.inf), {}, "first in plane 3"),
        (broken(-np.inf), {}, "first in plane 3"),
        (np.ones((5, 6, 7)), {"voxel_um": (0.5, 0, 1)}, "voxel size of layer worm .* none of them"),
        (np.ones((5, 6, 7)), {"voxel_um": (0.5, 1)}, "along z, y and x"),
        (np.ones((5, 6, 7)), {"origin_um": (0, 0, np.nan)}, "origin"),
        (
            np.ones((5, 6, 7)),
            {"how": "median"},
            "'median' is unknown: choose one of max, mean, sum",
        ),
        (
            np.ones((5, 6, 7)),
            {"slab": Slab(2, 40, 3, 2)},
            "slab at y = 40 µm, 2 µm thick, does not meet layer worm, whose y runs from -0.5 to",
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence(volume, options, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        side_views(volume, **({"voxel_um": (1, 1, 1), "name": "Layer worm"} | options))


@pytest.mark.parametrize("numbers", [(0, 0, np.inf, 1), (0, 0, 0, -1), (0, 0, 0, np.nan)])
def test_a_slab_that_is_none(numbers) -> None:
    with pytest.raises(InputError, match="slab"):
        Slab(*numbers)


def test_contrast_is_that_of_the_percentiles(volume) -> None:
    views = side_views(volume, VOXEL)
    pixels = np.concatenate([views[view].ravel() for view in VIEWS])
    (limits,) = contrast([views], saturated_percent=10)
    assert limits == (pytest.approx(tuple(np.percentile(pixels, (5, 95)))),) * 3


def test_shared_contrast_holds_for_both_and_separate_for_each(volume) -> None:
    dim, bright = side_views(volume, VOXEL), side_views(5 * volume, VOXEL)
    separate = contrast([dim, bright], shared=False)
    assert separate[1] == pytest.approx(np.multiply(separate[0], 5))
    shared = contrast([dim, bright], shared=True)
    assert shared[0] == shared[1]
    assert shared[0][0] == (separate[1][0][0] if separate[1][0][0] < separate[0][0][0] else
                            separate[0][0][0], separate[1][0][1])  # fmt: skip


def test_sums_have_limits_of_their_own_in_every_view(volume) -> None:
    (limits,) = contrast([side_views(volume + 100, VOXEL, how="sum")])
    assert limits[2][0] > limits[0][1]  # 13 voxels deep against 7


@pytest.mark.parametrize("how", ["max", "mean", "sum"])
def test_a_constant_volume_is_known_for_it(volume, how) -> None:
    views = side_views(np.full((4, 5, 6), 7, np.uint16), VOXEL, how=how)
    assert views.is_constant
    assert not side_views(volume, VOXEL, how=how).is_constant
    for low, high in contrast([views])[0]:
        assert low < high


def test_contrast_of_few_bright_pixels_reaches_them() -> None:
    data = np.zeros((20, 20, 20))
    data[5, 5, 5] = 3.0
    assert contrast([side_views(data, VOXEL)], saturated_percent=50)[0][0] == (0.0, 3.0)


def test_saturating_everything_is_refused(volume) -> None:
    with pytest.raises(InputError, match="100 %"):
        contrast([side_views(volume, VOXEL)], saturated_percent=100)


# the figure -----------------------------------------------------------------------------
def drawn(panels: list[Panel], look: Look, width_mm: float, height_mm: float) -> Figure:
    """A figure as it is saved, drawn."""
    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")
    FigureCanvasAgg(figure)
    side_views_figure(panels, look)(figure, PRINT)
    style(figure, PRINT)
    figure.canvas.draw()
    return figure


def um_per_inch(axes: Any) -> tuple[float, float]:
    """Across and down."""
    box = axes.get_window_extent()
    dpi = axes.figure.dpi
    across, down = (abs(b - a) for a, b in (axes.get_xlim(), axes.get_ylim()))
    return across / (box.width / dpi), down / (box.height / dpi)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "shown", [("xy", "xz", "yz"), ("xy", "yz"), ("xy", "xz"), ("xz", "yz"), ("yz",), ("xy",)]
)
@pytest.mark.parametrize("size_mm", [None, (85, 130)])
def test_lengths_are_true_on_one_scale_and_nothing_overlaps(volume, count, shown, size_mm) -> None:
    panels = [
        Panel(f"volume {n}", side_views(volume, VOXEL, origin_um=(n, 0, n / 2)))
        for n in range(count)
    ]
    look = Look(views=shown, scans_um=(1.0, 3.0), point_um=(1, 1, 1))
    figure = drawn(panels, look, *(size_mm or side_views_size_mm(panels, look, 180)))
    all_axes = figure.get_axes()
    assert len(all_axes) == count * len(shown)
    scales = np.array([um_per_inch(axes) for axes in all_axes])
    np.testing.assert_allclose(scales, scales[0, 0], rtol=1e-6)
    boxes = [axes.get_window_extent() for axes in all_axes]
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
    for text in figure.texts:  # a title runs into no image
        title = text.get_window_extent()
        assert not any(title.overlaps(box) for box in boxes)


def test_side_views_lie_where_they_touch_x_y(volume) -> None:
    figure = drawn([Panel("one", side_views(volume, VOXEL))], Look(), 85, 85)
    xy, xz, zy = (
        next(axes for axes in figure.get_axes() if axes.get_gid() == gid)
        for gid in ("xy-0", "xz-0", "zy-0")
    )
    assert xz.get_xlim() == xy.get_xlim()
    assert xz.get_window_extent().x0 == pytest.approx(xy.get_window_extent().x0)
    assert xz.get_window_extent().y1 < xy.get_window_extent().y0
    assert zy.get_ylim() == xy.get_ylim()
    assert zy.get_window_extent().y0 == pytest.approx(xy.get_window_extent().y0)
    np.testing.assert_array_equal(zy.get_images()[0].get_array(), volume.max(axis=2).T)


def test_a_scale_bar_is_as_long_as_it_says(volume) -> None:
    views = side_views(volume, (0.5, 3.0, 3.0))
    figure = drawn([Panel("one", views)], Look(), 85, 85)
    axes = next(axes for axes in figure.get_axes() if axes.get_gid() == "xy-0")
    (said,) = (text.get_text() for text in axes.texts)
    ends = axes.get_lines()[-1].get_xdata()
    assert said == f"{abs(ends[1] - ends[0]):g} µm"


def test_a_figure_fills_the_width_that_it_was_measured_for(volume) -> None:
    panels = [Panel("one", side_views(volume, VOXEL)), Panel("two", side_views(volume, VOXEL))]
    width, height = side_views_size_mm(panels, Look(), 180)
    assert width == 180
    right = max(axes.get_window_extent().x1 for axes in
                drawn(panels, Look(), width, height).get_axes())  # fmt: skip
    assert right == pytest.approx(180 / 25.4 * 100, abs=12)
    tall = [Panel("tall", side_views(volume, (0.2, 5, 0.1)))]
    assert side_views_size_mm(tall, Look(), 180)[1] == 230  # a page


def test_a_volume_without_views_says_why_beside_the_others(volume) -> None:
    panels = [Panel("one", side_views(volume, VOXEL)), Panel("two", reason="It is constant.")]
    figure = drawn(panels, Look(), 180, 90)
    assert "It is constant." in [text.get_text().replace("\n", " ") for text in figure.texts]
    with pytest.raises(InputError, match="None of the volumes"):
        drawn(panels[1:], Look(), 180, 90)


@pytest.mark.parametrize("wrong", [{"views": ()}, {"views": ("zz",)}, {"marks": "dots"}])
def test_a_look_that_is_none(wrong) -> None:
    with pytest.raises(InputError):
        Look(**wrong)
