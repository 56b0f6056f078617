"""How the Train dock looks: stacks, optics, network, result, the curve; footer always in sight."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from itertools import pairwise

from napari.layers import Image
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeySequence, QShortcut, QShowEvent  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ._fields import NumberEdit
from ._method_panel import MethodPanel
from ._optics_panel import OpticsPanel
from ._parts import heading, push_button, scrolling
from ._plot import PlotCanvas
from ._theme import MessageLabel, Palette, tinted

_WIDTH = 340
_SCROLL_BAR = 14
_OPEN = "open"


class StackChoice(QComboBox):
    """One of the image layers, or a file to open.

    ``changed`` follows every other choice, ``wants_file`` the wish to open one.
    """

    changed = Signal()
    wants_file = Signal()

    def __init__(self, name: str, nothing: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setToolTip("A full z-stack, finely sampled: the network learns to rebuild its planes")
        self.setSizeAdjustPolicy(self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self._nothing = nothing
        self._layers: list[weakref.ref[Image]] = []
        self._before = 0
        self.activated.connect(self._chosen)
        self.offer(())

    def layer(self) -> Image | None:
        """The chosen layer."""
        number = self.currentIndex() - 1
        return self._layers[number]() if 0 <= number < len(self._layers) else None

    def offer(self, layers: Iterable[Image]) -> None:
        """Offer these layers; the chosen one stays when it is still there."""
        before = self.layer() if self.count() else None
        found = list(layers)
        self.clear()
        self.addItem(self._nothing)
        self._layers = [weakref.ref(layer) for layer in found]
        for layer in found:
            self.addItem(layer.name)
        self.addItem("Open a file…", _OPEN)
        self._show(before)

    def choose(self, layer: Image | None) -> None:
        """Choose a layer that is offered, or none."""
        self._show(layer)
        self.changed.emit()

    def _show(self, layer: Image | None) -> None:
        numbers = [n for n, other in enumerate(self._layers, 1) if other() is layer]
        self._before = numbers[0] if layer is not None and numbers else 0
        self.setCurrentIndex(self._before)

    def _chosen(self, number: int) -> None:
        if self.itemData(number) == _OPEN:
            self.setCurrentIndex(self._before)
            self.wants_file.emit()
            return
        self._before = number
        self.changed.emit()


class TrainFooter(QWidget):
    """Status, message, progress and the two buttons."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = MessageLabel(palette)
        self.message = MessageLabel(palette)
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress")
        self.bar.setToolTip("Training steps that are done, and the time left")
        self.bar.hide()
        self.adapt = push_button("Adapt", "Train on the stacks; the stacks stay as they are")
        self._tip = self.adapt.toolTip()
        self.stop = push_button("Stop", "Stop and keep the best weights so far (Esc)")
        self.stop.setEnabled(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(4)
        for widget in (self.state, self.message, self.bar):
            column.addWidget(widget)
        line = QHBoxLayout()
        line.addWidget(self.adapt, 2)
        line.addWidget(self.stop, 1)
        column.addLayout(line)

    def ready(self, why_not: str) -> None:
        """Enable Adapt, or let it say why it cannot be pressed."""
        self.adapt.setEnabled(not why_not)
        self.adapt.setToolTip(why_not or self._tip)

    def running(self, is_running: bool) -> None:
        """Swap the buttons."""
        self.adapt.setEnabled(not is_running)
        self.stop.setEnabled(is_running)
        self.bar.setVisible(is_running)

    def begin(self) -> None:
        """Show a bar that only says that something happens."""
        self.state.say("")
        self.message.say("")
        self.bar.setRange(0, 0)
        self.bar.setFormat("")
        self.running(True)

    def progress(self, step: int, steps: int, left: str) -> None:
        """Advance the bar."""
        self.bar.setRange(0, steps)
        self.bar.setValue(step)
        self.bar.setFormat(f"Step {step} of {steps} · {left} left")


class TrainLayout(QWidget):
    """The dock's parts, with short names that the dock's logic uses."""

    def __init__(self, dock: QWidget, theme: str) -> None:
        super().__init__(dock)
        self.palette_ = Palette(theme)
        self.first = StackChoice("Stack", "Choose a stack")
        self.second = StackChoice("Second stack", "None")
        self.step = NumberEdit(
            "z-step", "Distance between planes in µm, for a stack that does not say", "0.2"
        )
        self.optics = OpticsPanel()
        self.method = MethodPanel()
        self.method.only_model("Start from")
        self.minutes = _minutes()
        self.path = QLineEdit()
        self.path.setAccessibleName("Save as")
        self.path.setToolTip("The file for the adapted weights, .safetensors")
        self.path.setAcceptDrops(False)
        self.browse = QPushButton("…")
        self.browse.setAccessibleName("Choose the file to save as")
        self.browse.setToolTip("Choose the file for the adapted weights")
        self.browse.setMaximumWidth(32)
        self.plot = PlotCanvas(self.palette_, "Gain over linear MMSE on the held-out quarter")
        self.plot.setFixedHeight(150)
        self.footer = TrainFooter(self.palette_)
        self._lay_out()
        self._shortcuts(dock)
        self._tab_order()
        self.restyle(theme)

    def chosen(self) -> list[Image]:
        """The layers to learn from."""
        layers = (self.first.layer(), self.second.layer())
        return [layer for layer in layers if layer is not None]

    def set_running(self, is_running: bool) -> None:
        """Lock what a running job was made from."""
        self.footer.running(is_running)
        parts: tuple[QWidget, ...] = (
            self.first, self.second, self.step, self.optics, self.method,
            self.minutes, self.path, self.browse,
        )  # fmt: skip
        for part in parts:
            part.setEnabled(not is_running)

    def restyle(self, theme: str) -> None:
        """Follow the viewer's theme."""
        self.palette_.use(theme)
        for label in (self.footer.state, self.footer.message):
            label.restyle()
        self.plot.restyle()
        self._form.setStyleSheet(
            f'QLabel[faint="true"] {{ color: {tinted(self.palette_.faint)}; }}'
        )

    def sizeHint(self) -> QSize:  # noqa: N802
        """Natural size: the whole form, and the footer under it."""
        inner = self._form.sizeHint().height() + self.footer.sizeHint().height()
        return QSize(self.minimumWidth(), inner + 12)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Ask for the width that the theme's fonts need, known once the style is applied."""
        super().showEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumWidth(max(_WIDTH, self._form.minimumSizeHint().width() + _SCROLL_BAR))

    def _lay_out(self) -> None:
        self._form = QWidget()
        form = QVBoxLayout(self._form)
        form.setContentsMargins(6, 4, 6, 4)
        form.setSpacing(4)
        for title, part in (
            ("Full stacks to learn from", self._stacks()),
            ("Optics", self.optics),
            ("Network", self.method),
            ("Result", self._result()),
            ("Gain over linear MMSE, held-out quarter", self.plot),
        ):
            form.addWidget(heading(title))
            form.addWidget(part)
        form.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scrolling(self._form), 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(6, 0, 6, 6)
        foot.addWidget(self.footer)
        column.addLayout(foot)
        self._fit()

    def _stacks(self) -> QWidget:
        part, grid = _grid()
        for line, (name, combo) in enumerate((("Stack", self.first), ("And", self.second))):
            grid.addWidget(QLabel(name), line, 0)
            grid.addWidget(combo, line, 1, 1, 3)
        self.step_label = QLabel("z-step")
        self.step_unit = QLabel("µm, as the file does not say")
        self.step_unit.setProperty("faint", True)
        grid.addWidget(self.step_label, 2, 0)
        grid.addWidget(self.step, 2, 1)
        grid.addWidget(self.step_unit, 2, 2)
        return part

    def show_step(self, is_needed: bool) -> None:
        """Ask for the z-step where a chosen stack does not say it."""
        for widget in (self.step_label, self.step, self.step_unit):
            widget.setVisible(is_needed)

    def _result(self) -> QWidget:
        part, grid = _grid()
        grid.addWidget(QLabel("Time"), 0, 0)
        grid.addWidget(self.minutes, 0, 1)
        grid.addWidget(QLabel("Save as"), 1, 0)
        grid.addWidget(self.path, 1, 1)
        grid.addWidget(self.browse, 1, 2)
        return part

    def _shortcuts(self, dock: QWidget) -> None:
        for keys, button in (
            ("Ctrl+Return", self.footer.adapt),
            ("Ctrl+Enter", self.footer.adapt),
            ("Esc", self.footer.stop),
        ):
            shortcut = QShortcut(QKeySequence(keys), dock)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(button.click)

    def _tab_order(self) -> None:
        fields = self.optics.fields
        order = [
            *(self.first, self.second, self.step, self.optics.preset),
            *(fields["na"], fields["immersion_index"], fields["wavelength_um"]),
            *(fields["pixel_um"], *self.method.tab_order[1:]),
            *(self.minutes, self.path, self.browse, self.footer.adapt, self.footer.stop),
        ]
        for before, after in pairwise(order):
            QWidget.setTabOrder(before, after)


def _grid() -> tuple[QWidget, QGridLayout]:
    part = QWidget()
    grid = QGridLayout(part)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(1, 1)
    return part, grid


def _minutes() -> QSpinBox:
    box = QSpinBox()
    box.setRange(1, 24 * 60)
    box.setValue(60)
    box.setSuffix(" min")
    box.setAccessibleName("Time")
    box.setToolTip("About how long: an hour on a CPU, ten minutes on a GPU; Stop ends it sooner")
    return box
