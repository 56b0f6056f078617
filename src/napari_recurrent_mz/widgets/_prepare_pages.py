"""How the Prepare dock looks: a page a task, and the table of what alignment found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QWidget,
)

from . import _settings
from ._layer_choice import LayerChoice
from ._parts import push_button

GROUP = "prepare"
MOTIONS = {
    "translation": "Shift",
    "rigid": "Shift and rotation",
    "affine": "Shift, rotation, scale and shear",
}
REFERENCES = {
    "previous": "The plane below it",
    "first": "The first plane",
    "mean": "The mean of all planes",
}
STACK, SCANS = "stack", "scans"
ALIGN, EDF, NORMALISE, REGISTER = range(4)
ACTIONS = (
    ("Align", "Find the motion of every plane, and add the aligned planes as new layers"),
    ("Make EDF", "Add one image in which everything is in focus as a new layer"),
    ("Measure", "Measure background and foreground on the EDF; no layer changes"),
    ("Register", "Find how the confocal stack lies, and add it on the wide-field grid"),
)
_ROW = 20
_ROWS_SHOWN = 6


class AlignPage(QWidget):
    """What to align, and how."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.what = _combo(
            "Align",
            "The planes of the stack above, or layers of single images that are selected in "
            "napari's layer list",
            {STACK: "The planes of the stack", SCANS: "The selected layers"},
        )
        self.motion = _combo("Motion", "What may differ between planes", MOTIONS)
        self.motion.setCurrentIndex(1)
        self.reference = _combo(
            "To",
            "What each plane is aligned to: the plane below it follows content that changes with "
            "z; the others do not add up errors",
            REFERENCES,
        )
        self.band_pass = _check(
            "Compare only what is sharp",
            "Haze shifts as the focus moves, the sample does not: a band-pass leaves it out of the "
            "comparison. Without it, planes are compared as they are, as StackReg does",
        )
        self.band_pass.setChecked(True)
        self.crop = _check(
            "Crop to the field that all planes show",
            "Otherwise the size stays, and edges are filled with their mirror image",
        )
        fields = {"Align": self.what, "Motion": self.motion, "To": self.reference}
        _form(self, fields, self.band_pass, self.crop)


class EdfPage(QWidget):
    """The extended-depth-of-field image."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.heights = _check(
            "Height map (µm) too",
            "A second image: the height that each pixel was taken from; it may be the target of "
            "the Surface dock",
        )
        about = _faint(
            "Merges what is in focus, by complex wavelets (Forster et al. 2004). Every value is "
            "one that the stack has in that place."
        )
        _form(self, {}, self.heights, about)


class NormalisePage(QWidget):
    """Measure on the EDF, then apply."""

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.edf = LayerChoice(
            viewer,
            "EDF",
            "The 2-D image to measure on; otherwise it is made from the stack",
            "Made from the stack",
            _is_flat_image,
        )
        self.apply = push_button(
            "Apply as a new layer",
            "Add the stack with its background at 0 and the foreground's 99th percentile at 1",
        )
        self.apply.setEnabled(False)
        about = _faint("Background mean to 0, 99th percentile of the foreground to 1.")
        _form(self, {"EDF": self.edf}, about, self.apply)


class RegisterPage(QWidget):
    """A confocal stack to the wide-field stack."""

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.confocal = LayerChoice(
            viewer,
            "Confocal",
            "The confocal stack; the stack above is the wide-field one",
            "Choose a stack",
            is_any_image,
        )
        self.motion = _combo("Motion", "What may differ laterally", MOTIONS)
        self.motion.setCurrentIndex(2)
        self.crop = _check(
            "Crop to what both show",
            "Otherwise the size is that of the wide-field stack: planes and edges that the "
            "confocal stack lacks are filled with its nearest",
        )
        _form(self, {"Confocal": self.confocal, "Motion": self.motion}, self.crop)


class PreparePages(QTabWidget):
    """One page a task, and what they remember; ``edited`` follows every change."""

    edited = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.align = AlignPage()
        self.edf = EdfPage()
        self.normalise = NormalisePage(viewer)
        self.register = RegisterPage(viewer)
        self.setAccessibleName("Task")
        for page, name, tooltip in (
            (self.align, "Align", "Correct lateral shift and rotation"),
            (self.edf, "EDF", "Extended depth of field: everything in focus"),
            (self.normalise, "Normalise", "The paper's normalisation"),
            (self.register, "Register", "A confocal stack to a wide-field stack"),
        ):
            self.addTab(page, name)
            self.setTabToolTip(self.count() - 1, tooltip)
        self._combos = {
            "align_motion": self.align.motion,
            "align_to": self.align.reference,
            "register_motion": self.register.motion,
        }
        self._boxes = {
            "align_sharp": self.align.band_pass,
            "align_crop": self.align.crop,
            "edf_heights": self.edf.heights,
            "register_crop": self.register.crop,
        }
        self._restore()
        self.align.what.currentIndexChanged.connect(self.edited)
        self.normalise.edf.changed.connect(self.edited)
        self.register.confocal.changed.connect(self.edited)
        self.edf.heights.toggled.connect(self.edited)
        self.currentChanged.connect(self.edited)

    def settings(self) -> dict[str, str]:
        """What is remembered."""
        chosen = {name: str(combo.currentData()) for name, combo in self._combos.items()}
        return chosen | {name: str(int(box.isChecked())) for name, box in self._boxes.items()}

    def _restore(self) -> None:
        found = _settings.remembered(GROUP, (*self._combos, *self._boxes))
        for name, combo in self._combos.items():
            number = combo.findData(found.get(name))
            if number >= 0:
                combo.setCurrentIndex(number)
        for name, box in self._boxes.items():
            if name in found:
                box.setChecked(found[name] == "1")


class MotionTable(QTableWidget):
    """Shift, rotation and correlation of every plane."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 5, parent)
        self.setAccessibleName("Motion of every plane")
        self.setToolTip(
            "How far each plane's content is displaced (y down, x to the right) and turned "
            "(clockwise), and its correlation with its reference once aligned"
        )
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and columns is not None:
            rows.hide()
            rows.setDefaultSectionSize(_ROW)
            columns.setHighlightSections(False)
            columns.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)

    def show_motion(self, table: Any) -> None:
        """Fill in the table of an :class:`~napari_recurrent_mz.preparation.Alignment`."""
        unit = "px" if "shift_y_px" in table else "um"
        shown = "px" if unit == "px" else "µm"
        first = "z_um" if "z_um" in table else "plane"
        self.setHorizontalHeaderLabels(
            ["z µm" if first == "z_um" else "plane", f"y {shown}", f"x {shown}", "turn °", "corr."]
        )
        names = (first, f"shift_y_{unit}", f"shift_x_{unit}", "rotation_deg", "correlation_after")
        forms = (".2f" if first == "z_um" else "d", "+.3f", "+.3f", "+.3f", ".4f")
        self.setRowCount(len(table))
        for row in range(len(table)):
            before = table["correlation_before"].iloc[row]
            for column, (name, form) in enumerate(zip(names, forms, strict=True)):
                value = table[name].iloc[row]
                item = QTableWidgetItem("–" if value != value else format(value, form))
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                if name == "correlation_after" and value == value:
                    item.setToolTip(f"{before:.4f} before")
                self.setItem(row, column, item)
        header = self.horizontalHeader()
        top = header.sizeHint().height() if header is not None else 0
        self.setFixedHeight(top + _ROW * min(len(table), _ROWS_SHOWN) + 4)


def is_any_image(layer: Layer) -> bool:
    """Any image: of one that cannot be prepared, a sentence says why."""
    return isinstance(layer, Image)


def _is_flat_image(layer: Layer) -> bool:
    return isinstance(layer, Image) and not layer.rgb and layer.ndim == 2


def labelled(text: str, widget: QWidget) -> QLabel:
    """A label that gives its widget the keyboard."""
    label = QLabel(text)
    label.setBuddy(widget)
    return label


def _form(page: QWidget, fields: Mapping[str, QWidget], *wide: QWidget) -> None:
    form = QFormLayout(page)
    form.setContentsMargins(4, 6, 4, 4)
    form.setVerticalSpacing(4)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, widget in fields.items():
        form.addRow(labelled(text, widget), widget)
    for widget in wide:
        form.addRow(widget)


def _combo(name: str, tooltip: str, entries: Mapping[str, str]) -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(name)
    combo.setToolTip(tooltip)
    combo.setSizeAdjustPolicy(combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    for key, text in entries.items():
        combo.addItem(text, key)
    return combo


def _check(text: str, tooltip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setAccessibleName(text)
    box.setToolTip(tooltip)
    return box


def _faint(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setProperty("faint", True)
    return label
