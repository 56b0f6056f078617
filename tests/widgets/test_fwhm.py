"""The FWHM dock: what it shows is what the functions say, on any layers, whatever happens."""

from __future__ import annotations

import csv
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Points
from napari.utils.interactions import (
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QTabBar

from napari_recurrent_mz import Optics
from napari_recurrent_mz.docks.fwhm.dock import FwhmDock
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.docks.shared.places import index_in
from napari_recurrent_mz.measure.beads import (
    PlantedBeads,
    in_words,
    kl_divergence,
    measure_beads,
    plant_beads,
    theoretical_fwhm,
)

VOXEL = (0.2, 0.1, 0.1)
OPTICS = Optics(na=1.2, wavelength_um=0.6, immersion_index=1.333, pixel_um=0.1)
_PATIENCE_MS = 120_000
PLACE = {"scale": VOXEL, "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
WIDTHS = ["fwhm_z_um", "fwhm_y_um", "fwhm_x_um"]
PLACES = ["z_um", "y_um", "x_um"]


@pytest.fixture(scope="module")
def beads() -> PlantedBeads:
    """Nine beads in a little volume."""
    shape, pitch = (24, 64, 64), (4.0, 1.8, 1.8)
    return plant_beads(shape, VOXEL, (0.8, 0.35, 0.3), 30, pitch_um=pitch, seed=3)


@pytest.fixture(scope="module")
def sharper() -> PlantedBeads:
    """The same beads, less wide."""
    shape, pitch = (24, 64, 64), (4.0, 1.8, 1.8)
    return plant_beads(shape, VOXEL, (0.7, 0.3, 0.28), 30, pitch_um=pitch, seed=3)


DOCK = FwhmDock  # that ``make`` makes


@pytest.fixture
def run(qtbot: Any) -> Callable[[FwhmDock], str]:
    """Press Measure and wait; what the dock then says."""

    def run(dock: FwhmDock) -> str:
        dock.check()
        assert dock.footer.action.isEnabled(), dock.footer.state.text()
        with qtbot.waitSignal(dock.ended, timeout=_PATIENCE_MS):
            dock.footer.action.click()
        return str(dock.footer.message.text())

    return run


def ready(make: Callable[..., FwhmDock], *layers: tuple[Any, dict[str, Any]]) -> FwhmDock:
    """A dock with a volume, and perhaps a reference, on a viewer of its own."""
    dock = make()
    choices = (dock.setup.form.volume, dock.setup.form.reference)
    for (data, about), choice in zip(layers, choices, strict=False):
        choice.value = dock._viewer.add_image(data, **about)
    return dock


@pytest.mark.parametrize("is_lazy", [False, True], ids=["memory", "lazy"])
def test_planes_from_the_top_down_are_measured_at_their_heights(
    make, run, beads, is_lazy: bool
) -> None:
    """As the reader shows a stack whose heights fall: a z scale below 0."""
    z, y, x = VOXEL
    top = z * (len(beads.volume) - 1)
    falling = beads.volume[::-1]
    pixels = dask.array.from_array(falling, chunks=(1, 64, 64)) if is_lazy else falling
    about = PLACE | {"scale": (-z, y, x), "translate": (top + 3.0, 0, 0), "name": "down"}
    dock = ready(make, (pixels, about))
    run(dock)
    rising = measure_beads(beads.volume, VOXEL, origin_um=(3, 0, 0))
    assert dock.measured is not None
    (table,) = dock.measured.tables
    assert_allclose(table[[*PLACES, *WIDTHS]], rising[[*PLACES, *WIDTHS]])
    points = dock._viewer.layers["beads of down"]
    drawn = [points.data_to_world(point) for point in points.data]
    assert_allclose(drawn, rising[PLACES])  # where the layer shows the beads
    chosen = dock._viewer.add_points(rising[PLACES].to_numpy()[:3], units=("um",) * 3)
    dock.setup.form.points.value = chosen
    run(dock)
    assert dock.measured is not None
    assert_allclose(dock.measured.tables[0][PLACES], rising[PLACES][:3], atol=0.05)


def test_what_is_shown_is_what_the_functions_say(make, run, beads, sharper, tmp_path) -> None:
    """Tables, histograms, theory, divergence, words, files; two volumes searched separately."""
    about = PLACE | {"metadata": {METADATA_KEY: {"optics": OPTICS.as_dict()}}}
    dock = ready(
        make,
        (beads.volume, about | {"name": "made", "translate": (2.0, 10.0, 0.0)}),
        (sharper.volume, about | {"name": "scan"}),
    )
    dock.setup.form.same.value = False
    said = run(dock)
    options = {"model": "gaussian3d", "threshold_snr": 5.0}
    made = measure_beads(beads.volume, VOXEL, origin_um=(2, 10, 0), **options)
    scan = measure_beads(sharper.volume, VOXEL, **options)
    assert dock.measured is not None
    for ours, theirs in zip(dock.measured.tables, (made, scan), strict=True):
        assert_allclose(ours[[*PLACES, *WIDTHS]], theirs[[*PLACES, *WIDTHS]])
        assert list(ours.reason) == list(theirs.reason)
    assert said == f"made: {in_words(made)}; scan: {in_words(scan)}."
    assert [histogram.axis for histogram in dock.histograms] == ["x", "y", "z"]
    lateral, axial = theoretical_fwhm(OPTICS)
    figure = dock.results.widths.canvas.figure
    for histogram, axes in zip(dock.histograms, figure.axes, strict=True):
        one, two = (t.loc[t.accepted, f"fwhm_{histogram.axis}_um"] for t in (made, scan))
        assert histogram.kl == pytest.approx(kl_divergence(two, one))
        words = " ".join(text.get_text() for text in axes.texts)
        theory = axial if histogram.axis == "z" else lateral
        for number in (one.mean(), one.median(), two.mean(), theory):
            assert f"{number:#.4g}" in words
        assert f"n {len(one)}" in words
        assert f"KL {histogram.kl:.3g}" in words
        assert "µm" in axes.get_xlabel()
        assert_array_equal(histogram.counts[0], np.histogram(one, histogram.edges_um)[0])
    dock.save_table(tmp_path / "beads.csv")
    with (tmp_path / "beads.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["volume"] for row in rows] == ["made"] * len(made) + ["scan"] * len(scan)
    assert float(rows[0]["FWHM z (µm)"]) == pytest.approx(made.fwhm_z_um[0], rel=1e-4)
    for ending in ("png", "svg", "pdf"):
        dock.results.widths.save(tmp_path / f"widths.{ending}")
        assert (tmp_path / f"widths.{ending}").stat().st_size > 1000
    assert dock.footer.message.text() == "Saved “widths.pdf”."


def test_beads_become_points_at_their_place(make, run, beads) -> None:
    """In the world, for a layer in nanometres, moved, with an axis of time before z."""
    about = {"scale": (1, 200, 100, 100), "translate": (0, 5000, 0, 700), "name": "moved"}
    units = {"units": ("pixel", "nm", "nm", "nm"), "axis_labels": ("t", "z", "y", "x")}
    dock = ready(make, (beads.volume[None], about | units))
    run(dock)
    table = dock.measured.tables[0]
    layer = dock._viewer.layers["beads of moved"]
    lowest = np.add(beads.centres_um.min(axis=0), (5, 0, 0.7))
    assert_allclose(table[PLACES].min(), lowest, atol=0.05)
    world = np.array([layer.data_to_world(point)[1:] for point in layer.data])
    assert_allclose(world, 1000 * table[PLACES].to_numpy())
    assert_allclose(layer.features[WIDTHS], table[WIDTHS])
    assert {"amplitude", "background", "residual", "snr", "accepted", "reason"} <= set(
        layer.features
    )
    assert list(layer.features["bead"]) == list(range(1, len(table) + 1))


def test_every_point_lies_in_its_volume(make, run) -> None:
    rng = np.random.default_rng(2)
    volume = rng.poisson(20, (24, 64, 64)) + 200 * np.exp(-np.arange(64) / 20)
    place = PLACE | {"translate": (5, 1, 2)}
    dock = ready(make, (volume.astype(np.float32), {"name": "dirty", **place}))
    dock.setup.form.snr.native.setText("3")
    dock.setup.form.snr.native.editingFinished.emit()
    run(dock)
    layer = dock._viewer.layers["beads of dirty"]
    assert len(layer.data) > 10
    assert (~layer.features["accepted"]).sum() > 5
    assert (layer.data > -1e-6).all()
    assert (layer.data < np.array(volume.shape) - 1 + 1e-6).all()


def test_saturated_beads_are_left_out_and_said_to_be(make, run, beads) -> None:
    limit = int(np.percentile(beads.volume, 99.9))
    stack = np.clip(beads.volume.round(), 0, limit).astype(np.uint16)
    dock = ready(make, (stack, {"name": "too bright", **PLACE}))
    assert " saturated" in run(dock)
    layer = dock._viewer.layers["beads of too bright"]
    is_saturated = layer.features["reason"] == "saturated"
    assert is_saturated.any()
    assert not layer.features["accepted"][is_saturated].any()


def test_a_bar_selects_its_beads_and_a_bead_shows_its_profile(make, run, beads) -> None:
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}))
    run(dock)
    table = dock.measured.tables[0]
    layer = dock._viewer.layers["beads of made"]
    histogram = dock.histograms[0]
    fullest = int(np.argmax(histogram.counts[0]))
    axes = dock.results.widths.canvas.figure.axes[0]
    middle = float(histogram.edges_um[fullest : fullest + 2].mean())
    dock._clicked_bar(SimpleNamespace(inaxes=axes, xdata=middle))
    low, high = histogram.edges_um[fullest : fullest + 2]
    expected = table.index[table.accepted & table.fwhm_x_um.between(low, high)]
    assert layer.selected_data == set(expected)
    assert len(expected) == histogram.counts[0][fullest]
    assert dock.footer.message.text().startswith(f"{len(expected)} bead")
    assert (np.flatnonzero(layer.face_color[:, 3]) == sorted(expected)).all()
    last = int(table.index[table.accepted][-1])
    layer.selected_data = {last}  # as napari does it when a person clicks
    assert dock.results.words.text().startswith(f"Bead {last + 1} of made, accepted")
    assert f"SNR {table.snr[last]:.4g}" in dock.results.words.text()
    shown = dock.results.bead.canvas.figure.axes
    assert [one.get_xlabel() for one in shown] == ["x (µm)", "y (µm)", "z (µm)"]
    peak = float(shown[0].lines[0].get_ydata().max())
    row = table.loc[last]
    assert peak == beads.volume[row.z_voxel, row.y_voxel, row.x_voxel - 3 : row.x_voxel + 4].max()
    dock.next_bead()
    assert layer.selected_data == {(last + 1) % len(table)}
    dock._key_pressed(SimpleNamespace(key="right"))
    dock._key_pressed(SimpleNamespace(key="down"))
    assert dock._chosen_bar == ("y", 0)
    dock._viewer.layers.remove(layer)
    dock.next_bead()
    dock.choose_bar("x", fullest)


def test_a_click_in_the_viewer_picks_a_bead(make, run, beads) -> None:
    """Whatever layer is active; a drag does not."""
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}))
    run(dock)
    table, viewer = dock.measured.tables[0], dock._viewer
    bead = int(table.index[table.accepted][4])
    dock.points[0].show_plane(bead)
    viewer.layers.selection.active = viewer.layers["made"]
    event = SimpleNamespace(
        type="mouse_press",
        position=tuple(table.loc[bead, PLACES]),
        view_direction=None,
        dims_displayed=[1, 2],
        handled=False,
        button=1,
        modifiers=(),
    )
    before = dock.results.words.text()
    mouse_press_callbacks(viewer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(viewer, event)
    assert dock.results.words.text() != before
    assert dock.results.words.text().startswith(f"Bead {bead + 1} of made")
    assert viewer.layers["beads of made"].selected_data == {bead}


def test_the_references_beads_are_measured_in_both(make, run, beads, sharper) -> None:
    """At their places in the world: the reference begins elsewhere and is in nanometres."""
    elsewhere = {"scale": (200, 100, 100), "units": ("nm",) * 3, "translate": (0, 700, 0)}
    dock = ready(
        make,
        (beads.volume, PLACE | {"name": "made"}),
        (sharper.volume[:, 7:], PLACE | elsewhere | {"name": "scan"}),
    )
    run(dock)
    made, scan = dock.measured.tables
    kept = scan[scan.accepted]
    assert len(made) == len(kept) > 4
    assert_allclose(made[PLACES], kept[PLACES], atol=0.06)


def test_points_mark_the_beads(make, run, beads) -> None:
    """A points layer in other units, some of it outside."""
    dock = ready(make, (beads.volume, PLACE | {"name": "made", "translate": (1.0, 0.0, 0.0)}))
    marks = 1000 * (beads.centres_um[[5, 2]] + (1.0, 0.05, 0.0))
    data = np.concatenate([marks, [[9e5, 0, 0]]])
    points = dock._viewer.add_points(data, name="marks", units=("nm",) * 3)
    dock.setup.form.points.value = points
    run(dock)
    table = dock.measured.tables[0]
    assert_allclose(table[PLACES], beads.centres_um[[5, 2]] + (1.0, 0, 0), atol=0.04)
    assert len(points.data) == 3


def test_a_plane_and_a_range(make, run, beads) -> None:
    plane = int(np.median(beads.centres_um[:, 0]) / VOXEL[0])
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}))
    dock._viewer.dims.set_point(0, plane * VOXEL[0])
    dock.setup.plane.click()
    assert dock.setup.form.z_low.value == pytest.approx(plane * VOXEL[0])
    dock._viewer.add_image(np.zeros((2, 2, 2)), units=("nm",) * 3)  # the viewer counts in nm now
    dock._viewer.dims.set_point(0, 1000 * (plane - 1) * VOXEL[0])
    dock.setup.plane.click()
    assert dock.setup.form.z_low.value == pytest.approx((plane - 1) * VOXEL[0])
    dock.setup.form.update(z_low=plane * VOXEL[0], z_high=plane * VOXEL[0])
    run(dock)
    assert set(dock.measured.tables[0].z_voxel) == {plane}
    flat = ready(make, (beads.volume[plane], {"scale": VOXEL[1:], "units": ("um",) * 2}))
    run(flat)
    table = flat.measured.tables[0]
    assert table.accepted.any()
    assert table.fwhm_z_um.isna().all()
    assert [histogram.axis for histogram in flat.histograms] == ["x", "y"]
    assert len(flat.results.bead.canvas.figure.axes) == 2


def quiet(shape: tuple[int, ...] = (16, 48, 48)) -> np.ndarray:
    return np.random.default_rng(1).normal(100, 1, shape).astype(np.float32)


def spot(*place: float) -> np.ndarray:
    """One bead in noise."""
    at = np.stack(np.meshgrid(*(np.arange(n) for n in (16, 48, 48)), indexing="ij"), axis=-1)
    return quiet() + 100 * np.exp(-(((at - place) / (2.0, 1.5, 1.5)) ** 2).sum(axis=-1) / 2)


REFUSED = {
    "RGB": ((np.zeros((16, 48, 3), np.uint8), {"rgb": True}), "is an RGB image"),
    "time": ((np.zeros((3, 4, 32, 32)), {}), "one time point"),
    "no size": ((quiet(), {}), "type the pixel size"),
    "steps in m": ((quiet(), PLACE | {"scale": (3e-7, 0.1, 0.1)}), "planes 3e-07 µm apart"),
    "mirrored": ((quiet(), PLACE | {"scale": (0.2, -0.1, 0.1)}), "turned, sheared or mirrored"),
    "rotated": ((quiet(), PLACE | {"rotate": (0, 0, 90)}), "turned, sheared or mirrored"),
    "no step": ((quiet(), {"metadata": {METADATA_KEY: {"pixel_um": 0.1}}}), "type the z-step"),
    "uneven": (
        (
            quiet((3, 32, 32)),
            {"metadata": {METADATA_KEY: {"pixel_um": 0.1, "z_um": [0.0, 1.0, 3.0]}}},
        ),
        "has planes at uneven heights: ",
    ),
}


@pytest.mark.parametrize(("layer", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_measured_is_said_at_once(make, layer, words) -> None:
    data, about = layer
    dock = ready(make, (data, about))
    dock.check()
    assert words in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()


FAILING = {
    "NaN": (
        np.where(quiet() > 103, np.nan, quiet()),
        "'it' cannot be measured. The volume has 66 pixels that are NaN",
    ),
    "constant": (np.ones((8, 32, 32)), "'it' cannot be measured. The volume is constant"),
    "small": (np.zeros((8, 9, 9)), "'it' cannot be measured. The image is only 9 × 9 pixels"),
}


@pytest.mark.parametrize(("data", "words"), FAILING.values(), ids=list(FAILING))
def test_what_fails_is_a_sentence(make, run, data, words) -> None:
    dock = ready(make, (data, PLACE | {"name": "it"}))
    assert run(dock).startswith(words)
    assert dock.footer.message.kind == "error"
    assert [layer.name for layer in dock._viewer.layers] == ["it"]


NONE_ACCEPTED = {
    "no bead": (quiet(), "No bead was found"),
    "at the border": (spot(1, 20, 20), "1 at the border"),
    "all fits fail": (
        np.pad(np.full((1, 1, 1), 4000.0), ((8, 7), (24, 23), (24, 23))) + quiet(),
        "0 of 1 bead accepted",
    ),
}


@pytest.mark.parametrize(("data", "words"), NONE_ACCEPTED.values(), ids=list(NONE_ACCEPTED))
def test_an_empty_plot_says_why(make, run, data, words) -> None:
    dock = ready(make, (data, PLACE | {"name": "it"}))
    dock.setup.form.snr.value = 8
    assert words in run(dock)
    assert dock.footer.message.kind == "warning"
    assert words in dock.results.widths.canvas.reason
    assert not dock.results.widths.save_button.isEnabled()
    assert "it" in dock._viewer.layers


def test_one_bead_is_enough(make, run) -> None:
    dock = ready(make, (spot(8, 20, 22), PLACE | {"name": "it"}))
    dock.setup.form.snr.value = 8
    assert run(dock).startswith("it: 1 of 1 bead accepted")
    assert [histogram.widths[0].n for histogram in dock.histograms] == [1, 1, 1]
    dock.next_bead()


def test_a_reference_elsewhere_is_named(make, run, beads) -> None:
    far = PLACE | {"translate": (0, 500, 0), "name": "far"}
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}), (beads.volume, far))
    assert "'made' and 'far' do not overlap" in run(dock)
    dock.setup.form.same.value = False
    assert "far: 9 of 9 beads accepted" in run(dock)
    dock.setup.form.reference.value = dock.setup.form.volume.value
    dock.check()
    assert "'made' itself" in dock.footer.state.text()


def test_points_that_mark_nothing_are_named(make, beads) -> None:
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}))
    viewer = dock._viewer
    for data, unit, words in (
        (np.empty((0, 3)), "pixel", "is empty"),
        (np.full((4, 3), 1e4), "um", "None of the 4 points"),
        (np.ones((4, 2)), "um", "two-dimensional"),
        (np.ones((4, 3)), "pixel", "'marks [3]' and layer 'made' are not both in µm, nor both in"),
    ):
        marks = viewer.add_points(data, name="marks", units=(unit,) * data.shape[1])
        dock.setup.form.points.value = marks
        dock.check()
        assert words in dock.footer.state.text()
    viewer.layers.remove(marks)  # they would be searched for without a word
    assert dock.footer.message.text() == "Layer 'marks [3]' is gone. Beads: Search for them."


def test_nothing_is_lost_when_layers_go_midway(make, qtbot, beads, monkeypatch) -> None:
    """Renamed, removed, stopped, measured again."""
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}), (beads.volume, PLACE))
    viewer = dock._viewer
    with qtbot.waitSignal(dock.ended, timeout=_PATIENCE_MS):
        dock.act()
        viewer.layers["made"].name = "other"
        del viewer.layers["other"]
    assert [layer.name for layer in viewer.layers if isinstance(layer, Points)] == ["beads of data"]
    assert "The beads of 'made', which is gone, are not marked." in dock.footer.message.text()
    assert dock.setup.form.volume.value is None
    assert dock.results.bead.canvas.drawn is not None
    again = viewer.add_image(beads.volume, **PLACE, name="again")
    dock.setup.form.volume.value = again
    dock._check_timer.stop()
    with qtbot.waitSignal(dock.ended, timeout=_PATIENCE_MS):
        dock.act()
        dock.cancel()
    assert dock.footer.message.text().startswith("Stopped")
    assert "beads of data" in viewer.layers
    assert dock.setup.isEnabled()


def test_the_reference_that_stays_alone_is_not_taken_for_the_volume(make, run, beads) -> None:
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}), (beads.volume, PLACE))
    run(dock)
    reference = dock.setup.form.reference.value
    dock._viewer.layers.remove("made")
    dock._choose_what_is_there()
    dock.check()
    assert dock.setup.form.volume.value is None
    assert dock.setup.form.reference.value is reference
    assert dock.footer.state.kind == "hint"


def test_an_rgb_image_is_not_taken_for_the_volume_unasked(make, beads) -> None:
    viewer = ViewerModel()
    rgb = viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True)
    layer = viewer.add_image(beads.volume, **PLACE)
    viewer.layers.selection = {rgb, layer}
    assert make(viewer).setup.form.volume.value is layer
    viewer.layers.remove(layer)
    assert make(viewer).setup.form.volume.value is None


def test_points_somebody_works_with_are_kept(make, run, beads) -> None:
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}))
    run(dock)
    run(dock)
    names = [layer.name for layer in dock._viewer.layers]
    assert names == ["made", "beads of made"]
    mine = dock._viewer.layers["beads of made"]
    mine.data = mine.data[:3]
    dock.setup.form.points.value = mine
    run(dock)
    assert len(mine.data) == 3
    assert len(dock._viewer.layers) == 3
    assert len(dock.measured.tables[0]) == 3


def test_settings_are_remembered(make, run, beads) -> None:
    dock = ready(make, (beads.volume, PLACE | {"name": "made"}))
    for key, value in (("separation", 1.1), ("region_xy", 0.9), ("snr", 6.0), ("bead", 0.1)):
        dock.setup.form[key].value = value
    dock.setup.form.model.value = "profiles"
    dock.setup.form.same.value = False
    run(dock)
    assert dock.measured.tables[0].attrs["model"] == "profiles"
    assert dock.measured.tables[0].attrs["region_um"][1] == 0.9
    other = make()
    assert other.setup.form.values().settings() == dock.setup.form.values().settings()
    other.setup.form.snr.native.setText("many")
    other.setup.form.volume.value = other._viewer.add_image(beads.volume, **PLACE)
    other.check()
    assert "'many' is not a number" in other.footer.state.text()


def test_a_step_is_asked_for_where_it_is_not_known(make, run, beads) -> None:
    dock = ready(make, (beads.volume, {"metadata": {METADATA_KEY: {"pixel_um": 0.1}}}))
    dock.check()
    assert not dock.setup.form.step.native.isHidden()
    dock.setup.form.step.value = 0.2
    run(dock)
    assert_allclose(dock.measured.tables[0].fwhm_z_um.mean(), 0.8, rtol=0.03)


def test_places_are_those_of_napari_one_by_one() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((4, 5, 6)), scale=(2, 0.5, 0.4), translate=(1, 0, 0))
    layer = viewer.add_points(np.eye(3), scale=(2, 3, 4), translate=(1, 2, 3), rotate=20)
    places = np.random.default_rng(0).uniform(size=(7, 3))
    expected = [image.world_to_data(layer.data_to_world(place)) for place in places]
    assert_allclose(index_in(image, layer, places), expected)


def test_in_a_real_window(make_napari_viewer, qtbot, make, run, beads) -> None:
    """From the menu's manifest; fits a small screen; a mouse on a bar; a change of theme."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    viewer.add_image(beads.volume, name="made", **PLACE)
    _, dock = viewer.window.add_plugin_dock_widget("napari-recurrent-mz", "FWHM")
    assert isinstance(dock, FwhmDock)
    assert dock.setup.form.volume.value is viewer.layers["made"]
    run(dock)
    qtbot.wait(300)
    assert dock.sizeHint().height() <= 720
    assert viewer.window._qt_window.height() <= 800
    bottom = dock.footer.action.mapTo(dock, dock.footer.action.rect().bottomLeft()).y()
    assert 0 < bottom <= dock.height()
    canvas = dock.results.widths.canvas
    canvas.draw()
    axes, histogram = canvas.figure.axes[1], dock.histograms[1]
    bar = int(np.argmax(histogram.counts[0]))
    middle = float(histogram.edges_um[bar : bar + 2].mean())
    x, y = axes.transData.transform((middle, 0.5)) / canvas.device_pixel_ratio
    place = QPoint(round(x), round(canvas.height() - y))
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=place)
    assert dock._chosen_bar == ("y", bar)
    viewer.theme = "light"
    assert canvas.figure.get_facecolor()[0] > 0.5
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()


def test_every_control_has_a_tooltip_and_a_name(make) -> None:
    dock = make()
    kinds = (QAbstractButton, QComboBox, QLineEdit)
    for kind in kinds:
        for control in dock.findChildren(kind):
            if isinstance(control.parent(), (*kinds, QTabBar)):
                continue  # a part of another control
            assert control.toolTip(), control
            named = control.accessibleName() or control.text()
            assert named, control


def test_tab_goes_through_both_pages_to_measure(make) -> None:
    dock = make()
    dock.show()
    names, widget = list[str](), dock.pages.nextInFocusChain()
    while widget is not dock.pages:
        names.append(widget.accessibleName())
        widget = widget.nextInFocusChain()
    stops = ["Volume", "Model", "Bead ⌀", "Objective", "Bead widths", "Save table…", "Measure"]
    assert [name for name in names if name in stops] == stops
