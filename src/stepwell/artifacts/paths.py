"""The paths that the store accepts. It checks every path by `parse` before it touches a file.

A path is `media/<task id>/<name>`. The id is a UUID in its canonical form. The name consists of up to 100 ASCII
letters, digits, `.`, `_` and `-`, and begins with a letter or a digit. So a path can't contain `..`, a backslash, a
percent sign or NUL, it can't be absolute, and no two paths that look alike differ.
"""

import re
from typing import NamedTuple

ROOT = "media"
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
# What a crash may leave behind: our staged file, and obstore's own staging of any file ("name#1").
_STAGED = rf"\.part-[0-9a-f]{{32}}(?:#[0-9]{{1,9}})?|{_NAME}#[0-9]{{1,9}}"

_FINISHED_PATH = re.compile(f"{ROOT}/({_UUID})/({_NAME})")
_ANY_PATH = re.compile(f"{ROOT}/({_UUID})/({_NAME}|{_STAGED})")


class ArtifactPath(NamedTuple):
    """A path that was checked. `folder` is the task's id as text."""

    folder: str
    name: str

    @property
    def prefix(self) -> str:
        return f"{ROOT}/{self.folder}"

    def __str__(self) -> str:
        return f"{ROOT}/{self.folder}/{self.name}"


def parse(path: str, *, staged: bool = False) -> ArtifactPath | None:
    """*path* taken apart, or None if it can't be an artifact's. *staged*: left-overs of a crash count too."""
    match = (_ANY_PATH if staged else _FINISHED_PATH).fullmatch(path)
    return ArtifactPath(match[1], match[2]) if match else None
