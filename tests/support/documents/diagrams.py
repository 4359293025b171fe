"""Diagrams of box-drawing characters: whether their lines meet."""

from collections.abc import Mapping

_UP, _DOWN, _LEFT, _RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
_ENDS: Mapping[str, frozenset[tuple[int, int]]] = {
    "─": frozenset({_LEFT, _RIGHT}),
    "│": frozenset({_UP, _DOWN}),
    "┌": frozenset({_DOWN, _RIGHT}),
    "┐": frozenset({_DOWN, _LEFT}),
    "└": frozenset({_UP, _RIGHT}),
    "┘": frozenset({_UP, _LEFT}),
    "├": frozenset({_UP, _DOWN, _RIGHT}),
    "┤": frozenset({_UP, _DOWN, _LEFT}),
    "┬": frozenset({_DOWN, _LEFT, _RIGHT}),
    "┴": frozenset({_UP, _LEFT, _RIGHT}),
    "┼": frozenset({_UP, _DOWN, _LEFT, _RIGHT}),
}
_HEADS = {"▲": _DOWN, "▼": _UP, "◄": _RIGHT, "►": _LEFT}  # where the line of an arrow is


def loose_ends(diagram: str) -> list[tuple[int, int]]:
    """Return line and column, from 1, of each line end that meets no other line, no arrowhead and no text."""
    lines = diagram.splitlines()

    def at(row: int, column: int) -> str:
        return lines[row][column] if 0 <= row < len(lines) and 0 <= column < len(lines[row]) else " "

    loose = []
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            for down, right in _ENDS.get(character, ()):
                other = at(row + down, column + right)
                meets = (-down, -right) in _ENDS[other] if other in _ENDS else other != " "
                if not meets:
                    loose.append((row + 1, column + 1))
            if character in _HEADS:
                down, right = _HEADS[character]
                if (-down, -right) not in _ENDS.get(at(row + down, column + right), frozenset()):
                    loose.append((row + 1, column + 1))
    return loose
