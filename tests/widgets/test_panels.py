"""The parts of the dock on their own: table, optics, grid, planes of a stack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_recurrent_mz.core.device import gpu_memory_limit, limit_gpu_memory
from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.progress import expected_in_words, time_in_words
from napari_recurrent_mz.core.scans import InputError, ZGrid, nice_step
from napari_recurrent_mz.docks.shared import guard as _guard
from napari_recurrent_mz.docks.shared import (
    method_panel as _method_panel,
)
from napari_recurrent_mz.docks.shared import (
    settings as _settings,
)
from napari_recurrent_mz.docks.shared.form import faint
from napari_recurrent_mz.docks.shared.grid_panel import GridPanel
from napari_recurrent_mz.docks.shared.method_panel import MethodPanel
from napari_recurrent_mz.docks.shared.optics_panel import OBJECTIVES, OpticsPanel
from napari_recurrent_mz.docks.shared.parts import MessageLabel, Palette
from napari_recurrent_mz.docks.shared.scan_source import (
    StackPanel,
    parse_planes,
    planes_every,
    spread_planes,
)
from napari_recurrent_mz.docks.shared.scan_table import HEIGHT, PLANE, USE, ScanTable, rows_of
from napari_recurrent_mz.networks import weights

BACKGROUND, TOOLTIP = Qt.ItemDataRole.BackgroundRole, Qt.ItemDataRole.ToolTipRole


@pytest.fixture
def layer() -> Image:
    data = np.random.default_rng(0).normal(size=(10, 16, 16))
    return Image(data, name="stack", scale=(0.5, 0.1, 0.1), units=("um",) * 3)


@pytest.fixture
def table(qtbot, layer) -> ScanTable:
    table = ScanTable(Palette("dark"))
    qtbot.addWidget(table)
    table.scans.add(rows_of(layer, [6, 2]))
    return table


def cell(table: ScanTable, row: int, column: int, role=Qt.ItemDataRole.DisplayRole):
    return table.scans.data(table.scans.index(row, column), role)


def test_rows_stand_by_height(table) -> None:
    assert [[cell(table, r, c) for c in (PLANE, HEIGHT)] for r in (0, 1)] == [
        ["2", "1"],
        ["6", "3"],
    ]
    assert cell(table, 0, HEIGHT, BACKGROUND) is None


def test_the_same_plane_is_added_once(table, layer) -> None:
    table.scans.add(rows_of(layer, [2, 3]))
    assert [row.plane for row in table.scans.rows] == [2, 3, 6]


def test_to_look_at_a_height_in_an_editor_does_not_round_it(table) -> None:
    model = table.scans
    model.setData(model.index(0, HEIGHT), "5003.12345")
    assert cell(table, 0, HEIGHT) == "5003.12"
    text = cell(table, 0, HEIGHT, Qt.ItemDataRole.EditRole)
    assert float(text) == 5003.12345


def test_doubles_are_marked_on_both_rows_until_one_is_unticked(table) -> None:
    model = table.scans
    assert model.setData(model.index(0, HEIGHT), "3.0 µm")
    for row in (0, 1):
        assert cell(table, row, HEIGHT, BACKGROUND).alpha() > 0
        assert "at this height too" in cell(table, row, HEIGHT, TOOLTIP)
        assert cell(table, row, HEIGHT) == "⚠ 3"
    role = Qt.ItemDataRole.CheckStateRole
    assert model.setData(model.index(1, USE), Qt.CheckState.Unchecked.value, role)
    assert cell(table, 0, HEIGHT, BACKGROUND) is None
    assert [row.plane for row in model.used()] == [2]


def test_a_missing_height_is_marked_and_can_be_typed(table) -> None:
    model = table.scans
    assert model.setData(model.index(0, HEIGHT), "")
    assert cell(table, 0, HEIGHT) == "⚠ type z"
    assert "not known" in cell(table, 0, HEIGHT, TOOLTIP)
    assert not model.setData(model.index(0, HEIGHT), "high up")
    assert model.setData(model.index(0, HEIGHT), "750 nm")
    assert model.rows[0].z_um == pytest.approx(0.75)


def test_another_plane_brings_its_own_height(table) -> None:
    model = table.scans
    assert model.setData(model.index(0, PLANE), "9")
    assert model.rows[0].z_um == pytest.approx(4.5)
    assert not model.setData(model.index(0, PLANE), "10")
    assert not model.setData(model.index(0, PLANE), "-1")


def test_keys_tick_and_delete(qtbot, table) -> None:
    table.selectRow(0)
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert [row.use for row in table.scans.rows] == [False, True]
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert [row.plane for row in table.scans.rows] == [6]


@pytest.mark.parametrize(
    ("wanted", "nice"),
    [(0.201, 0.2), (0.46, 0.5), (0.13, 0.1), (0.23, 0.25), (3.6, 5.0), (0.95, 1.0), (6.9, 5.0)],
)
def test_steps_are_round_numbers(wanted, nice) -> None:
    assert nice_step(wanted) == pytest.approx(nice)


def test_a_typed_grid_stays_until_auto_is_pressed(qtbot) -> None:
    panel = GridPanel()
    qtbot.addWidget(panel)
    panel.follow([2, 8], 0.4)
    assert panel.grid() == ZGrid(2, 8, 0.2)
    panel.stop.setText("7")
    panel.stop.editingFinished.emit()
    panel.follow([1, 9], 0.4)
    assert panel.grid() == ZGrid(2, 7, 0.2)
    panel.auto.click()
    panel.follow([1, 9], 0.4)
    assert panel.grid() == ZGrid(1, 9, 0.2)


def test_the_grid_is_not_rounded_to_what_is_shown(qtbot) -> None:
    panel = GridPanel()
    qtbot.addWidget(panel)
    scans = [5003.12345, 5006.24691, 5012.49383]
    panel.follow(scans, 0.402)
    assert panel.start.text() == "5003.12"
    z_um = panel.grid().z_um
    assert z_um[[0, -1]] == pytest.approx([scans[0], scans[-1]], abs=1e-6)
    assert abs(z_um - scans[1]).min() < 1e-3


def test_without_a_grid_that_follows_the_scans_it_says_why_and_shows_none(qtbot) -> None:
    panel = GridPanel()
    qtbot.addWidget(panel)
    panel.follow([2, 8], 0.4)
    panel.follow([2000, 8000], 0.4)
    assert panel.step.text() == ""
    with pytest.raises(InputError, match="6000 µm apart"):
        panel.grid()
    panel.follow([2, 8], 0.4)
    assert panel.grid() == ZGrid(2, 8, 0.2)


def test_an_empty_grid_field_is_named(qtbot) -> None:
    panel = GridPanel()
    qtbot.addWidget(panel)
    with pytest.raises(InputError, match="follow the scans \\(Auto\\): add two or more"):
        panel.grid()
    panel.auto.setChecked(False)
    with pytest.raises(InputError, match="start of the target grid is missing"):
        panel.grid()
    panel.start.setText("low")
    with pytest.raises(InputError, match="start of the target grid 'low' is not a number"):
        panel.grid()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "less than a second"), (8.4, "8 s"), (180, "3 min"), (7200, "2.0 h")],
)
def test_durations_in_words(seconds, words) -> None:
    assert time_in_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "least", "words"),
    [
        (0.4, 0.1, "less than a second"),
        (8.4, None, "about 8 s"),
        (8.4, 7, "about 8 s"),
        (8.4, 0.2, "up to 8 s"),
        (40, 5, "5 to 40 s"),
        (600, 50, "50 s to 10 min"),
    ],
)
def test_expected_times_in_words(seconds, least, words) -> None:
    assert expected_in_words(seconds, least) == words


def test_a_preset_sets_na_and_index(qtbot) -> None:
    panel = OpticsPanel()
    qtbot.addWidget(panel)
    water = next(i for i, o in enumerate(OBJECTIVES) if o.name == "40×/1.2 water")
    panel.preset.activated.emit(water + 1)
    assert (panel.fields["na"].value(), panel.fields["immersion_index"].value()) == (1.2, 1.333)
    assert panel.preset.currentText() == "40×/1.2 water"
    panel.fields["na"].setText("1.1")
    panel.fields["na"].editingFinished.emit()
    assert panel.preset.currentText().startswith("Choose")


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_presets_are_what_their_names_say(objective) -> None:
    assert f"/{objective.na:g} " in objective.name
    media = {"air": 1.0, "water": 1.333, "silicone": 1.406, "oil": 1.515}
    assert objective.immersion_index == media[objective.name.split()[-1]]
    assert objective.na < objective.immersion_index


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("na", "", "NA"),
        ("na", "big", "'big' is not a number"),
        ("na", "1.6", "refractive index"),
        ("wavelength_um", "5", "outside 0.2 to 2"),
        ("pixel_um", "", "pixel size is missing"),
    ],
)
def test_optics_mistakes_are_named(qtbot, field, text, words) -> None:
    panel = OpticsPanel()
    qtbot.addWidget(panel)
    panel.set_values(
        {"na": 1.4, "wavelength_um": 0.5, "immersion_index": 1.515, "pixel_um": 0.1}, "from here"
    )
    panel.fields[field].setText(text)
    with pytest.raises(InputError, match=words):
        panel.optics()


@pytest.mark.parametrize(
    ("na", "index", "shown"),
    [
        (1.4, 1.515, "Choose, or type below"),  # 60×, 63× or 100×
        (0.95, 1.0, "40×/0.95 air"),
        (1.1, 1.333, "Choose, or type below"),
    ],
)
def test_an_objective_is_not_guessed(qtbot, na, index, shown) -> None:
    panel = OpticsPanel()
    qtbot.addWidget(panel)
    panel.set_values({"na": na, "immersion_index": index}, "from here")
    assert panel.preset.currentText() == shown


def test_all_missing_optics_are_named_at_once(qtbot) -> None:
    panel = OpticsPanel()
    qtbot.addWidget(panel)
    panel.set_values({"pixel_um": 0.1}, "from here")
    words = "NA, emission wavelength and refractive index are missing: start with the objective"
    with pytest.raises(InputError, match=words):
        panel.optics()
    panel.set_values({"na": 1.4}, "from here")
    with pytest.raises(InputError, match="wavelength and refractive index are missing: type what"):
        panel.optics()


def test_optics_that_a_person_set_are_remembered(qtbot, own_settings) -> None:
    first = OpticsPanel()
    qtbot.addWidget(first)
    first.follow({1: {"pixel_um": 0.13}})  # the next image states its own, or it is asked for
    qtbot.keyClicks(first.fields["na"], "0.75\r")
    qtbot.keyClicks(first.fields["wavelength_um"], "0.6\r")
    first.remember()
    again = OpticsPanel()
    qtbot.addWidget(again)
    assert (again.fields["na"].value(), again.fields["wavelength_um"].value()) == (0.75, 0.6)
    assert again.fields["pixel_um"].value() is None
    assert "as last used" in again.note.text()
    again.follow({1: {"na": 1.2, "pixel_um": 0.13}})  # what it does not say is to be checked
    assert again.fields["na"].value() == 1.2
    assert [name for name, edit in again.fields.items() if edit.is_old] == ["wavelength_um"]
    assert list(own_settings.rglob("*.ini"))


@pytest.mark.parametrize("text", ["nan", "1.4.", "none", "[1.4]", "1e999", "@Variant"])
def test_what_was_remembered_and_is_no_number_is_asked_for_again(qtbot, text: str) -> None:
    _settings.remember("optics", {"na": text, "wavelength_um": "0.6"})
    panel = OpticsPanel()
    qtbot.addWidget(panel)
    assert panel.fields["na"].text() == ""
    assert panel.fields["wavelength_um"].value() == 0.6


def test_the_objective_is_remembered(qtbot) -> None:
    first = OpticsPanel()
    qtbot.addWidget(first)
    first.set_values({"na": 1.4, "immersion_index": 1.515}, "from here", "63×/1.4 oil")
    first.remember()
    again = OpticsPanel()
    qtbot.addWidget(again)
    assert again.preset.currentText() == "63×/1.4 oil"
    again.set_values({"na": 1.3}, "from the image")
    assert again.preset.currentText() == "40×/1.3 oil"


def test_an_image_that_says_its_optics_does_not_take_the_objective_away(qtbot) -> None:
    """An image that says only the NA keeps the pair, which is of one objective."""
    water, air = {"na": 1.2, "immersion_index": 1.333}, {"na": 0.95, "immersion_index": 1.0}
    for values, source in (
        (water, "typed"),
        (air, "from the image"),
        ({"na": 0.95}, "from the image"),
    ):
        panel = OpticsPanel()
        qtbot.addWidget(panel)
        panel.set_values(values, source)
        panel.remember()
    again = OpticsPanel()
    qtbot.addWidget(again)
    assert {name: again.fields[name].value() for name in water} == water


@pytest.mark.parametrize(
    ("count", "planes"), [(104, [17, 52, 86]), (9, [1, 4, 7]), (3, [0, 1, 2]), (2, [0, 1])]
)
def test_suggested_planes_lie_in_the_middles_of_thirds(count, planes) -> None:
    assert spread_planes(count) == planes


@pytest.mark.parametrize("count", range(4, 140, 9))
def test_suggested_planes_leave_no_gap_that_is_warned_of(count) -> None:
    optics = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.333, pixel_um=0.5)
    planes = spread_planes(count, optics, 0.5)
    gap_dof = 0.5 * max(np.diff(planes)) / (1.333 * 0.455 / 1.2**2)
    assert gap_dof <= 10 or len(planes) == 9
    fewer_um = 0.5 * (count / max(len(planes) - 1, 1) + 1)
    assert len(planes) == 3 or fewer_um > 4.2  # no more than it takes


@pytest.mark.parametrize(
    ("text", "planes"), [("14, 52 90", [14, 52, 90]), ("3;1;3", [1, 3]), ("0", [0])]
)
def test_plane_lists(text, planes) -> None:
    assert parse_planes(text, 104) == planes


@pytest.mark.parametrize("text", ["", "104", "-1", "2.5", "ten"])
def test_plane_lists_that_cannot_be(text) -> None:
    with pytest.raises(InputError, match="0 to 103"):
        parse_planes(text, 104)


def test_a_plane_every_so_many_micrometres() -> None:
    heights = 2 + 0.5 * np.arange(10)
    assert planes_every(heights, 1.6) == [0, 3, 6]
    assert planes_every(heights[::-1], 2.0) == [1, 5, 9]
    with pytest.raises(InputError, match="more than 0"):
        planes_every(heights, 0)


def test_a_typed_z_step_gives_heights_to_a_stack_without(qtbot) -> None:
    layer = Image(np.zeros((10, 16, 16)), name="bare")
    panel = StackPanel()
    qtbot.addWidget(panel)
    panel.set_stacks([layer])
    panel.how.setCurrentIndex(0)
    panel.spacing.set_value(1.0)
    with pytest.raises(InputError, match="z-step of this stack is not known"):
        panel.rows()
    panel.step.set_value(0.25)
    assert [(row.plane, row.z_um) for row in panel.rows()] == [(0, 0.0), (4, 1.0), (8, 2.0)]


@pytest.mark.parametrize("field", ["planes", "step", "spacing"])
def test_return_uses_the_planes(qtbot, field) -> None:
    panel = StackPanel()
    qtbot.addWidget(panel)
    panel.set_stacks([layer := Image(np.zeros((10, 16, 16)), name="bare")])
    panel.step.set_value(0.25)
    with qtbot.waitSignal(panel.chosen, timeout=1000) as blocker:
        getattr(panel, field).returnPressed.emit()
    assert blocker.args[0] is layer
    assert [row.z_um for row in blocker.args[1]] == [0.25, 1.25, 2.0]


@pytest.fixture
def methods(qtbot, quick_survey) -> MethodPanel:
    panel = MethodPanel()
    qtbot.addWidget(panel)
    qtbot.waitUntil(lambda: panel.model is not None)
    return panel


def test_devices_and_models_are_named(methods) -> None:
    assert methods.devices.currentText() == "Auto, CPU: test"
    assert [methods.models.itemText(i) for i in (0, 1)] == ["tiny", "Other file…"]
    methods.set_method("linear")
    assert not methods.models.isEnabled()
    assert not methods.devices.isEnabled()
    methods.set_method("lmmse")
    assert not methods.models.isEnabled()
    assert methods.devices.isEnabled()


def test_the_model_stays_when_no_other_file_is_chosen(qtbot, methods, monkeypatch) -> None:
    methods.models.insertItem(1, "plus", "plus")
    methods.models.setCurrentIndex(1)
    methods.models.activated.emit(1)
    monkeypatch.setattr(_method_panel.QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    methods.models.setCurrentIndex(2)
    methods.models.activated.emit(2)
    assert methods.model_name() == "plus"


def test_a_file_that_is_no_model_is_told_and_left(qtbot, methods, monkeypatch, tmp_path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_text("no weights")
    bundled = methods.model
    real = weights.load_model
    monkeypatch.setattr(
        _method_panel, "model_named", lambda name: real(name) if name == str(path) else bundled
    )
    told: list[str] = []
    monkeypatch.setattr(_guard, "show_error", told.append)  # there is no dock to tell it
    methods.open_model(str(path))
    qtbot.waitUntil(lambda: bool(told))
    assert "'mine.safetensors' is not a Recurrent-MZ weights file" in told[0]
    assert (methods.models.currentText(), methods.model_name()) == ("tiny", "tiny")


def test_method_and_device_are_remembered(qtbot, methods, quick_survey) -> None:
    methods.set_method("lmmse")
    methods.set_device("cpu")
    methods.remember()
    again = MethodPanel()
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: again.model is not None)
    assert (again.method_key(), again.device_choice()) == ("lmmse", "cpu")


def test_models_that_the_system_refuses_to_look_at_take_no_other_away(
    qtbot, quick_survey, tmp_path
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.touch()
    _settings.remember("models", {"own": f"/{'x' * 300}/lost.safetensors\n{mine}\n\0"})
    panel = MethodPanel()
    qtbot.addWidget(panel)
    qtbot.waitUntil(lambda: panel.is_ready)
    shown = [panel.models.itemText(number) for number in range(panel.models.count())]
    assert shown == ["tiny", "mine.safetensors", "Other file…"]


def test_the_memory_of_a_gpu_is_asked_for_where_one_is_chosen(qtbot, with_gpu) -> None:
    panel = MethodPanel()
    qtbot.addWidget(panel)
    assert not panel.memory.isVisibleTo(panel)  # nobody knows yet
    qtbot.waitUntil(lambda: panel.model is not None)
    panel.set_method("lmmse")
    seen = []
    for choice in ("auto", "cpu", "cuda"):
        panel.set_device(choice)
        seen.append((panel.memory.isVisibleTo(panel), panel.memory.isEnabled()))
    assert seen == [(True, True), (False, True), (True, True)]
    assert panel.memory.text() == "All that is free"
    panel.set_method("linear")
    assert not panel.memory.isEnabled()


def test_a_computer_without_a_gpu_is_not_asked_for_its_memory(methods) -> None:
    assert not methods.memory.isVisibleTo(methods)
    methods.memory.setValue(0.2)  # too little, but for nothing
    assert methods.device_choice() == "auto"


def test_a_limit_is_in_force_in_every_dock_and_the_next_time(qtbot, with_gpu) -> None:
    first, second = (MethodPanel(), MethodPanel())
    for panel in (first, second):
        qtbot.addWidget(panel)
    qtbot.waitUntil(lambda: first.model is not None and second.model is not None)
    first.memory.setValue(4.5)
    assert gpu_memory_limit() == 4.5
    assert second.memory.text() == "4.5 GB"
    limit_gpu_memory(None)  # napari is started again
    _method_panel.gpu_memory.cache_clear()
    again = MethodPanel()
    qtbot.addWidget(again)
    assert (again.memory.value(), gpu_memory_limit()) == (4.5, 4.5)
    again.memory.setValue(0)
    assert gpu_memory_limit() is None


def test_too_little_memory_is_one_sentence(qtbot, with_gpu, methods) -> None:
    qtbot.waitUntil(methods.is_on_gpu)
    methods.memory.setValue(0.2)
    with pytest.raises(InputError, match=r"^0.2 GB .* at least 0.5, or 0 for all that is free\.$"):
        methods.device_choice()
    methods.memory.setValue(0.5)
    assert methods.device_choice() == "auto"


def test_a_limit_given_at_the_start_counts_until_another_is_set(qtbot, with_gpu) -> None:
    _settings.remember("gpu", {"memory_gb": "8"})
    limit_gpu_memory(2.0)
    panel = MethodPanel()
    qtbot.addWidget(panel)
    assert (panel.memory.text(), gpu_memory_limit()) == ("2 GB, as given at start", 2.0)
    panel.memory.setValue(3.0)
    assert gpu_memory_limit() == 3.0
    panel.memory.setValue(0.0)
    assert gpu_memory_limit() == 2.0


def test_a_step_that_meets_the_scans_is_shown_in_three_digits_and_used_in_full(qtbot) -> None:
    panel = GridPanel()
    qtbot.addWidget(panel)
    panel.follow([0.0, 0.725], 0.13)
    assert panel.step.text() == f"{panel.grid().step_um:.3g}"
    assert panel.grid().stop_um == pytest.approx(0.725)


def test_a_proposed_grid_leaves_auto_on_and_a_typed_one_stays(qtbot) -> None:
    panel = GridPanel()
    qtbot.addWidget(panel)
    panel.propose(ZGrid(0, 10, 0.5))
    assert panel.auto.isChecked()
    _settings.remember("live", {"start": "1", "stop": "2", "step": "0.5"})
    panel = GridPanel("live")
    qtbot.addWidget(panel)
    assert not panel.auto.isChecked()
    panel.propose(ZGrid(0, 10, 0.5))
    assert panel.grid() == ZGrid(1, 2, 0.5)


def _said(text: str) -> QLabel:
    label = MessageLabel(Palette("dark"))
    label.say(text)
    return label


def test_of_a_long_message_the_rest_is_seen_on_demand(qtbot: QtBot) -> None:
    sentences = [f"⚠ Warning <{n}>: {'word ' * 40}at the end of {n}." for n in range(3)]
    label = MessageLabel(Palette("dark"))
    qtbot.addWidget(label)
    label.resize(340, 100)
    label.say("\n".join(sentences), "warning")
    label.show()
    line = label.fontMetrics().lineSpacing()
    assert label.heightForWidth(340) < 5.5 * line
    assert label.text() == label.accessibleName() == "\n".join(sentences)
    for number in range(3):  # a line of each
        assert f"Warning &lt;{number}&gt;:" in QLabel.text(label)
    label.linkActivated.emit("more")
    shown = QLabel.text(label).replace("<br>", "")
    assert all(f"at the end of {number}." in shown for number in range(3))
    opened = label.heightForWidth(340)
    assert opened > 10 * line
    label.say(label.text(), "warning")  # said again, it stays open
    assert label.heightForWidth(340) == opened
    label.linkActivated.emit("less")
    assert label.heightForWidth(340) < 5.5 * line
    label.say("In <one> line.")
    assert QLabel.text(label) == "In <one> line."
    assert label.heightForWidth(340) < 2.5 * line


@pytest.mark.parametrize("make", [faint, _said])
@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("Another scan changes about 5.8 %: go on.", "Another scan changes about 5.8_%: go on."),
        ("At 3 µm, within 2 min and 5 s.", "At 3_µm, within 2_min and 5_s."),
        ("7 MB of memory · about 17 s", "7_MB of memory · about 17_s"),
        ("4 scans of 7 planes, 12 GB (30 %), 1.5 h", "4 scans of 7 planes, 12_GB (30_%), 1.5_h"),
        ("3 models, 2 seconds, % of all", "3 models, 2 seconds, % of all"),
    ],
)
def test_no_line_ends_between_a_number_and_its_unit(
    qtbot: QtBot, make: Callable[[str], QLabel], sentence: str, shown: str
) -> None:
    label = make(sentence)
    qtbot.addWidget(label)
    assert QLabel.text(label) == shown.replace("_", "\N{NO-BREAK SPACE}")
    assert label.text() == sentence
