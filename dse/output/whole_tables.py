"""Tables that cut nothing: names and numbers stay whole, however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding, PaddingDimensions
from rich.table import Column, Table
from rich.text import Text

LEAST_OF_PROSE = 24
"""A column of prose is not made narrower than its longest word, or than this [characters]: longer words are folded."""


class WholeTable(Table):
    """rich's table in the one style of this package, whose cells are never cut.

    Columns that may wrap do so between words where room is short; columns ``no_wrap`` and columns of numbers (to the
    right) never do.  Where that does not suffice, the columns of `spare` are left out, the first first, and a line says
    so.  Where it still does not, each row stands as a list, a cell a line.

    Parameters
    ----------
    spare : heads of the columns that can be missed.
    """

    def __init__(
        self,
        title: str | None = None,
        show_header: bool = True,
        padding: PaddingDimensions = (0, 1),
        spare: Iterable[str] = (),
    ) -> None:
        super().__init__(title=title, title_style="bold", box=None, pad_edge=False, show_header=show_header,
                         padding=padding)  # fmt: skip
        self.spare = tuple(spare)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as there is room: the table finds its own width."""
        return Measurement(options.max_width, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Title, table or lists, and what is left out."""
        if self.title:
            yield Text.from_markup(str(self.title), style="bold")
        kept, left = list(self.columns), list[Column]()
        for head in self.spare:
            if self._width(map(_least, kept), kept) <= options.max_width:
                break
            gone = [column for column in kept if str(column.header) == head]
            kept, left = [column for column in kept if column not in gone], left + gone
        if self._width(map(_least, kept), kept) > options.max_width:
            yield from self._as_lists()
            return
        yield self._as_table(kept, options.max_width)
        if left:
            names = ", ".join(" ".join(str(column.header).split()) for column in left)
            yield Text(f"({options.max_width} columns are too few for: {names})")

    def _width(self, widths: Iterable[int], columns: Sequence[Column]) -> int:
        gap = self.padding[1] + self.padding[3]
        return sum(widths) + gap * (len(columns) - 1)

    def _as_table(self, columns: Sequence[Column], room: int) -> Table:
        """The table of some columns, each at the width that it gets."""
        least, most = [*map(_least, columns)], [*map(_most, columns)]
        rest, wanted = room - self._width(least, columns), sum(most) - sum(least)
        share = 1.0 if wanted <= rest else rest / wanted
        widths = [low + int(share * (high - low)) for low, high in zip(least, most, strict=True)]
        table = Table(box=None, pad_edge=False, show_header=self.show_header, padding=self.padding)
        for column, width in zip(columns, widths, strict=True):
            table.add_column(_text(column.header), justify=column.justify, width=width, overflow="fold")
        for i, row in enumerate(self.rows):
            cells = [_text(column._cells[i]) for column in columns]
            table.add_row(*cells, style=row.style, end_section=row.end_section)
        return table

    def _as_lists(self) -> Iterable[RenderableType]:
        """Each row: its first cell, and below it the others by the heads of their columns."""
        for i in range(len(self.rows)):
            first, *others = (" ".join(_text(column._cells[i]).plain.split()) for column in self.columns)
            yield Text(first)
            for column, cell in zip(self.columns[1:], others, strict=True):
                if cell:
                    head = " ".join(_text(column.header).plain.split())
                    yield Padding(Text(f"{head}: {cell}" if head else cell), (0, 0, 0, 2))


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))


def _lines(column: Column) -> list[str]:
    """The lines of all cells of a column."""
    return [line for cell in column._cells for line in _text(cell).plain.split("\n")]


def _most(column: Column) -> int:
    """Width at which nothing of a column wraps [characters]."""
    return max(cell_len(line) for line in [*_lines(column), *_text(column.header).plain.split("\n")])


def _least(column: Column) -> int:
    """Width below which a number or a name would be cut or torn [characters]."""
    head = max((cell_len(word) for word in _text(column.header).plain.split()), default=0)
    if column.no_wrap or column.justify == "right":
        return max(head, *(cell_len(line) for line in _lines(column)), 0)
    words = (cell_len(word) for line in _lines(column) for word in line.split())
    return max(head, min(max(words, default=0), LEAST_OF_PROSE))
