"""What a person types is understood as a microscopist means it."""

from __future__ import annotations

import pytest

from napari_recurrent_mz.docks.shared.form import NumberEdit, parse_length_um, parse_wavelength_um


@pytest.mark.parametrize(
    ("text", "um"),
    [
        ("3.5", 3.5),
        ("3,5", 3.5),
        ("-2", -2.0),
        (" 0.2 µm ", 0.2),
        ("0.2um", 0.2),
        ("250 nm", 0.25),
        ("1 mm", 1000.0),
        ("1e-1", 0.1),
        (".5", 0.5),
        ("", None),
        ("three", None),
        ("3 px", None),
        ("1.2.3", None),
        ("nan", None),
        ("1e999", None),
    ],
)
def test_lengths(text: str, um: float | None) -> None:
    assert parse_length_um(text) == (None if um is None else pytest.approx(um))


@pytest.mark.parametrize(("text", "um"), [("519", 0.519), ("519 nm", 0.519), ("0.519", 0.519)])
def test_wavelengths_in_nm_or_um(text: str, um: float) -> None:
    assert parse_wavelength_um(text) == pytest.approx(um)


def test_a_typed_wavelength_is_rewritten_in_um_and_announced_once(qtbot) -> None:
    edit = NumberEdit("0.519", wavelength=True)
    qtbot.addWidget(edit)
    told = []
    edit.edited.connect(lambda: told.append(edit.value()))
    qtbot.keyClicks(edit, "519")
    edit.editingFinished.emit()
    edit.editingFinished.emit()
    assert edit.text() == "0.519"
    assert told == [pytest.approx(0.519)]


def test_setting_a_value_is_not_an_edit(qtbot) -> None:
    edit = NumberEdit("1.4")
    qtbot.addWidget(edit)
    told = []
    edit.edited.connect(lambda: told.append(1))
    edit.set_value(1.45)
    edit.editingFinished.emit()
    assert (edit.text(), told) == ("1.45", [])
