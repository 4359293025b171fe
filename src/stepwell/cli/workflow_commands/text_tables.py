"""Tables and values for people: rich renderables without markup, which control characters can't reach."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO
from typing import Final, TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from stepwell.cli.output import printable
from stepwell.cli.workflow_commands.text_formats import exact_number
from stepwell.contract.tasks import CostSums, Money

_GAP = "  "
_WIDE = 10_000  # the width where the output is no terminal, so that no value is cut
STATUS_STYLES: Final = {
    "COMPLETED": "green",
    "FAILED": "red",
    "RUNNING": "cyan",
    "PAUSED": "yellow",
    "CANCELLED": "magenta",
    "SKIPPED": "dim",
    "PENDING": "",
}
NONE: Final = "-"


def console_for(stream: TextIO) -> Console:
    """Return a console. It has no colours if *stream* is no terminal, or if NO_COLOR is set."""
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def text_for(console: Console, content: RenderableType) -> str:
    """Return what *console* would print. A capture by rich would write to its stream."""
    text = StringIO()
    copy = Console(
        file=text,
        width=console.width,
        force_terminal=console.is_terminal,
        markup=False,
        emoji=False,
        highlight=False,
    )
    copy.print(content, crop=False)  # rich would cut long lines off; the terminal wraps them
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip("\n").split("\n"))


def shows_live(console: Console) -> bool:
    """True if *console* is a terminal on which a display can be drawn again and again."""
    return console.is_terminal and not console.is_dumb_terminal


def plain(value: object, style: str = "") -> Text:
    """Return *value* as a text that can't control the terminal. None is "-"."""
    return Text(NONE if value is None else printable(str(value)), style=style)


def status_text(status: str) -> Text:
    """Return a status in its colour."""
    return plain(status, STATUS_STYLES.get(status, ""))


class ColumnTable:
    """A table without lines, as a rich renderable. It is written fast if no cell must be folded, as in a pipe."""

    def __init__(
        self,
        headings: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        numbers: Sequence[str] = (),
        whole: Sequence[str] = (),
    ) -> None:
        self._right = [heading in numbers for heading in headings]
        self._whole = [heading in whole or heading in numbers for heading in headings]
        self._rows = [[cell if isinstance(cell, Text) else plain(cell) for cell in row] for row in rows]
        self._headings = [Text(heading, "bold") for heading in headings]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, the headings first."""
        rows = [self._headings, *self._rows]
        widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
        simple = all(not cell.spans and "\n" not in cell.plain for row in rows for cell in row)
        if not simple or sum(widths) + len(_GAP) * (len(widths) - 1) > options.max_width:
            yield self._folded()
            return
        for row in rows:
            for i, (cell, width, right) in enumerate(zip(row, widths, self._right, strict=True)):
                space = " " * (width - cell.cell_len)
                style = console.get_style(cell.style)
                yield Segment((_GAP if i else "") + (space if right else ""))
                yield Segment(cell.plain, style)
                yield Segment("" if right else space)
            yield Segment.line()

    def _folded(self) -> Table:
        content = Table(box=None, pad_edge=False)
        for heading, right, whole in zip(self._headings, self._right, self._whole, strict=True):
            content.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=whole)
        for row in self._rows:
            content.add_row(*row)
        return content


def table(
    *headings: str, rows: Iterable[Sequence[object]], numbers: Sequence[str] = (), whole: Sequence[str] = ()
) -> ColumnTable:
    """Return a table without lines. The columns named in *numbers* are aligned to the right. They and those in *whole*
    are never folded.
    """
    return ColumnTable(headings, rows, numbers=numbers, whole=whole)


def properties(rows: Iterable[tuple[str, object]]) -> Table:
    """Return a table of names and values, without those that are None."""
    content = Table(box=None, pad_edge=False, show_header=False)
    content.add_column(style="dim")
    content.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            content.add_row(plain(name), value if isinstance(value, Text) else plain(value))
    return content


def time_text(time: datetime | None) -> str:
    """Return a time in the zone of this machine, to the second; "-" if there is none."""
    return NONE if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def money_text(money: Money | None) -> str:
    """Return an amount with its currency; "-" if it isn't known."""
    return NONE if money is None else f"{exact_number(money.amount)} {money.currency}"


def cost_text(cost: CostSums | None) -> str:
    """Return the sums of the costs of attempts; "?" stands for attempts whose cost isn't known."""
    if cost is None:
        return NONE
    parts = [money_text(money) for money in cost.amounts]
    return " + ".join([*parts, *(["?"] if cost.unknown_attempts else [])]) or NONE
