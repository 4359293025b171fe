"""The names of outputs in folders: of files, and of the steps and items that lead to them.

What must hold:
- A name is one part of a path. It has only `[A-Za-z0-9._%~-]` and at most 100 bytes, and is neither "." nor "..".
- Two names in one folder differ, also where upper and lower case are the same.
- The same names in the same order give the same result.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

_MAX_BYTES: Final = 100
_NUMBER_BYTES: Final = 6  # "~" and five digits: a definition has at most 10,000 steps
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]+")
_PATH: Final = re.compile(r"(?!\.{1,2}(/|$))[A-Za-z0-9._%~-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._%~-]+)*")


class StepOrItem(NamedTuple):
    """A part of a step path: a step, and the index of an item if the step has items."""

    step_id: str
    item: int | None


DefinitionKey: TypeAlias = tuple[str, ...]
"""The ids of the steps that lead from a root to a definition. All sub-workflows of a step have the same definition."""


def encode_name(name: str, max_bytes: int = _MAX_BYTES) -> str:
    """Return *name* with all unsafe characters percent-encoded, cut between two characters to *max_bytes*."""
    if name in (".", ".."):
        return name.replace(".", "%2E")
    if _SAFE.fullmatch(name):
        return name[:max_bytes]
    encoded = ""
    for character in name[:max_bytes]:
        part = character if _SAFE.match(character) else "".join(f"%{byte:02X}" for byte in character.encode())
        if len(encoded) + len(part) > max_bytes:
            break
        encoded += part
    return encoded


class FolderNames:
    """Makes the names of one folder, one after the other. One that is taken gets `~2`, `~3`…"""

    def __init__(self) -> None:
        self._taken, self._numbers = set[str](), Counter[str]()

    def add(self, name: str) -> str:
        """Return the name of the next file or folder, which is called *name* outside of the folder."""
        encoded = encode_name(name)
        if encoded.lower() in self._taken:
            stem = encode_name(name, _MAX_BYTES - _NUMBER_BYTES)
            self._numbers[stem.lower()] += 1
            encoded = f"{stem}~{self._numbers[stem.lower()] + 1}"
        self._taken.add(encoded.lower())
        return encoded


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names of one folder for *names*."""
    folder = FolderNames()
    return [folder.add(name) for name in names]


class StepPaths:
    """Makes the paths of steps. *step_ids* has the steps of each definition in their order."""

    def __init__(self, step_ids: Mapping[DefinitionKey, Sequence[str]]) -> None:
        self._names = {key: dict(zip(ids, unique_names(ids), strict=True)) for key, ids in step_ids.items()}

    def path(self, steps: Sequence[StepOrItem]) -> str:
        """Return the path of the last of *steps*, which the others lead to."""
        parts, key = list[str](), DefinitionKey()
        for step in steps:
            parts.append(self._names[key][step.step_id])
            if step.item is not None:
                parts.append(str(step.item))
            key = (*key, step.step_id)
        return "/".join(parts)


def is_step_path(text: str) -> bool:
    """Return whether *text* can be a path of a step, so that it is safe as the path of a folder."""
    return _PATH.fullmatch(text) is not None


def is_below(step_path: str, step: str) -> bool:
    """Return whether *step_path* is that of *step*, which is a path or an id, or of something below it."""
    return any(step_path == path or step_path.startswith(f"{path}/") for path in (step, encode_name(step)))
