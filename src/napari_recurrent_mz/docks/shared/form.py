"""Forms that are declared: magicgui makes the fields from an annotated frozen dataclass.

A field of the dataclass has a type, a default, and the words that ask for it (:class:`Ask`)::

    @dataclass(frozen=True)
    class Beads:
        stored: ClassVar = as_named("snr")
        model: str = asked("Model", "What is fitted", "lines", choices={"lines": "Profiles"})
        snr: float | None = asked("SNR at least", "How far a bead must rise", example="5")

``float | None`` is a number that may be left empty, a length in micrometres unless the words say
otherwise; ``bool``, ``int``, ``float`` and ``str`` are what magicgui makes of them; ``layers``
makes a choice of the viewer's layers. ``stored`` holds the keys under which fields are remembered.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from magicgui.backends._qtpy.widgets import Container, QBaseValueWidget, QBaseWidget
from magicgui.types import Undefined
from magicgui.widgets import create_widget
from magicgui.widgets.bases import ContainerWidget, ValueWidget
from napari.layers import Layer
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QScrollArea,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ...core.optics import ALIKE
from ...core.scans import InputError
from . import settings
from .guard import on
from .layer_choice import LayerChoice
from .layers import contradict
from .parts import DecimalBox, Words, column_of, described, heading, without_wheel

_UM_PER = {"": 1.0, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3}
_LENGTH = re.compile(r"\s*([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s]*)\s*")
T = TypeVar("T")
_GAP = 4
_SHORTEST = 5  # letters of a choice that must be readable


def parse_length_um(text: str) -> float | None:
    """A length in µm from ``3.5``, ``3,5``, ``0.2 µm`` or ``519 nm``; None if it is none."""
    match = _LENGTH.fullmatch(text)
    if match is None or match[2] not in _UM_PER:
        return None
    value = float(match[1].replace(",", ".")) * _UM_PER[match[2]]
    return value if math.isfinite(value) else None


def parse_heights(text: str) -> tuple[float, ...]:
    """Heights in µm from what a person types: ``2 5 8``, ``2, 5, 8``, ``2,5; 5; 8 µm``."""
    joined = re.sub(r"(?<=\d)\s+(?=(?:µm|μm|um|nm|mm)\b)", "", text)
    words = [word for word in re.split(r";|,(?=\s)|\s", joined) if word.strip(",")]
    heights: set[float] = set()
    for word in words:
        whole = parse_length_um(word)
        if whole is not None and "," in word and len(words) == 1:
            raise InputError(
                f"The height '{word}' may be one or two: type {word.replace(',', '.')}, or "
                f"{word.replace(',', ' ')}."
            )
        values = [whole] if whole is not None else map(parse_length_um, word.strip(",").split(","))
        for value in values:
            if value is None:
                raise InputError(
                    f"'{word}' in the heights of the scans is no number: type them in µm with "
                    "spaces between, for instance 2 5 8."
                )
            heights.add(value)
    return tuple(sorted(heights))


def typed_path(text: str) -> Path:
    """The path that was typed; a ``~`` that names nobody is left, as the name of a folder."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (which raises)


def parse_wavelength_um(text: str) -> float | None:
    """A wavelength in micrometres; a bare number above 10 can only be nanometres."""
    value = parse_length_um(text)
    if value is not None and value > 10:
        return value * 1e-3
    return value


def as_example(text: str) -> str:
    """What an empty line shows, so that nobody takes it for a value."""
    return f"e.g. {text}" if text[:1].isdigit() else text


class NumberEdit(QLineEdit):
    """A line for one number, empty when it is not known; ``edited`` follows a person's changes."""

    edited = Signal()
    is_of_image = False  # whether it says something of the images that are chosen
    replaced: float | None = None  # what was set for other images than those that gave a value

    def __init__(self, example: str = "", wavelength: bool = False) -> None:
        super().__init__()
        self.setPlaceholderText(as_example(example))
        self.setAcceptDrops(False)
        self.setMinimumWidth(48)
        self._parse = parse_wavelength_um if wavelength else parse_length_um
        self._shown = ""
        self._value: float | None = None
        self._images: Mapping[Any, Mapping[str, Any]] = {}  # those in use, and what they say
        self._meant = dict(self._images)  # those that the value is for
        self._replaced_for = self._meant
        on(self, self.editingFinished, self._finish)
        on(self, self.returnPressed, self.keep)

    @property
    def is_text_wrong(self) -> bool:
        return bool(self.text().strip()) and self._parse(self.text()) is None

    def value(self) -> float | None:
        """The number, unrounded if it was set here; None when the line holds none."""
        return self._value if self.text() == self._shown else self._parse(self.text())

    def set_value(self, value: float | None, digits: int | None = None) -> None:
        """Show a number, in six digits or fewer, or an empty line."""
        self._value, self._shown = value, "" if value is None else f"{value:.{digits or 6}g}"
        self.setText(self._shown)
        self.setCursorPosition(0)
        self._mean(self._images)

    # the images that it is for ----------------------------------------------------
    @property
    def is_old(self) -> bool:
        """Whether the value was set for other images than those in use, and nobody has kept it."""
        return bool(self.property("old"))

    def follow(self, images: Mapping[Any, Mapping[str, Any]]) -> None:
        """Take note of the images in use, with what they say: a value that is for others is old."""
        if not images:
            return
        self._images = images
        meant = self._replaced_for
        if not meant.keys().isdisjoint(images):
            self.put_back()
            self._meant = meant
        own = [facts for image, facts in images.items() if image in self._meant]
        if own or not self._meant:  # what is used beside them is of the same sample, if it can be
            self._mean(self._meant | {
                image: facts for image, facts in images.items()
                if not any(contradict(facts, one) for one in own)
            })  # fmt: skip
        else:
            self._mark(is_old=bool(self.text().strip()))

    def replace(self, value: float) -> None:
        """Show what the images in use say; what was set for others comes back with them."""
        before, meant = self.value(), self._meant
        self.set_value(value)
        if before is not None and not math.isclose(before, value, rel_tol=ALIKE):
            self.replaced, self._replaced_for = before, meant

    def keep(self) -> None:
        """Let what stands here hold for the images in use."""
        if self.is_old or self.replaced is not None:
            self._take()

    def put_back(self) -> None:
        """Let what was replaced hold for the images in use."""
        if self.replaced is not None:
            self.set_value(self.replaced)
            self._take()

    def _take(self) -> None:
        self.replaced, self._replaced_for = None, {}
        self._mean(self._images)
        self.edited.emit()

    def _mean(self, images: Mapping[Any, Mapping[str, Any]]) -> None:
        self._meant = dict(images)
        self._mark(is_old=False)

    def _mark(self, *, is_old: bool) -> None:
        if is_old != self.is_old:
            self.setProperty("old", is_old)
            style = self.style()
            assert style is not None
            style.unpolish(self)
            style.polish(self)

    def _finish(self) -> None:
        if self.text() == self._shown:
            return
        value = self.value()
        if value is not None:
            self.set_value(value)
        else:
            self._value, self._shown = None, self.text()
        self._take()


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How a form asks for one value."""

    # ``name`` is what a screen reader says, and the label where none is given; it may end in a
    # unit.

    name: str = field(kw_only=False)
    tooltip: str = field(kw_only=False)
    label: str | None = None  # in front of the field; a box to tick has none unless it is given
    example: str = ""  # what an empty line shows
    text: str = ""  # what a box to tick says, if not its name
    unit: str = ""  # behind the field
    heading: str = ""  # over the field's line
    note: str = ""  # faint words under the field's line
    beside: bool = False  # whether the field stands on the line of the one before it
    choices: Mapping[str, str] | None = None  # the values to choose from, and what they are called
    layers: Callable[[Layer], bool] | None = None  # which layers are offered
    nothing: str = "None"  # the entry for no layer
    opens_files: bool = False  # whether a file can be opened instead of a layer
    widget: Callable[..., QWidget] | None = None  # a number's field of its own, like a spin box
    is_wavelength: bool = False  # whether 519 is understood as 519 nm
    of_image: bool = False  # whether it says something of the images that are chosen
    limits: tuple[float, float, float] | None = None  # least, greatest and step of a number

    @property
    def spoken(self) -> str:
        """The name without its unit."""
        return self.name.removesuffix(" µm")


def asked(name: str, tooltip: str, default: Any = None, **more: Any) -> Any:
    """A field of a dataclass that a form asks for (:class:`Ask`)."""
    return field(default=default, metadata={"ask": Ask(name, tooltip, **more)})


def as_named(names: str) -> dict[str, str]:
    """Fields that are remembered under their own names."""
    return {name: name for name in names.split()}


class DataForm(ContainerWidget[Any], Generic[T]):
    """magicgui's container for a frozen dataclass: ``form.snr.value`` is one value of it."""

    # What the dataclass has ``stored`` is taken from the settings of ``group``, and kept there.

    def __init__(self, declared: type[T], viewer: Any = None, group: str = "") -> None:
        kinds, declared_fields = get_type_hints(declared), fields(declared)  # type: ignore[arg-type]
        asks = {f.name: f.metadata["ask"] for f in declared_fields}
        assert not any(hasattr(ContainerWidget, name) for name in asks), "names of magicgui's own"
        widgets = [
            _field(asks[f.name], kinds[f.name], f.name, f.default, viewer) for f in declared_fields
        ]
        self._declared, self.asks, self._group = declared, asks, group
        self._stored: Mapping[str, str] = getattr(declared, "stored", {})
        super().__init__(widgets, widget_type=_Lines, labels=False, backend_kwargs={"asks": asks})
        tab_in_order(self.native)
        if group:
            self._restore()

    @property
    def _lines(self) -> _Lines:
        assert isinstance(self._widget, _Lines)
        return self._widget

    def values(self) -> T:
        """What the form says; InputError if a line in sight holds no number."""
        for name, ask in self.asks.items():
            edit = self[name].native
            if isinstance(edit, NumberEdit) and edit.is_text_wrong and not edit.isHidden():
                unit = " in µm" if "µm" in f"{ask.name} {ask.label} {ask.unit}" else ""
                raise InputError(
                    f"The {ask.spoken} '{edit.text()}' is not a number: type one{unit}, or leave "
                    "it empty."
                )
        return self.read()

    def read(self) -> T:
        """What the form says; a line that holds no number is taken for empty."""
        return self._declared(**self.asdict())

    def show_fields(self, names: str, is_shown: bool) -> None:
        """Show or hide fields with labels, units, and what was put beside or under them."""
        for name in names.split():
            for part in self._lines.parts[name]:
                part.setVisible(is_shown)

    def enable_fields(self, names: str, is_enabled: bool) -> None:
        """Enable or disable fields with the same."""
        for name in names.split():
            for part in self._lines.parts[name]:
                part.setEnabled(is_enabled)

    def reset_choices(self, *_: Any) -> None:
        """Leave choices as they are: they follow neither a parent nor a viewer."""

    def put_beside(self, name: str, widget: QWidget) -> None:
        """Put something on the line of a field, behind it."""
        self._lines.lines[name].addWidget(widget)
        self._lines.parts[name].append(widget)
        tab_in_order(self.native)

    def put_under(self, name: str, widget: QWidget) -> None:
        """Put something under the line of a field."""
        self._lines.add_under(name, widget)
        self._lines.parts[name].append(widget)
        tab_in_order(self.native)

    def remember(self, without: Collection[str] = (), as_before: Collection[str] = ()) -> None:
        """Keep what is set for the next run: fields ``without`` empty, and some ``as_before``."""
        texts = {
            key: "" if name in without else _text(self[name])
            for name, key in self._stored.items()
            if name not in as_before
        }
        settings.remember(self._group, texts)

    def _restore(self) -> None:
        """Take what is remembered; what no longer fits is left as it is."""
        for name, key in self._stored.items():
            text = settings.remembered(self._group, key)
            if text is not None:
                with contextlib.suppress(ValueError):
                    _take_text(self[name], text)


class FormPanel(QWidget):
    """A declared form as a widget that does more than its fields do by themselves."""

    changed = Signal()

    def __init__(self, declared: type[Any], viewer: Any = None, group: str = "") -> None:
        super().__init__()
        self.form: DataForm[Any] = DataForm(declared, viewer, group)
        self._column = column_of(self, self.form.native)

    def is_incomplete(self) -> bool:
        """Whether a field is only empty, which is no mistake."""
        edits = (one.native for one in self.form if isinstance(one.native, NumberEdit))
        return any(not edit.text().strip() for edit in edits)


def tab_in_order(*parts: QWidget) -> None:
    """Let the tabulator go from field to field as they are read."""
    stops = (stop for part in parts for stop in _tab_stops(part))
    for before, after in pairwise(stops):
        QWidget.setTabOrder(before, after)


def _tab_stops(part: QWidget | QLayout) -> Iterator[QWidget]:
    """What the tabulator stops at, in the order in which it is read."""
    if isinstance(part, QScrollArea):
        part = part.widget() or part
    if isinstance(part, QTabWidget | QSplitter):  # without a layout
        bar = [part.tabBar()] if isinstance(part, QTabWidget) else []
        for inside in [*bar, *map(part.widget, range(part.count()))]:
            if inside is not None:
                yield from _tab_stops(inside)
        return
    layout = part if isinstance(part, QLayout) else part.layout()
    if layout is None:
        if isinstance(part, QWidget) and part.focusPolicy() & Qt.FocusPolicy.TabFocus:
            yield part
        return
    numbers = list(range(layout.count()))
    if isinstance(layout, QGridLayout):
        numbers.sort(key=lambda number: layout.getItemPosition(number)[:2])
    for number in numbers:
        item = layout.itemAt(number)
        for inner in (item.widget(), item.layout()) if item is not None else ():
            if inner is not None:  # not "or": a choice without entries is false
                yield from _tab_stops(inner)


def _field(ask: Ask, kind: Any, name: str, value: Any, viewer: Any) -> Any:
    """The widget of magicgui's for one field."""
    value = Undefined if value is None else value
    options: dict[str, Any] = {}
    combo = None
    if ask.choices is not None:
        kind, combo = str, "ComboBox"
        options["choices"] = [(words, key) for key, words in ask.choices.items()]
    elif ask.limits is not None:
        options = dict(zip(("min", "max", "step"), ask.limits, strict=True))
    if ask.layers or ask.widget or kind in (float, float | None):
        widget: Any = _own_field(ask, name, value, viewer)
    else:
        widget = create_widget(value, kind, name=name, options=options, widget_type=combo)
    native = described(widget.native, ask.spoken, ask.tooltip)
    native.is_of_image = ask.of_image
    without_wheel(native)
    if isinstance(native, QCheckBox):
        native.setText(ask.text or ask.name)
    elif isinstance(native, QComboBox) and ask.layers is None:
        native.setSizeAdjustPolicy(native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        native.setMinimumContentsLength(_SHORTEST)
    elif isinstance(native, QLineEdit):
        native.setPlaceholderText(as_example(ask.example))
        native.setAcceptDrops(False)
    return widget


def _own_field(ask: Ask, name: str, value: Any, viewer: Any) -> Any:
    """A Qt widget of ours, with the names of its getter, its setter and its signal."""
    make: Callable[..., QWidget]
    if ask.widget is not None:
        make, names = ask.widget, _OF_BOX
    elif ask.limits is not None:
        make, names = partial(DecimalBox, *ask.limits), _OF_BOX
    elif ask.layers is not None:
        make = partial(LayerChoice, viewer, ask.nothing, ask.layers, ask.opens_files)
        names = ("layer", "choose", "changed")
    else:
        make = partial(NumberEdit, ask.example, ask.is_wavelength)
        names = ("value", "set_value", "edited")
    how = {"make": make, "names": names}
    return ValueWidget(value, name=name, nullable=True, widget_type=_Own, backend_kwargs=how)


_OF_BOX = ("value", "setValue", "valueChanged")


def _text(widget: Any) -> str:
    """A value as it is remembered."""
    if isinstance(widget.native, NumberEdit):
        return widget.native.text()
    value = widget.value
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _take_text(widget: Any, text: str) -> None:
    """Take a value from how it was remembered; ValueError if it is none that fits."""
    native, now = widget.native, widget.value
    if isinstance(native, NumberEdit):
        native.setText(text)
        if native.is_text_wrong:
            native.set_value(None)
        else:
            native.set_value(native.value())
        native._meant = {None: {}}  # images of an earlier time
    elif isinstance(now, bool):
        widget.value = text == "1"
    elif isinstance(now, int | float):
        if not math.isfinite(float(text)):
            raise ValueError(text)
        widget.value = type(now)(text)
    else:
        widget.value = text


class _Own(QBaseValueWidget):
    """One of our own Qt widgets as one of magicgui's."""

    def __init__(self, make: Callable[..., QWidget], names: tuple[str, str, str], **more: Any):
        super().__init__(lambda **_: make(), *names, **more)  # type: ignore[arg-type]

    def _mgui_bind_change_callback(self, callback: Callable[[Any], object]) -> None:
        signal = getattr(self._qwidget, self._onchange_name)
        on(self._qwidget, signal, lambda: callback(self._mgui_get_value()))


class _Page(QWidget):
    """Where a form's lines stand."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: dict[str, QHBoxLayout] = {}

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Line up boxes, and the label within a line, first: fonts may have changed."""
        columns: defaultdict[int, list[QWidget]] = defaultdict(list)  # labels are in column -1
        for line in set(self.lines.values()):
            items = [line.itemAt(number) for number in range(line.count())]
            widgets = [widget for item in items if item is not None and (widget := item.widget())]
            labels = [one for one in widgets if isinstance(one, QLabel) and one.buddy()]
            if len(labels) == 1:
                columns[-1] += labels
            elif len(widgets) > 1 and all(isinstance(one, QCheckBox) for one in widgets):
                for number, box in enumerate(widgets):
                    columns[number].append(box)
        for column in columns.values():
            for widget in column:
                widget.ensurePolished()
            widest = max(widget.sizeHint().width() for widget in column)
            for widget in column:
                widget.setMinimumWidth(widest)
        return super().minimumSizeHint()


class _Lines(Container):
    """A line a field, its label in front of it; or several fields beside each other."""

    def __init__(self, asks: Mapping[str, Ask], parent: QWidget | None = None, **_: Any) -> None:
        QBaseWidget.__init__(self, _Page, parent=parent)
        assert isinstance(self._qwidget, _Page)
        self._asks, self.lines = asks, self._qwidget.lines
        self._layout = self._grid = QGridLayout(self._qwidget)  # type: ignore[assignment]
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(_GAP)
        self._grid.setHorizontalSpacing(_GAP + 2)
        self._grid.setColumnStretch(1, 1)
        self._grid.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.parts: dict[str, list[QWidget]] = {}
        self._rows: dict[str, int] = {}

    def _mgui_insert_widget(self, position: int, widget: Any) -> None:  # noqa: ARG002
        name, native = widget.name, widget.native
        ask, is_box = self._asks[name], isinstance(native, QCheckBox)
        words = ask.label if ask.label is not None else "" if is_box else ask.name
        label = QLabel(words) if words else None
        self.parts[name] = [native] if label is None else [label, native]
        if label is not None:
            label.setBuddy(native)
            on(label, widget.label_changed, lambda text: label.setText(text))
        self._begin(name, ask, label)
        line = self.lines[name]
        if is_box:  # at the left
            if not ask.beside:
                line.addStretch(1)
            line.insertWidget(line.count() - 1, native)
        else:
            is_number = isinstance(native, NumberEdit | QAbstractSpinBox)
            line.addWidget(native, 1 if is_number else 2 if isinstance(native, QComboBox) else 3)
        if ask.unit and isinstance(native, QDoubleSpinBox):
            native.setSuffix(f" {ask.unit}")
        elif ask.unit:
            self.parts[name].append(faint(ask.unit, wraps=False))
            line.addWidget(self.parts[name][-1])
        if ask.note:
            self.add_under(name, faint(ask.note))

    def add_under(self, name: str, widget: QWidget) -> None:
        """Put something under a line, and under what is there already."""
        row = self._rows[name] + 1
        item = self._grid.itemAtPosition(row, 0)
        column = item.layout() if item is not None else None
        if column is None:
            column = QVBoxLayout()
            self._grid.addLayout(column, row, 0, 1, 2)
        column.addWidget(widget)

    def _begin(self, name: str, ask: Ask, label: QLabel | None) -> None:
        """Begin a line, or go on with the one before, up to the label of a field."""
        if ask.beside:
            before = next(reversed(self.lines))
            self.lines[name], self._rows[name] = self.lines[before], self._rows[before]
            if label is not None:
                self.lines[name].addWidget(label)
            return
        row = 3 * len(set(self._rows.values()))  # a heading, the line, what is put under it
        if ask.heading:
            self._grid.addWidget(heading(ask.heading), row, 0, 1, 2)
        self.lines[name], self._rows[name] = QHBoxLayout(), row + 1
        self.lines[name].setSpacing(_GAP)
        if label is not None:
            self._grid.addWidget(label, row + 1, 0)
        self._grid.addLayout(self.lines[name], row + 1, int(label is not None), 1, -1)


def faint(text: str = "", *, wraps: bool = True, is_copied: bool = False) -> Words:
    """Words that are not as important as the rest; whether a person can copy them."""
    label = Words(text, wraps=wraps)
    label.setProperty("faint", True)
    if is_copied:
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
