"""What the Side views dock asks: volumes, projection, slab, and how the figure looks."""

from __future__ import annotations

import re
from typing import Any, get_args

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from ..plots.side_views import MARKS, Marks
from ..projections import VIEWS, How, Slab, ViewName
from ..scans import InputError
from . import _settings
from ._fields import NumberEdit
from ._guard import on
from ._layer_choice import LayerChoice
from ._parts import heading

GROUP = "side_views"
_HOW_WORDS = {"max": "Maximum", "mean": "Mean", "sum": "Sum"}
_CONTRASTS = {
    "separate": "Each its own",
    "shared": "Shared by all",
    "viewer": "As in the viewer",
}
_WIDTHS = {"85": "1 column, 85 mm", "120": "1½ columns, 120 mm", "180": "2 columns, 180 mm"}
_THICKNESS_UM = 2.0
_NUMBER_WIDTH = 64


class SideViewsForm(QWidget):
    """All controls of the dock.

    ``changed`` follows whatever a person changes; ``moved`` a position that was typed.
    """

    changed = Signal()
    moved = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layers = _layer_choices(viewer)
        self._make_projection()
        self._make_figure()
        for box in (self.follow, self.axes, self.bar, *self.views.values()):
            box.setChecked(True)
        self.paper.setCurrentIndex(2)
        self._lay_out()
        self._restore()
        self._connect()
        self.show_voxel(False)
        self._enable()

    def _make_projection(self) -> None:
        self.voxel = tuple(
            NumberEdit(f"Size of a voxel along {axis}", f"{what} in µm: the layer does not say", eg)
            for axis, what, eg in (
                ("z", "Distance between planes", "0.2"),
                ("x and y", "Size of a pixel", "0.1"),
            )
        )
        self.how = _combo(
            "Projection", "What a pixel shows of the voxels behind it", _HOW_WORDS.items()
        )
        self.through = _combo(
            "Look through",
            "The whole volume, or a slab of it around the position",
            (("all", "everything"), ("slab", "a slab of")),
        )
        self.thickness = NumberEdit(
            "Thickness of the slab", "In µm, around the position; 0 is one layer of voxels", "2"
        )
        self.thickness.set_value(_THICKNESS_UM)
        self.thickness.setMaximumWidth(_NUMBER_WIDTH)
        self.position = tuple(
            NumberEdit(
                f"Position {axis}",
                f"{axis} in µm: the middle of the slab, and where the cross lines meet",
                axis,
            )
            for axis in "zyx"
        )
        self.follow = _check(
            "Follow the viewer",
            "z follows the slider; y and x a click on the canvas, or the cursor with Shift held. "
            "A click on a side view moves the slider.",
        )

    def _make_figure(self) -> None:
        self.views = {
            view: _check(f"{view[0]}–{view[1]}", f"Show the {view[0]}–{view[1]} projection")
            for view in VIEWS
        }
        self.contrast = _combo(
            "Contrast",
            "One pair of display limits for all volumes, their own for each, or those of the "
            "layers in the viewer with their gamma",
            _CONTRASTS.items(),
        )
        self.saturated = _saturated()
        self.heights = QLineEdit()
        self.heights.setAccessibleName("Heights of the scans")
        self.heights.setPlaceholderText("none known")
        self.heights.setToolTip(
            "Heights to mark, in µm, with commas between; left empty, those that the volume was "
            "reconstructed from"
        )
        self.marks = _combo(
            "Marks", "How heights are marked", [(mark, mark.capitalize()) for mark in MARKS]
        )
        self.axes = _check("Axes", "Axes in µm, and what is shown under every name")
        self.bar = _check("Scale bar", "A bar of a round length on every volume")
        self.cross = _check("Cross lines", "Lines through the position")
        self.paper = _combo("Paper width", "How wide a saved figure is", _WIDTHS.items())

    # what is chosen -------------------------------------------------------------------
    @property
    def chosen(self) -> list[Any]:
        """The chosen layers, each once."""
        found: list[Any] = []
        for choice in self.layers:
            layer = choice.layer()
            if layer is not None and all(layer is not other for other in found):
                found.append(layer)
        return found

    @property
    def projection(self) -> How:
        """``max``, ``mean`` or ``sum``."""
        how: How = self.how.currentData()
        return how

    @property
    def contrast_kind(self) -> str:
        """``shared``, ``separate`` or ``viewer``."""
        return str(self.contrast.currentData())

    @property
    def shown(self) -> tuple[ViewName, ...]:
        """The views that are ticked."""
        return tuple(view for view in VIEWS if self.views[view].isChecked())

    @property
    def mark(self) -> Marks:
        """How heights are marked."""
        mark: Marks = self.marks.currentData()
        assert mark in get_args(Marks)
        return mark

    @property
    def slab_is_chosen(self) -> bool:
        """Whether only a slab is looked through."""
        return bool(self.through.currentData() == "slab")

    @property
    def width_mm(self) -> float:
        """Of a saved figure."""
        return float(self.paper.currentData())

    def point_um(self) -> tuple[float, float, float] | None:
        """The position (z, y, x), or None while a number is missing."""
        z, y, x = (field.value() for field in self.position)
        return None if z is None or y is None or x is None else (z, y, x)

    @property
    def has_no_point(self) -> bool:
        """Whether nothing is known of a position yet."""
        return not any(field.text() for field in self.position)

    def slab(self) -> Slab | None:
        """The slab to look through; None is everything.

        Raises
        ------
        InputError
            If its thickness or its position is missing.
        """
        if not self.slab_is_chosen:
            return None
        thickness, point = self.thickness.value(), self.point_um()
        if thickness is None:
            raise InputError("The slab has no thickness: type it in µm, or look at everything.")
        if point is None:
            raise InputError("The position is incomplete: type z, y and x in µm.")
        return Slab(*point, thickness_um=thickness)

    def heights_um(self) -> tuple[float, ...] | None:
        """The heights that were typed; None when nothing was.

        Raises
        ------
        InputError
            If they are no numbers.
        """
        text = self.heights.text().replace("µm", " ").strip()
        if not text:
            return None
        try:
            return tuple(sorted(float(word) for word in re.split(r"[,;\s]+", text.strip(",; "))))
        except ValueError:
            raise InputError(
                f"The heights '{text}' are not numbers: type them in µm, as in 3, 6, 9."
            ) from None

    def voxel_um(self) -> tuple[float, float, float] | None:
        """The size of a voxel that was typed for layers that do not say theirs."""
        step, pixel = (field.value() for field in self.voxel)
        return (step, pixel, pixel) if step and pixel and step > 0 and pixel > 0 else None

    # what is shown --------------------------------------------------------------------
    def set_point(self, point_um: tuple[float, ...]) -> None:
        """Show a position; nobody is told."""
        for field, value in zip(self.position, point_um, strict=True):
            field.set_value(round(value, 4))

    def show_voxel(self, is_needed: bool) -> None:
        """Ask for the size of a voxel, where a chosen layer does not say it."""
        self._voxel_row.setVisible(is_needed)

    def suggest_heights(self, heights_um: tuple[float, ...]) -> None:
        """Show what heights are marked when none is typed."""
        words = ", ".join(f"{z:.4g}" for z in heights_um)
        self.heights.setPlaceholderText(words or "none known")

    def settings(self) -> dict[str, str]:
        """What is remembered, as texts."""
        found = {name: str(combo.currentData()) for name, combo in self._combos().items()}
        found |= {name: str(int(box.isChecked())) for name, box in self._boxes().items()}
        found["saturated"] = f"{self.saturated.value():g}"
        found["thickness"] = self.thickness.text()
        return found

    def _restore(self) -> None:
        combos, boxes = self._combos(), self._boxes()
        found = _settings.remembered(GROUP, (*combos, *boxes, "saturated", "thickness"))
        for name, combo in combos.items():
            number = combo.findData(found.get(name))
            combo.setCurrentIndex(number if number >= 0 else combo.currentIndex())
        for name, box in boxes.items():
            box.setChecked(found.get(name, str(int(box.isChecked()))) == "1")
        if re.fullmatch(r"\d+(\.\d+)?", found.get("saturated", "")):
            self.saturated.setValue(float(found["saturated"]))
        if "thickness" in found:
            self.thickness.setText(found["thickness"])

    def _combos(self) -> dict[str, QComboBox]:
        return {
            "how": self.how, "through": self.through, "contrast": self.contrast,
            "marks": self.marks, "width": self.paper,
        }  # fmt: skip

    def _boxes(self) -> dict[str, QCheckBox]:
        views = {f"show_{view}": box for view, box in self.views.items()}
        rest = {"follow": self.follow, "axes": self.axes, "bar": self.bar, "cross": self.cross}
        return views | rest

    # wiring ---------------------------------------------------------------------------
    def _connect(self) -> None:
        for choice in self.layers:
            choice.changed.connect(self.changed)
        for combo in self._combos().values():
            on(self, combo.currentIndexChanged, self._changed)
        for box in self._boxes().values():
            on(self, box.toggled, self._changed)
        for field in (*self.voxel, self.thickness):
            on(self, field.edited, self._changed)
        for field in self.position:
            field.edited.connect(self.moved)
        on(self, self.saturated.valueChanged, self._changed)
        on(self, self.heights.textChanged, self._changed)

    def _changed(self, _value: Any = None) -> None:
        self._enable()
        self.changed.emit()

    def _enable(self) -> None:
        self.thickness.setEnabled(self.slab_is_chosen)
        self.saturated.setEnabled(self.contrast_kind != "viewer")

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(heading("Volumes"))
        column.addLayout(_grid(list(zip(("First", "Second", "Third"), self.layers, strict=True))))
        self._voxel_row = QWidget()
        row = _row("Voxel z", self.voxel[0], "x, y", self.voxel[1], "µm")
        row.setContentsMargins(0, 0, 0, 0)
        self._voxel_row.setLayout(row)
        column.addWidget(self._voxel_row)
        column.addWidget(heading("Projection"))
        column.addLayout(_row(self.how, "of", self.through, self.thickness, "µm"))
        z, y, x = self.position
        column.addLayout(_row("At z", z, "y", y, "x", x, "µm"))
        column.addWidget(self.follow)
        column.addWidget(heading("Figure"))
        column.addLayout(
            _grid(
                [
                    ("Views", _row(*self.views.values())),
                    ("With", _row(self.axes, self.bar, self.cross)),
                    ("Contrast", _row(self.contrast, self.saturated)),
                    ("Scans at", _row(self.heights, "µm")),
                    ("Marked by", _row(self.marks)),
                    ("Save for", _row(self.paper)),
                ]
            )
        )


def _layer_choices(viewer: Any) -> tuple[LayerChoice, ...]:
    return tuple(
        LayerChoice(viewer, f"{which} volume", tooltip, nothing, accepts=_is_picture)
        for which, tooltip, nothing in (
            ("First", "A volume (z, y, x): a reconstruction, or a stack", "Choose a volume"),
            ("Second", "Another one to show beside it, for instance the wide-field stack", "None"),
            ("Third", "One more, for instance the confocal stack", "None"),
        )
    )


def _is_picture(layer: Any) -> bool:
    """Images of any kind: what cannot be shown is told why, rather than left out."""
    from napari.layers import Image

    return isinstance(layer, Image)


def _combo(name: str, tooltip: str, entries: Any) -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(name)
    combo.setToolTip(tooltip)
    for data, text in entries:
        combo.addItem(text, data)
    combo.setSizeAdjustPolicy(combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(5)
    return combo


def _check(text: str, tooltip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setToolTip(tooltip)
    box.setAccessibleName(text)
    return box


def _saturated() -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0, 20)
    box.setDecimals(2)
    box.setSingleStep(0.1)
    box.setValue(0.2)
    box.setSuffix(" %")
    box.setAccessibleName("Saturated pixels")
    box.setToolTip("How many of the pixels are shown as black or as white, half of them each")
    return box


def _row(*parts: str | QWidget) -> QHBoxLayout:
    line = QHBoxLayout()
    line.setSpacing(4)
    for part in parts:
        if isinstance(part, str):
            line.addWidget(QLabel(part))
        else:
            line.addWidget(part, 0 if isinstance(part, QCheckBox) else 1)
    if all(isinstance(part, QCheckBox) for part in parts):
        line.addStretch(1)
    return line


def _grid(rows: list[tuple[str, Any]]) -> QGridLayout:
    grid = QGridLayout()
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(1, 1)
    for number, (label, part) in enumerate(rows):
        grid.addWidget(QLabel(label), number, 0)
        add = grid.addWidget if isinstance(part, QWidget) else grid.addLayout
        add(part, number, 1)
    return grid
