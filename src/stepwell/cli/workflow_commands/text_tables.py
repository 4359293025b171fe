"""The forms of values on a terminal: rich texts and tables without markup, which control characters can't reach."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from io import StringIO
from typing import Final, TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from stepwell.cli.output import printable
from stepwell.contract.tasks import CostSums, Money
from stepwell.contract.workflows import ItemCounts, WorkflowPublic

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SPACE = re.compile(r"\s+")
_UNITS = ("kB", "MB", "GB", "TB")
_BAR_STYLE, _REST_STYLE = "green", "dim"
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


def line_text(text: str, style: str = "") -> Text:
    """Return *text* in one line, which is cut where the terminal ends. It can't control the terminal."""
    return Text(printable(_SPACE.sub(" ", text)), style=style, no_wrap=True, overflow="ellipsis")


def fit(text: Text, width: int, *, right: bool = False) -> Text:
    """Return *text* in exactly *width* columns: cut with an ellipsis, or padded."""
    text.truncate(width, overflow="ellipsis")
    text.align("right" if right else "left", width)
    return text


def items_text(items: ItemCounts) -> str:
    """Return how the items of a step stand, like "7 of 12 items, 2 failed"."""
    failed = f", {items.failed:,} failed" if items.failed else ""
    skipped = f", {items.skipped:,} skipped" if items.skipped else ""
    return f"{items.completed:,} of {items.total:,} items{failed}{skipped}"


def duration(seconds: float) -> str:
    """Return a duration like "4.2 s", "1 min 05 s", "2 h 03 min" or "3 d 04 h". A negative one counts as 0."""
    tenths = round(max(0.0, seconds) * 10)
    if tenths < _MINUTE * 10:
        return f"{tenths / 10:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02} h"


def duration_between(start: datetime | None, end: datetime | None) -> str:
    """Return the duration from *start* to *end*; an empty text if one of them isn't known."""
    return "" if start is None or end is None else duration((end - start).total_seconds())


def byte_size(size: int) -> str:
    """Return a size like "512 B" or "3.4 MB"."""
    if size < 1000:  # noqa: PLR2004 - the decimal unit
        return f"{size} B"
    power = min(len(_UNITS), (len(str(size)) - 1) // 3)
    if round(size / 1000**power, 1) >= 1000 and power < len(_UNITS):  # noqa: PLR2004
        power += 1
    return f"{size / 1000**power:.1f} {_UNITS[power - 1]}"


def exact_number(number: float | Decimal) -> str:
    """Return *number* in full, without an exponent and without zeros at its end."""
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def bar(progress: float, width: int) -> Text:
    """Return a bar that is filled to *progress*, between 0 and 1."""
    filled = min(width, max(0, int(progress * width + 1e-9)))
    return Text.assemble(("━" * filled, _BAR_STYLE), ("─" * (width - filled), _REST_STYLE))


def counted(number: int, noun: str) -> str:
    """Return "1 step" or "2 steps"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def console_for(stream: TextIO) -> Console:
    """Return a console. It has no colours if *stream* is no terminal, or if NO_COLOR is set."""
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def text_for(console: Console, content: RenderableType) -> str:
    """Return what *console* would print. A capture by rich would write to its stream."""
    text = StringIO()
    copy = Console(
        file=text, width=console.width, force_terminal=console.is_terminal, markup=False, emoji=False, highlight=False
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
    return plain(status, STATUS_STYLES.get(status, ""))


def workflow_status_text(workflow: WorkflowPublic) -> Text:
    """Return the status, and what the workflow waits for in brackets."""
    text = status_text(workflow.status)
    return text if workflow.waits_for is None else text + plain(f" ({workflow.waits_for})")


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
