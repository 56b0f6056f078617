"""What the Side views dock asks: volumes, projection, slab, and how the figure looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...core.scans import InputError
from ...measure.plots.side_views import MARKS, Marks
from ...measure.projections import VIEWS, How, Slab, ViewName
from ..shared.form import DataForm, as_named, asked, parse_heights
from ..shared.layer_choice import is_any_image

GROUP = "side_views"
VOLUMES = ("first", "second", "third")
_CONTRASTS = {
    "separate": "Each its own",
    "shared": "Shared by all",
    "viewer": "As in the viewer",
}
_WIDTHS = {"85": "1 column, 85 mm", "120": "1½ columns, 120 mm", "180": "2 columns, 180 mm"}


def _position(axis: str, label: str, **more: Any) -> Any:
    tooltip = f"{axis} in µm: the middle of the slab, and where the cross lines meet"
    return asked(f"Position {axis}", tooltip, label=label, example=axis, **more)


def _view(view: ViewName, label: str = "", **more: Any) -> Any:
    name = f"{view[0]}–{view[1]}"
    return asked(name, f"Show the {name} projection", True, label=label, **more)


@dataclass(frozen=True)
class SideViews:
    """What is shown, and how; lengths in micrometres."""

    stored: ClassVar = (
        as_named("how through thickness follow axes bar cross contrast saturated marks")
        | {"paper": "width"}
        | {view: f"show_{view}" for view in VIEWS}
    )
    first: Any = asked(
        "First volume",
        "A volume (z, y, x): a reconstruction, or a stack",
        label="First",
        nothing="Choose a volume",
        layers=is_any_image,
        heading="Volumes",
    )
    second: Any = asked(
        "Second volume",
        "Another one to show beside it, for instance the wide-field stack",
        label="Second",
        layers=is_any_image,
    )
    third: Any = asked(
        "Third volume",
        "One more, for instance the confocal stack",
        label="Third",
        layers=is_any_image,
    )
    voxel_z: float | None = asked(
        "Size of a voxel along z",
        "Distance between planes in µm: the layer does not say",
        label="Voxel z",
        example="0.2",
        of_image=True,
    )
    voxel_xy: float | None = asked(
        "Size of a voxel along x and y",
        "Size of a pixel in µm: the layer does not say",
        label="x, y",
        example="0.1",
        unit="µm",
        beside=True,
        of_image=True,
    )
    how: How = asked(
        "Projection",
        "What a pixel shows of the voxels behind it",
        "max",
        label="",
        choices={"max": "Maximum", "mean": "Mean", "sum": "Sum"},
        heading="Projection",
    )
    through: str = asked(
        "Look through",
        "The whole volume, or a slab of it around the position",
        "all",
        label="of",
        choices={"all": "everything", "slab": "a slab of"},
        beside=True,
    )
    thickness: float | None = asked(
        "Thickness of the slab",
        "In µm, around the position; 0 is one layer of voxels",
        2.0,
        label="",
        example="2",
        unit="µm",
        beside=True,
    )
    z: float | None = _position("z", "At z")
    y: float | None = _position("y", "y", beside=True)
    x: float | None = _position("x", "x", beside=True, unit="µm")
    follow: bool = asked(
        "Follow the viewer",
        "z follows the slider; y and x a click on the canvas, or the cursor with Shift held. A "
        "click on a side view moves the slider.",
        True,
    )
    xy: bool = _view("xy", "Views", heading="Figure")
    xz: bool = _view("xz", beside=True)
    yz: bool = _view("yz", beside=True)
    axes: bool = asked("Axes", "Axes in µm, and what is shown under every name", True, label="With")
    bar: bool = asked("Scale bar", "A bar of a round length on every volume", True, beside=True)
    cross: bool = asked("Cross lines", "Lines through the position", False, beside=True)
    contrast: str = asked(
        "Contrast",
        "One pair of display limits for all volumes, their own for each, or those of the layers in "
        "the viewer with their gamma",
        "separate",
        choices=_CONTRASTS,
    )
    saturated: float = asked(
        "Saturated pixels",
        "How many of the pixels are shown as black or as white, half of them each",
        0.2,
        label="",
        unit="%",
        limits=(0, 20, 0.1),
        beside=True,
    )
    heights: str = asked(
        "Heights of the scans",
        "Heights to mark, in µm, with spaces between; left empty, those that the volume was "
        "reconstructed from",
        "",
        label="Scans at",
        example="none known",
        unit="µm",
    )
    marks: Marks = asked(
        "Marks",
        "How heights are marked",
        MARKS[0],
        label="Marked by",
        choices={mark: mark.capitalize() for mark in MARKS},
    )
    paper: str = asked(
        "Paper width", "How wide a saved figure is", "180", label="Save for", choices=_WIDTHS
    )

    @property
    def chosen(self) -> list[Any]:
        layers = (self.first, self.second, self.third)
        return list({id(layer): layer for layer in layers if layer is not None}.values())

    @property
    def shown(self) -> tuple[ViewName, ...]:
        return tuple(view for view in VIEWS if getattr(self, view))

    @property
    def point_um(self) -> tuple[float, float, float] | None:
        """The position (z, y, x), or None while a number is missing."""
        if self.z is None or self.y is None or self.x is None:
            return None
        return self.z, self.y, self.x

    @property
    def voxel_um(self) -> tuple[float, float, float] | None:
        """The size of a voxel that was typed for layers that do not say theirs."""
        step, pixel = self.voxel_z, self.voxel_xy
        return (step, pixel, pixel) if step and pixel and step > 0 and pixel > 0 else None

    def slab(self) -> Slab | None:
        """The slab to look through; None is everything."""
        if self.through != "slab":
            return None
        if self.thickness is None:
            raise InputError("The slab has no thickness: type it in µm, or look at everything.")
        if self.point_um is None:
            raise InputError("The position is incomplete: type z, y and x in µm.")
        return Slab(*self.point_um, thickness_um=self.thickness)

    def heights_um(self) -> tuple[float, ...] | None:
        """The heights that were typed; None when nothing was."""
        return parse_heights(self.heights) or None


class SideViewsForm(DataForm[SideViews]):
    """All controls of the dock, as they were when they were used last."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(SideViews, viewer, GROUP)
        self.show_fields("voxel_z voxel_xy", False)
        self.enable()

    def set_point(self, point_um: tuple[float, ...]) -> None:
        """Show a position; nobody is told."""
        for axis, value in zip("zyx", point_um, strict=True):
            self[axis].value = round(value, 4)

    def enable(self) -> None:
        """Only what has an effect can be changed."""
        self.thickness.enabled = self.through.value == "slab"
        self.saturated.enabled = self.contrast.value != "viewer"
