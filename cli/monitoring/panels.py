"""A titled table of the page that keeps its place while its rows change."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import DataTable, Static

from cli.monitoring.rows import Table


class Rows(DataTable[Text]):
    """Whole rows are chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Details")]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0)


class Panel(Vertical):
    """Shows one Table. Enter on a row posts Chosen."""

    class Chosen(Message):
        """Somebody wants to know more of this model."""

        def __init__(self, model: str) -> None:
            super().__init__()
            self.model = model

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id)
        self.border_title = title
        self._shown = Table(())

    def compose(self) -> ComposeResult:
        yield Rows()
        yield Static(classes="empty")

    @property
    def table(self) -> Rows:
        return self.query_one(Rows)

    def show(self, table: Table) -> None:
        """Change what differs. The cursor stays on its row, wherever that moves."""
        if table.columns != self._shown.columns or list(table.rows) != list(self._shown.rows):
            self._rebuild(table)
        else:
            for key, cells in table.rows.items():
                for number, (cell, before) in enumerate(
                    zip(cells, self._shown.rows[key], strict=True)
                ):
                    if cell != before:
                        self.table.update_cell(key, str(number), Text(cell))
        self.query_one(Static).update(Text(table.empty))
        self.query_one(Static).display = not table.rows
        self.table.display = bool(table.rows)
        self._shown = table

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(self._shown.models[event.row_key.value or ""]))

    def _rebuild(self, table: Table) -> None:
        shown, keys = self.table, list(table.rows)
        before = list(self._shown.rows)
        cursor, scrolled = shown.cursor_row, shown.scroll_y
        under = before[cursor] if cursor < len(before) else None
        shown.clear(columns=True)
        for number, column in enumerate(table.columns):
            shown.add_column(
                Text(column.fit(column.title)), width=column.width + 1, key=str(number)
            )
        for key, cells in table.rows.items():
            shown.add_row(*(Text(cell) for cell in cells), key=key)
        if under in table.rows:
            shown.move_cursor(row=keys.index(under), scroll=False)
            place = scrolled + keys.index(under) - cursor
            # Until it was laid out again the table believes that it is empty.
            self.call_after_refresh(shown.scroll_to, y=place, animate=False)
