"""The blocks of code in Markdown text, with the notes that the tests of README and manual read.

A note is an HTML comment on the line before a block: `<!-- not run: why -->` for a block of which only the syntax is
checked, `<!-- settings -->` for exports that the service is started with, `<!-- tool: name -->` for the arguments of a
tool that an assistant calls.
"""

import re
from typing import NamedTuple

_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A block of code: its language ("" for a diagram), its text, and its note ("" if there is none)."""

    language: str
    text: str
    note: str

    @property
    def is_run(self) -> bool:
        """True for what the tests paste into a shell."""
        return self.language == "sh" and not self.note


def blocks_of(markdown: str) -> list[Block]:
    """Return the blocks of *markdown* in their order."""
    return [Block(each["language"], each["text"], each["note"] or "") for each in _BLOCK.finditer(markdown)]


def shell_text(markdown: str) -> str:
    """Return the lines that a user pastes: all shell blocks that are run, one after the other."""
    return "".join(block.text for block in blocks_of(markdown) if block.is_run)


def file_texts(markdown: str) -> dict[str, str]:
    """Return the files of which *markdown* has the parts, by name."""
    files: dict[str, str] = {}
    for block in blocks_of(markdown):
        if block.note.startswith("file: "):
            name = block.note.removeprefix("file: ")
            files[name] = files.get(name, "") + block.text
    return files
