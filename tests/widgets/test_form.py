"""Forms that are declared: what a person sees, types, and finds again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QLocale
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.docks.compare.parts import Options
from napari_recurrent_mz.docks.fwhm.layout import BeadForm
from napari_recurrent_mz.docks.prepare.pages import Align, Edf, Register
from napari_recurrent_mz.docks.shared import settings as _settings
from napari_recurrent_mz.docks.shared.form import DataForm, as_named, asked
from napari_recurrent_mz.docks.shared.layer_choice import is_image
from napari_recurrent_mz.docks.shared.optics_panel import OpticsFields
from napari_recurrent_mz.docks.side_views.form import SideViews
from napari_recurrent_mz.docks.train.dock import Result


@dataclass(frozen=True)
class Asked:
    """One field of every kind."""

    stored: ClassVar = as_named("step crop minutes part path") | {"how": "kind"}
    layer: Any = asked("Stack", "Which stack", nothing="Choose", layers=is_image)
    step: float | None = asked("z-step µm", "In µm", example="0.2")
    pixel: float | None = asked(
        "pixel size", "In µm", 0.1, label="x µm", example="0.1", beside=True
    )
    wave: float | None = asked("wavelength", "Light", unit="µm", is_wavelength=True)
    how: str = asked("How", "What is shown", "mean", choices={"max": "Max", "mean": "Mean"})
    crop: bool = asked("Crop", "To what all show", True, text="Crop it")
    minutes: int = asked("Time", "How long", 60, unit="min", limits=(1, 90, 1))
    part: float = asked("Part", "How much", 0.5, limits=(0, 20, 0.1))
    path: str = asked("Save as", "The file", "", example="a.tif", heading="Result")


@pytest.fixture
def form(qtbot: Any) -> DataForm[Asked]:
    made = DataForm(Asked, ViewerModel(), "test")
    qtbot.addWidget(made.native)
    made.native.show()
    return made


def type_in(form: DataForm[Asked], name: str, text: str) -> None:
    form[name].native.setText(text)
    form[name].native.editingFinished.emit()


def test_defaults_are_the_dataclass(form) -> None:
    assert form.values() == Asked()


def test_every_field_says_what_it_is(form) -> None:
    for name, ask in form.asks.items():
        assert form[name].native.accessibleName() == ask.spoken
        assert form[name].native.toolTip() == ask.tooltip
    assert form.crop.native.text() == "Crop it"
    assert form.step.native.placeholderText() == "e.g. 0.2"
    assert form.path.native.placeholderText() == "a.tif"
    labels = {label.buddy(): label.text() for label in form.native.findChildren(QLabel)}
    assert labels[form.step.native] == "z-step µm"
    assert labels[form.minutes.native] == "Time"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("step", "200 nm", 0.2),
        ("step", "0,25", 0.25),
        ("step", "", None),
        ("wave", "519", 0.519),
        ("wave", "519 nm", 0.519),
    ],
)
def test_lengths_as_a_person_types_them(form, qtbot, name, text, value) -> None:
    type_in(form, name, "3")
    with qtbot.waitSignal(form.changed):
        type_in(form, name, text)
    found = getattr(form.values(), name)
    assert found == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize("language", ["en_US", "de_DE", "fr_FR"])
@pytest.mark.parametrize("text", ["1.5", "1,5"])
def test_a_comma_and_a_point_are_one_mark_in_every_language(qtbot, language, text) -> None:
    before = QLocale()
    QLocale.setDefault(QLocale(language))
    try:
        form = DataForm(Asked, ViewerModel())
    finally:
        QLocale.setDefault(before)
    qtbot.addWidget(form.native)
    form.native.show()
    form.part.native.selectAll()
    qtbot.keyClicks(form.part.native, text)
    assert form.values().part == 1.5
    assert form.part.native.text() == "1.5"


def test_what_is_no_number_is_named_where_it_is_seen(form) -> None:
    type_in(form, "step", "many")
    with pytest.raises(InputError, match=r"The z-step 'many' is not a number: type one in µm"):
        form.values()
    form.show_fields("step", False)
    assert form.values().step is None


def test_a_field_goes_with_its_label_and_unit(form) -> None:
    hidden = {label for label in form.native.findChildren(QLabel) if label.isVisible()}
    form.show_fields("wave", False)
    hidden -= {label for label in form.native.findChildren(QLabel) if label.isVisible()}
    assert {label.text() for label in hidden} == {"wavelength", "µm"}
    assert not form.wave.native.isVisible()
    form.show_fields("wave", True)
    assert form.wave.native.isVisible()


def test_the_tabulator_goes_as_one_reads(form, qtbot) -> None:
    browse, under = QPushButton("…"), QWidget()
    first, second = QPushButton("1"), QPushButton("2")
    column = QVBoxLayout(under)
    for button in (first, second):
        column.addWidget(button)
    form.put_under("pixel", under)
    form.put_beside("path", browse)
    expected = [form[name].native for name in form.asks]
    expected = [*expected[:3], first, second, *expected[3:], browse]
    seen, now = [], expected[0]
    for _ in range(40):
        if now in expected and now not in seen:
            seen.append(now)
        now = now.nextInFocusChain()
    assert seen == expected


def test_layers_that_come_and_go(qtbot) -> None:
    viewer = ViewerModel()
    form = DataForm(Asked, viewer)
    qtbot.addWidget(form.native)
    image = viewer.add_image(np.zeros((4, 4)), name="late")
    with qtbot.waitSignal(form.changed):
        form.layer.value = image
    assert form.values().layer is image
    with qtbot.waitSignal(form.changed):
        viewer.layers.remove(image)
    assert form.values().layer is None


def test_what_is_to_be_remembered_is_found_again(form, qtbot) -> None:
    told = {"step": 0.3, "how": "max", "crop": False, "minutes": 7, "part": 1.5, "path": "b"}
    form.update(pixel=9.0, **told)
    form.remember()
    again = DataForm(Asked, ViewerModel(), "test")
    qtbot.addWidget(again.native)
    assert again.values() == Asked(**told)  # the pixel size is not


def test_what_no_longer_fits_is_left(qtbot) -> None:
    _settings.remember(
        "test", {"kind": "sum", "minutes": "1000", "part": "nan", "step": "x", "crop": "0"}
    )
    form = DataForm(Asked, ViewerModel(), "test")
    qtbot.addWidget(form.native)
    type_in(form, "step", "")
    assert form.values() == Asked(crop=False)


STORED: dict[tuple[type[Any], str], dict[str, str]] = {
    (BeadForm, "fwhm"): {
        "separation": "1.2", "snr": "6", "region_xy": "0.9", "region_z": "2.5", "bead": "0.1",
        "model": "profiles", "same": "0",
    },
    (Align, "prepare"): {
        "align_motion": "affine", "align_to": "mean", "align_sharp": "0", "align_crop": "1",
    },
    (Edf, "prepare"): {"edf_heights": "1"},
    (Register, "prepare"): {"register_motion": "rigid", "register_crop": "1"},
    (Options, "compare"): {"fit": "1"},
    (Result, "train"): {"minutes": "25"},
    (OpticsFields, "optics"): {
        "objective": "60×/1.2 water", "na": "1.2", "immersion_index": "1.333",
        "wavelength_um": "0.519", "pixel_um": "0.103",
    },
    (SideViews, "side_views"): {
        "how": "sum", "through": "slab", "thickness": "3.5", "contrast": "shared",
        "saturated": "1.5", "marks": "arrows", "width": "85", "follow": "0", "axes": "0",
        "bar": "0", "cross": "1", "show_xy": "0", "show_xz": "0", "show_yz": "0",
    },
}  # fmt: skip


@pytest.mark.parametrize(("form", "group"), STORED, ids=lambda what: getattr(what, "__name__", ""))
def test_what_was_remembered_before_is_still_read(qtbot, form, group) -> None:
    """The keys and texts of earlier versions: all of them, and none is lost when stored again."""
    texts = STORED[form, group]
    _settings.remember(group, texts)
    before, made = DataForm(form, ViewerModel()), DataForm(form, ViewerModel(), group)
    assert sorted(form.stored.values()) == sorted(texts)
    for name in form.stored:
        assert getattr(made.read(), name) != getattr(before.read(), name)
    _settings.remember(group, dict.fromkeys(texts, ""))
    made.remember()
    assert {name: _settings.remembered(group, name) for name in texts} == texts
