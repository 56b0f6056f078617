"""Several channels and time points: for which of them the same planes are reconstructed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from napari.layers import Image, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QTableWidgetItem
from superqt.utils import signals_blocked

from ...core.errors import counted, if_possible
from ...core.scans import InputError
from ..shared import layers as _layers
from ..shared.form import FormPanel, asked, faint, parse_wavelength_um
from ..shared.guard import on
from ..shared.parts import NumberTable
from ..shared.scan_table import Row, layers_of, rows_of

NAME, EMISSION = range(2)
ONE, ALL = "one", "all"
_MOST_ROWS = 4  # in sight
_ROW = 24  # pixels high


@dataclass(eq=False)
class Channel:
    """A channel whose planes can be scans: for each layer in the table, its own one."""

    layers: Mapping[int, weakref.ref[Image]]  # by the identity of the table's layer
    is_main: bool = False  # whether they are the table's own
    use: bool = False
    typed_um: float | None = None  # an emission wavelength that a person set
    known: dict[tuple[int, int], Row] = field(default_factory=dict)  # its rows, which keep scans

    def of(self, row: Row) -> Image:
        """The layer that stands in for that of a row."""
        image = self.layers[id(row.layer)]()
        if image is None:
            raise InputError("A layer of the channels was removed: look at their list again.")
        return image

    @property
    def first(self) -> Image | None:
        """The first of its layers, by which it is called."""
        return next(iter(self.layers.values()))()

    @property
    def name(self) -> str:
        """What to call it."""
        return "" if self.first is None else self.first.name

    @property
    def wavelength_um(self) -> float | None:
        """Emission wavelength: as typed, else as the file says it."""
        if self.typed_um is not None or self.first is None:
            return self.typed_um
        value = _layers.image_optics(self.first).get("wavelength_um")
        return None if value is None else float(value)

    def rows(self, rows: Iterable[Row]) -> list[Row]:
        """Its own rows: the same planes, at its own heights unless others were typed."""
        return [row if self.is_main else self._like(row) for row in rows]

    def _like(self, row: Row) -> Row:
        layer = self.of(row)
        own = self.known.setdefault((id(layer), row.plane), rows_of(layer, [row.plane])[0])
        own.look_again()
        if own.z_um is None or row.is_typed:
            own.z_um, own.origin = row.z_um, row.origin
        return own


def channels_of(rows: Sequence[Row], layers: Iterable[Layer]) -> list[Channel]:
    """The channels that these rows, and other layers that are open, are of; theirs comes first."""
    mains = layers_of(rows)
    if not mains:
        return []
    own = Channel(_references(mains, mains), is_main=True, use=True)
    others = [layer for layer in layers if not any(layer is main for main in mains)]
    fitting = [layer for layer in others if _is_like(layer, mains[0])]
    beside = list(_of_file(mains, fitting))
    if len(mains) == 1 and _layers.plane_count(mains[0]) > 1:  # else others may be scans, too
        taken = {id(channel.first) for channel in beside}
        loose = [layer for layer in fitting if id(layer) not in taken]
        beside += [Channel(_references(mains, [layer])) for layer in loose]
    return [own, *beside]


def _is_like(layer: Layer, main: Image) -> bool:
    """Whether the same planes of a layer can be scans."""
    image, shape = _scan_layer(layer), tuple(_layers.full_resolution(main).shape)
    return image is not None and tuple(_layers.full_resolution(image).shape) == shape


def _scan_layer(layer: Layer) -> Image | None:
    return if_possible(_layers.check_scan_layer, layer, times=True)


def _not_offered(main: Image, layers: Iterable[Layer]) -> str:
    """Why a stack like that of the scans is no channel beside it: it has other time points."""
    points, shape = _layers.frame_count(main), _layers.full_resolution(main).shape[-3:]
    for image in filter(None, map(_scan_layer, layers)):
        own = _layers.frame_count(image)
        if own != points and _layers.full_resolution(image).shape[-3:] == shape:
            return (
                f"'{image.name}' has {counted(own, 'time point')} and '{main.name}' {points}: "
                "it is offered as a channel once both have as many, so crop the longer one."
            )
    return ""


def _of_file(mains: Sequence[Image], layers: Sequence[Layer]) -> Iterator[Channel]:
    """The other channels of the images that the rows are of, each complete."""
    places = [_layers.channel_of(main) for main in mains]
    layer_at = {_layers.channel_of(layer): layer for layer in layers}
    images = [place[0] for place in places if place is not None]
    if len(set(images)) < len(mains):
        return
    numbers = sorted(
        {place[1] for place in layer_at if place is not None and place[0] == images[0]}
    )
    for number in numbers:
        own = [layer_at.get((image, number)) for image in images]
        if all(isinstance(layer, Image) for layer in own):
            yield Channel(_references(mains, own), use=True)


def _references(
    mains: Sequence[Image], own: Sequence[Layer | None]
) -> dict[int, weakref.ref[Image]]:
    pairs = zip(mains, own, strict=True)
    return {id(main): weakref.ref(one) for main, one in pairs if isinstance(one, Image)}


@dataclass(frozen=True)
class LapseFields:
    """Which time points are reconstructed."""

    times: str = asked(
        "Time points",
        "The time point that napari shows, or all of them, one after the other, into one layer "
        "with a slider for time",
        ONE,
        choices={ONE: "the one in view", ALL: "all, into one 4-D layer"},
    )


class ChannelsPanel(FormPanel):
    """A list of channels to tick, each with its emission wavelength; hidden where there is one."""

    def __init__(self) -> None:
        super().__init__(LapseFields)
        self.channels: list[Channel] = []
        self.frames = 1
        self._edited_ones = weakref.WeakKeyDictionary[Layer, Channel]()  # by their first layers
        self.table = _ChannelTable()
        self.times = self.form.times.native
        self.note = faint()
        self._column.insertWidget(0, self.table)
        self._column.addWidget(self.note)
        on(self, self.table.itemChanged, self._edited)
        on(self, self.form.changed, self.changed.emit)
        self.look([], [], None)

    def used(self) -> list[Channel]:
        """The channels to reconstruct, that of the table first."""
        return [channel for channel in self.channels if channel.use]

    def is_incomplete(self) -> bool:
        """Whether an emission wavelength is missing, which is no mistake."""
        return any(one.wavelength_um is None for one in self.used() if not one.is_main)

    @property
    def takes_all_times(self) -> bool:
        """Whether every time point is wanted."""
        return self.frames > 1 and self.form.times.value == ALL

    def look(
        self, rows: Sequence[Row], layers: Iterable[Layer], wavelength_um: float | None
    ) -> None:
        """Offer the channels and times of what is in the table."""
        layers = list(layers)
        self.channels = channels_of(rows, layers)
        for channel in self.channels[1:]:
            before = None if channel.first is None else self._edited_ones.get(channel.first)
            if before is not None:
                channel.use, channel.typed_um = before.use, before.typed_um
        first = self.channels[0].first if self.channels else None
        self.frames = 1 if first is None else _layers.frame_count(first)
        is_one_stack = bool(self.channels) and len(self.channels[0].layers) == 1
        self.note.say(_not_offered(first, layers) if first is not None and is_one_stack else "")
        self._show(wavelength_um)

    def _show(self, wavelength_um: float | None) -> None:
        self.table.show_channels(self.channels, wavelength_um)
        self.table.setVisible(len(self.channels) > 1)
        self.form.show_fields("times", self.frames > 1)
        self.setVisible(len(self.channels) > 1 or self.frames > 1 or bool(self.note.text()))

    def _edited(self, item: QTableWidgetItem) -> None:
        channel = self.channels[item.row()]
        if channel.first is not None:
            self._edited_ones[channel.first] = channel
        if item.column() == NAME:
            channel.use = item.checkState() == Qt.CheckState.Checked
        else:
            value = parse_wavelength_um(item.text())
            channel.typed_um = value if value and value > 0 else None
        self.changed.emit()


class _ChannelTable(NumberTable):
    """Channels: a tick and a name, and the emission wavelength."""

    def __init__(self) -> None:
        super().__init__(
            "Channels",
            "The channels of which the same planes are reconstructed, one volume each",
            ["The same planes of", "Emission µm"],
            _ROW,
        )
        self.rows.hide()
        self.header.setFixedHeight(_ROW)  # in every theme
        self.header.setHighlightSections(False)
        self.header.setSectionResizeMode(EMISSION, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(EMISSION, 96)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def show_channels(self, channels: Sequence[Channel], wavelength_um: float | None) -> None:
        """Show them; that of the scan table has its wavelength under Optics."""
        with signals_blocked(self):
            self.setRowCount(len(channels))
            for row, channel in enumerate(channels):
                value = wavelength_um if channel.is_main else channel.wavelength_um
                for column, item in enumerate(_items(channel, value)):
                    self.setItem(row, column, item)
        shown = min(len(channels), _MOST_ROWS)
        self.setFixedHeight(_ROW * (1 + shown) + 4)


def _items(channel: Channel, wavelength_um: float | None) -> tuple[QTableWidgetItem, ...]:
    """The cells of one channel."""
    name, emission = QTableWidgetItem(channel.name), QTableWidgetItem()
    selectable = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
    name.setCheckState(Qt.CheckState.Checked if channel.use else Qt.CheckState.Unchecked)
    name.setToolTip(f"Tick to reconstruct the same planes of “{channel.name}”, too")
    name.setFlags(selectable | Qt.ItemFlag.ItemIsUserCheckable)
    emission.setText("⚠ type it" if wavelength_um is None else f"{wavelength_um:.6g}")
    emission.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    emission.setToolTip(
        "Emission wavelength of this channel in µm; 519 or 519 nm is understood as 0.519 µm. "
        "Double-click to change"
    )
    emission.setFlags(selectable | Qt.ItemFlag.ItemIsEditable)
    if channel.is_main:
        name.setFlags(selectable)
        name.setToolTip("The channel of the scans in the table above")
        emission.setFlags(selectable)
        emission.setToolTip("Type it below, under Optics")
        emission.setText("under Optics" if wavelength_um is None else f"{wavelength_um:.6g}")
    return name, emission
