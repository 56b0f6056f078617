"""How the Prepare dock looks: a page a task, and the table of what alignment found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QTabWidget

from ..shared.form import DataForm, asked
from ..shared.guard import on
from ..shared.layer_choice import is_any_image
from ..shared.parts import NumberTable, push_button

if TYPE_CHECKING:
    import pandas as pd

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
    ("Measure", "Measure background and foreground on the EDF; the stack stays as it is"),
    ("Register", "Find how the confocal stack lies, and add it on the wide-field grid"),
)


@dataclass(frozen=True)
class Stack:
    """What is prepared."""

    stack: Any = asked(
        "Stack", "The stack to prepare", nothing="Choose a stack", layers=is_any_image
    )


@dataclass(frozen=True)
class Align:
    """What to align, and how."""

    stored: ClassVar = {
        "motion": "align_motion", "reference": "align_to", "band_pass": "align_sharp",
        "crop": "align_crop",
    }  # fmt: skip
    what: str = asked(
        "Align",
        "The planes of the stack above, or layers of single images that are selected in napari's "
        "layer list",
        STACK,
        choices={STACK: "The planes of the stack", SCANS: "The selected layers"},
    )
    motion: str = asked("Motion", "What may differ between planes", "rigid", choices=MOTIONS)
    reference: str = asked(
        "To",
        "What each plane is aligned to: the plane below it follows content that changes with z; "
        "the others do not add up errors",
        "previous",
        choices=REFERENCES,
    )
    band_pass: bool = asked(
        "Compare only what is sharp",
        "Haze shifts as the focus moves, the sample does not: a band-pass leaves it out of the "
        "comparison. Without it, planes are compared as they are, as StackReg does",
        True,
    )
    crop: bool = asked(
        "Crop to the field that all planes show",
        "Otherwise the size stays, and edges are filled with their mirror image",
        False,
    )


@dataclass(frozen=True)
class Edf:
    """The extended-depth-of-field image."""

    stored: ClassVar = {"heights": "edf_heights"}
    heights: bool = asked(
        "Height map (µm) too",
        "A second image: the height that each pixel was taken from; it may be the target of the "
        "Surface dock",
        False,
        note="Merges what is in focus, by complex wavelets (Forster et al. 2004). Every value is "
        "one that the stack has in that place.",
    )


@dataclass(frozen=True)
class Normalise:
    """Measure on the EDF, then apply."""

    edf: Any = asked(
        "EDF",
        "The 2-D image to measure on; otherwise it is made from the stack",
        nothing="Made from the stack",
        layers=lambda layer: isinstance(layer, Image) and not layer.rgb and layer.ndim == 2,
        note="Background mean to 0, 99th percentile of the foreground to 1.",
    )


@dataclass(frozen=True)
class Register:
    """A confocal stack to the wide-field stack."""

    stored: ClassVar = {"motion": "register_motion", "crop": "register_crop"}
    confocal: Any = asked(
        "Confocal",
        "The confocal stack; the stack above is the wide-field one",
        nothing="Choose a stack",
        layers=is_any_image,
    )
    motion: str = asked("Motion", "What may differ laterally", "affine", choices=MOTIONS)
    crop: bool = asked(
        "Crop to what both show",
        "Otherwise the size is that of the wide-field stack: planes and edges that the confocal "
        "stack lacks are filled with its nearest",
        False,
    )


class PreparePages(QTabWidget):
    """One page a task; ``edited`` follows every change."""

    edited = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.align, self.edf = DataForm(Align, group=GROUP), DataForm(Edf, group=GROUP)
        self.normalise = DataForm(Normalise, viewer)
        self.register = DataForm(Register, viewer, GROUP)
        self.apply = push_button(
            "Apply as a new layer",
            "Add the stack with its background at 0 and the foreground's 99th percentile at 1",
        )
        self.apply.setEnabled(False)
        self.normalise.put_under("edf", self.apply)
        self.setAccessibleName("Task")
        for form, name, tooltip in (
            (self.align, "Align", "Correct lateral shift and rotation"),
            (self.edf, "EDF", "Extended depth of field: everything in focus"),
            (self.normalise, "Normalise", "The paper's normalisation"),
            (self.register, "Register", "A confocal stack to a wide-field stack"),
        ):
            form.margins = (4, 6, 4, 4)
            on(self, form.changed, self.edited.emit)
            self.addTab(form.native, name)
            self.setTabToolTip(self.count() - 1, tooltip)
        self.currentChanged.connect(self.edited)


class MotionTable(NumberTable):
    """Shift, rotation and correlation of every plane."""

    def __init__(self) -> None:
        super().__init__(
            "Motion of every plane",
            "How far each plane's content is displaced (y down, x to the right) and turned "
            "(clockwise), and its correlation with its reference once aligned",
            ["plane", "y px", "x px", "turn °", "corr."],
            20,
        )
        self.only_show()

    def show_motion(self, table: pd.DataFrame) -> None:
        """Show the table of an :class:`~.Alignment`."""
        unit = "px" if "shift_y_px" in table else "um"
        first, first_form = ("z_um", ".2f") if "z_um" in table else ("plane", "d")
        shown = unit.replace("um", "µm")
        self.setHorizontalHeaderLabels(
            [first.replace("_um", " µm"), f"y {shown}", f"x {shown}", "turn °", "corr."]
        )
        forms = {
            first: first_form,
            f"shift_y_{unit}": "+.3f",
            f"shift_x_{unit}": "+.3f",
            "rotation_deg": "+.3f",
            "correlation_after": ".4f",
        }
        columns = [
            ["–" if value != value else format(value, form) for value in table[name]]
            for name, form in forms.items()
        ]
        self.show_rows([*zip(*columns, strict=True)])
        for row, before in enumerate(table["correlation_before"]):
            item = self.item(row, 4)
            if item is not None and item.text() != "–":
                item.setToolTip(f"{before:.4f} before")
        self.fit_rows(min(len(table), 6))
