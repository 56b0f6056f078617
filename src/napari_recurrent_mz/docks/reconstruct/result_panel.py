"""Where a volume goes: to memory, or to a folder on the disk as it is made."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtWidgets import QCheckBox, QFileDialog, QSizePolicy

from ...core.scans import InputError
from ...io import check_output
from ...io._zarr import NGFF
from ..shared import settings
from ..shared.form import FormPanel, asked, faint
from ..shared.guard import on
from ..shared.layers import file_stem
from ..shared.parts import push_button

_GROUP = "result"
_NOT_IN_NAMES = r'[<>:"/\\|?*\x00-\x1f]'


@dataclass(frozen=True)
class ResultFields:
    """Whether volumes are written as they are made."""

    on_disk: bool = asked(
        "Write to disk",
        "Write the volume as OME-Zarr plane after plane, so that it need not fit in memory; its "
        "layer shows what is there",
        False,
    )
    ngff: str = asked(
        "OME-Zarr version",
        f"{NGFF[1]} is for programs that do not read {NGFF[0]}",
        NGFF[0],
        choices={version: version for version in NGFF},
    )


class ResultPanel(FormPanel):
    """A box to tick, and the folder in which volumes are written; it is remembered."""

    def __init__(self) -> None:
        super().__init__(ResultFields)
        self.on_disk: QCheckBox = self._form.on_disk.native
        self.choose = push_button("Folder…", "Choose the folder that volumes are written to")
        self.where = faint(wraps=False, is_copied=True)
        self.where.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._folder = settings.remembered(_GROUP, ("folder",)).get("folder", "")
        self._form.put_beside("on_disk", self.choose)
        self._form.put_under("on_disk", self.where)
        if (remembered := settings.remembered(_GROUP, ("ngff",)).get("ngff")) in NGFF:
            self._form.ngff.value = remembered
        self._show()
        on(self, self.on_disk.toggled, self._toggled)
        on(self, self.on_disk.clicked, self._clicked)
        on(self, self.choose.clicked, self._ask)

    @property
    def is_on_disk(self) -> bool:
        """Whether the volume is written as it is made."""
        return self.on_disk.isChecked()

    @property
    def ngff(self) -> str:
        """The version of OME-Zarr to write."""
        return str(self._form.ngff.value)

    @property
    def is_incomplete(self) -> bool:
        """Whether only the folder is missing, which is no mistake."""
        return self.is_on_disk and not self._folder

    def write_to(self, folder: Path, ngff: str | None = None) -> None:
        """Write volumes to this folder, as this version of OME-Zarr or the one chosen before."""
        self._folder = str(folder)
        self._form.ngff.value = ngff or self.ngff
        self._show()
        if self.is_on_disk:
            self.changed.emit()
        else:
            self.on_disk.setChecked(True)

    def output(self, name: str, taken: Collection[Path] = ()) -> Path:
        """The OME-Zarr folder for a volume of this name; what is there, or taken, stays."""
        if not self._folder:
            raise InputError("Choose the folder for the volume.")
        stem = file_stem(re.sub(_NOT_IN_NAMES, "_", name)) or "Volume"
        folder, number = Path(self._folder), 1
        path = folder / f"{stem}.ome.zarr"
        while path.exists() or path in taken:
            number += 1
            path = folder / f"{stem} ({number}).ome.zarr"
        return check_output(path, ngff=self.ngff)

    def remember(self) -> None:
        """Keep the folder for the next run."""
        settings.remember(_GROUP, {"folder": self._folder, "ngff": self.ngff})

    def _toggled(self) -> None:
        self._show()
        self.changed.emit()

    def _clicked(self, is_on: bool) -> None:
        if is_on and not self._folder:
            self._ask()

    def _ask(self) -> None:
        start = self._folder or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Write volumes to", start)
        if chosen:
            self.write_to(Path(chosen))

    def _show(self) -> None:
        for part in (self.choose, self.where):
            part.setVisible(self.is_on_disk)
        self._form.show_field("ngff", self.is_on_disk)
        self.where.setText(self._folder or "no folder chosen")
        self.where.setToolTip(self._folder)
