"""The part of the Live dock where scans come from: by hand, a watched folder, the microscope."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...acquisition.acquisition import MAX_SCANS
from ...core.scans import InputError
from ..shared import settings as _settings
from ..shared.fields import NumberEdit
from ..shared.guard import on
from ..shared.parts import push_button

HAND, FOLDER, MICROSCOPE = range(3)
MICRO_MANAGER, SIMULATED = "micro-manager", "simulated"

GROUP = "live"
_NAMES = (
    *("source", "folder", "pattern", "existing", "scope", "low", "high", "most", "afterwards"),
)


class SourceRows(QStackedWidget):
    """What is done again and again while scans come, a row for each source."""

    def __init__(self) -> None:
        super().__init__()
        self.height_um = NumberEdit(
            "height of the next scan",
            "Height of the scan in µm, where the image does not say it; else leave it empty",
            "z from the image",
        )
        self.add = push_button(
            "Add selected layer",
            "Take the selected image as a scan; of a stack, the plane in view",
        )
        self.here = push_button("Scan here", "Take a scan where the stage stands now")
        self.there = push_button(
            "Scan at next z", "Move to where another scan should help most, and scan there"
        )
        self.folder = _faint("")
        self.stage = _faint("")
        for parts, words in (
            ((self.height_um, self.add), _faint("Or drop TIFF files anywhere on this dock.")),
            ((), self.folder),
            ((self.here, self.there), self.stage),
        ):
            page = QWidget()
            column, line = _column(page), QHBoxLayout()
            for part in parts:
                line.addWidget(part, 1)
            column.addLayout(line)
            column.addWidget(words)
            self.addWidget(page)


class FolderPage(QWidget):
    """The folder, which files are scans, and whether those that are there are."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = _line_edit(
            "Folder", "The folder that your acquisition software writes TIFFs to", "a folder"
        )
        self.choose = QToolButton()
        self.choose.setText("…")
        self.choose.setAccessibleName("Choose the folder")
        self.choose.setToolTip("Choose the folder")
        on(self, self.choose.clicked, self._ask)
        self.pattern = _line_edit(
            "Pattern",
            "Which files are scans, and where the height stands in their names: * is anything, "
            "{z} the height; empty: every TIFF, its height from its metadata or name",
            "*_z{z}um*.tif, or empty",
        )
        self.existing = QCheckBox("The files that are there too")
        self.existing.setAccessibleName("The files that are there too")
        self.existing.setToolTip("Take the files that are in the folder already, then new ones")
        self.existing.setChecked(True)
        grid = QGridLayout()
        grid.setVerticalSpacing(4)
        for row, (text, part) in enumerate((("Folder", self.folder), ("Pattern", self.pattern))):
            label = QLabel(text)
            label.setBuddy(part)
            grid.addWidget(label, row, 0)
            grid.addWidget(part, row, 1)
        grid.addWidget(self.choose, 0, 2)
        column = _column(self)
        column.addLayout(grid)
        column.addWidget(self.existing)
        column.addStretch(1)

    def path(self) -> Path:
        """The folder.

        Raises
        ------
        InputError
            If none is given.
        """
        text = self.folder.text().strip()
        if not text:
            raise InputError("No folder is given: choose the one that scans are written to.")
        return Path(text).expanduser()

    def lock(self, is_watching: bool) -> None:
        """While the folder is watched, it cannot be another one."""
        for part in (self.folder, self.choose, self.pattern, self.existing):
            part.setEnabled(not is_watching)

    def _ask(self) -> None:
        start = self.folder.text() or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Watch a folder", start)
        if chosen:
            self.folder.setText(chosen)


class MicroscopePage(QWidget):
    """Connection, limits of the stage, and limits of an automatic run."""

    def __init__(self) -> None:
        super().__init__()
        self.which = QComboBox()
        self.which.setAccessibleName("Microscope")
        self.which.setToolTip("Micro-Manager as it runs in this napari, or a simulated microscope")
        self.which.addItem("Micro-Manager", MICRO_MANAGER)
        self.which.addItem("Simulated", SIMULATED)
        self.connect_button = push_button(
            "Connect", "Use the camera and the focus drive that are loaded"
        )
        self.low = NumberEdit(
            "lower limit of z", "The stage is never sent below this height, in µm", "lowest"
        )
        self.high = NumberEdit(
            "upper limit of z", "The stage is never sent above this height, in µm", "highest"
        )
        self.most = QSpinBox()
        self.most.setRange(1, 100)
        self.most.setValue(MAX_SCANS)
        self.most.setAccessibleName("Most scans")
        self.most.setToolTip("An automatic run takes at most so many scans")
        self.afterwards = QComboBox()
        self.afterwards.setAccessibleName("Afterwards")
        self.afterwards.setToolTip("Where an automatic run leaves the stage, also when aborted")
        self.afterwards.addItem("then return", "return")
        self.afterwards.addItem("then stay", "stay")
        self.state = _faint("Not connected.")
        self._lay_out()

    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest height that the stage may be sent to.

        Raises
        ------
        InputError
            If one is missing.
        """
        low, high = self.low.value(), self.high.value()
        if low is None or high is None:
            raise InputError(
                "The limits of z are missing: type the lowest and the highest height that the "
                "stage may be sent to, in µm."
            )
        return low, high

    def _lay_out(self) -> None:
        most = QLabel("At most")
        most.setBuddy(self.most)
        for combo in (self.which, self.afterwards):
            combo.setSizeAdjustPolicy(combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(8)
        column = _column(self)
        for parts in (
            (self.which, self.connect_button),
            (QLabel("z limits (µm)"), self.low, QLabel("to"), self.high),
            (most, self.most, QLabel("scans,"), self.afterwards),
        ):
            line = QHBoxLayout()
            for part in parts:
                line.addWidget(part, 0 if isinstance(part, QLabel) else 1)
            column.addLayout(line)
        column.addWidget(self.state)


class SourcePanel(QWidget):
    """Which source, and what it needs; :attr:`rows` is what is done with it."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice = QComboBox()
        self.choice.setAccessibleName("Scans come")
        self.choice.setToolTip("Where scans come from; files can always be dropped on the dock")
        self.choice.addItems(["by hand", "from a watched folder", "from the microscope"])
        self.folder, self.microscope = FolderPage(), MicroscopePage()
        self.rows = SourceRows()
        self.pages = QStackedWidget()
        hint = _faint("Select an image in the layer list and add it, or drop TIFF files here.")
        for page in (hint, self.folder, self.microscope):
            self.pages.addWidget(page)
        label = QLabel("Scans come")
        label.setBuddy(self.choice)
        line = QHBoxLayout()
        line.addWidget(label)
        line.addWidget(self.choice, 1)
        column = _column(self)
        column.addLayout(line)
        column.addWidget(self.pages)
        on(self, self.choice.currentIndexChanged, self._chosen)
        self._restore()

    @property
    def source(self) -> int:
        """``HAND``, ``FOLDER`` or ``MICROSCOPE``."""
        return self.choice.currentIndex()

    def remember(self) -> None:
        """Keep everything for the next session."""
        folder, scope = self.folder, self.microscope
        values = (
            self.source, folder.folder.text(), folder.pattern.text(),
            int(folder.existing.isChecked()), scope.which.currentData(), scope.low.text(),
            scope.high.text(), scope.most.value(), scope.afterwards.currentData(),
        )  # fmt: skip
        pairs = zip(_NAMES, values, strict=True)
        _settings.remember(GROUP, {name: str(value) for name, value in pairs})

    def _restore(self) -> None:
        found = _settings.remembered(GROUP, _NAMES)
        folder, scope = self.folder, self.microscope
        folder.folder.setText(found.get("folder", ""))
        folder.pattern.setText(found.get("pattern", ""))
        folder.existing.setChecked(found.get("existing", "1") == "1")
        for name, edit in (("low", scope.low), ("high", scope.high)):
            edit.setText(found.get(name, ""))
            edit.set_value(edit.value())
        if found.get("most", "").isdigit():
            scope.most.setValue(int(found["most"]))
        for name, combo in (("scope", scope.which), ("afterwards", scope.afterwards)):
            combo.setCurrentIndex(max(combo.findData(found.get(name, "")), 0))
        if found.get("source", "") in ("1", "2"):
            self.choice.setCurrentIndex(int(found["source"]))

    def _chosen(self, number: int) -> None:
        self.pages.setCurrentIndex(number)
        self.rows.setCurrentIndex(number)
        self.changed.emit()


def _column(owner: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(owner)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(4)
    return column


def _faint(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("faint", True)
    label.setWordWrap(True)
    return label


def _line_edit(name: str, tooltip: str, example: str) -> QLineEdit:
    edit = QLineEdit()
    edit.setAccessibleName(name)
    edit.setToolTip(tooltip)
    edit.setPlaceholderText(example)
    edit.setAcceptDrops(False)
    return edit
