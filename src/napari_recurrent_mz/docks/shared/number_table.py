"""A table of numbers, as several docks show one."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget
from superqt.utils import signals_blocked


class NumberTable(QTableWidget):
    """Columns of equal width, of texts that are aligned to the right."""

    def __init__(
        self, name: str, tooltip: str, columns: Sequence[str], row_height: int,
        parent: QWidget | None = None,
    ) -> None:  # fmt: skip
        super().__init__(0, len(columns), parent)
        self.setAccessibleName(name)
        self.setToolTip(tooltip)
        self.setHorizontalHeaderLabels(columns)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert header is not None
        self.rows, self.header, self.row_height = rows, header, row_height
        rows.setDefaultSectionSize(row_height)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)

    def only_show(self) -> None:
        """Let nothing be typed, and show no numbers of rows."""
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.rows.hide()
        self.header.setHighlightSections(False)

    def show_rows(self, texts: Sequence[Sequence[str]]) -> None:
        """Show these rows, and no others."""
        with signals_blocked(self):
            self.setRowCount(len(texts))
            for row, cells in enumerate(texts):
                for column, text in enumerate(cells):
                    item = QTableWidgetItem(text)
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                    self.setItem(row, column, item)

    def fit_rows(self, count: int) -> None:
        """Be as high as the header and so many rows."""
        self.setFixedHeight(self.header.sizeHint().height() + self.row_height * count + 4)
