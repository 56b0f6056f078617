"""How the Train dock looks: stacks, optics, network, result, the curve; footer always in sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari.layers import Image
from qtpy.QtWidgets import QWidget

from ..shared.dock import Form, InstrumentFooter
from ..shared.form import DataForm, as_named, asked
from ..shared.method_panel import MethodPanel
from ..shared.optics_panel import OpticsPanel
from ..shared.parts import heading, push_button
from ..shared.plot_canvas import PlotCanvas
from ..shared.theme import Palette

_FULL = "A full z-stack, finely sampled: the network learns to rebuild its planes"


def _is_image(layer: Any) -> bool:
    """All images are offered: what is wrong with one is said once it is chosen."""
    return isinstance(layer, Image)


@dataclass(frozen=True)
class Stacks:
    """What is learned from."""

    first: Any = asked("Stack", _FULL, nothing="Choose a stack", layers=_is_image, opens_files=True)
    second: Any = asked("Second stack", _FULL, label="And", layers=_is_image, opens_files=True)
    step: float | None = asked(
        "z-step",
        "Distance between planes in µm, for a stack that does not say",
        example="0.2",
        unit="µm, as the file does not say",
    )


@dataclass(frozen=True)
class Result:
    """What comes of it."""

    stored: ClassVar = as_named("minutes")
    minutes: int = asked(
        "Time",
        "About how long: an hour on a CPU, ten minutes on a GPU; Stop ends it sooner",
        60,
        unit="min",
        limits=(1, 24 * 60, 1),
    )
    path: str = asked("Save as", "The file for the adapted weights, .safetensors", "")


class TrainLayout(Form):
    """The dock's parts, with short names that the dock's logic uses."""

    def __init__(self, footer: InstrumentFooter, palette: Palette, viewer: Any) -> None:
        super().__init__(footer, palette)
        self.footer = footer
        self.footer.name_cancel("Stop", "Stop and keep the best weights so far (Esc)")
        self.footer.bar.setToolTip("Training steps that are done, and the time left")
        self.stacks = DataForm(Stacks, viewer)
        self.optics = OpticsPanel()
        self.method = MethodPanel()
        self.method.only_model("Start from")
        self.result = DataForm(Result)
        self.browse = push_button("…", "Choose the file for the adapted weights")
        self.browse.setAccessibleName("Choose the file to save as")
        self.browse.setMaximumWidth(32)
        self.result.put_beside("path", self.browse)
        self.plot = PlotCanvas(palette, "Gain over linear MMSE on the held-out quarter")
        self.plot.setFixedHeight(150)
        for title, part in (
            ("Full stacks to learn from", self.stacks.native),
            ("Optics", self.optics),
            ("Network", self.method),
            ("Result", self.result.native),
            ("Gain over the linear estimate, held-out quarter", self.plot),
        ):
            self.rows.addWidget(heading(title))
            self.rows.addWidget(part)
        self.rows.addStretch(1)
        self.fit()

    @property
    def chosen(self) -> list[Image]:
        """The layers to learn from."""
        layers = (self.stacks.first.value, self.stacks.second.value)
        return [layer for layer in layers if layer is not None]

    @property
    def inputs(self) -> tuple[QWidget, ...]:
        """What a job is made from."""
        return self.stacks.native, self.optics, self.method, self.result.native

    def restyle(self, theme: str) -> None:
        """Follow the viewer's theme."""
        super().restyle(theme)
        self.plot.restyle()
