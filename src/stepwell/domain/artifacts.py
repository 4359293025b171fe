"""Artifacts, the output files of tasks: the grammar of their paths, and their media types.

A path is `media/<task id>/<name>`. The id is a UUID in its canonical form. The name consists of up to 100 ASCII
letters, digits, `.`, `_` and `-`, and begins with a letter or a digit. So a path can't contain `..`, a backslash, a
percent sign or NUL, it can't be absolute, and no two paths that look alike differ.
"""

import re
from typing import NamedTuple
from uuid import UUID

ARTIFACTS_ROOT = "media"
UNREAD_ANSWER = "unread-answer"  # the name of a provider's answer that a process has received and not used yet
ARTIFACT_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

_PREFIX = ARTIFACTS_ROOT + "/"
_TASK_ID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_PATH = re.compile(f"{_PREFIX}({_TASK_ID})/({ARTIFACT_NAME})")
# No word boundary stands before: in encoded JSON, a line feed before a path is "\n", which ends in an "n".
_MENTION = re.compile(f"{_PREFIX}({_TASK_ID})/")
_MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
}


class ArtifactPath(NamedTuple):
    """The parts of an artifact's path. `folder` is the task's id as text."""

    folder: str
    name: str

    @property
    def prefix(self) -> str:
        """The path of the task's folder."""
        return _PREFIX + self.folder

    @property
    def task_id(self) -> UUID:
        return UUID(self.folder)

    def __str__(self) -> str:
        return f"{_PREFIX}{self.folder}/{self.name}"


def parse_artifact_path(path: str) -> ArtifactPath | None:
    """Return the parts of *path*, or None if it isn't an artifact's."""
    match = _PATH.fullmatch(path)
    return ArtifactPath(match[1], match[2]) if match else None


def artifact_path(task_id: UUID, name: str) -> str:
    """Return the path of the file *name* of a task."""
    return f"{_PREFIX}{task_id}/{name}"


def is_meant_as_artifact(reference: str) -> bool:
    """Return whether *reference*, a URL or path in an input, can only be meant as an artifact's path."""
    return reference.startswith(_PREFIX)


def named_tasks(encoded: str) -> set[str]:
    """Return the ids of the tasks whose artifacts a JSON value names, so that no cleanup deletes files it needs.

    A path may be part of a longer text, such as a signed URL of Stepwell. *encoded* is the value as msgspec encodes it,
    which leaves all characters of a path unchanged. So the value needn't be walked, whatever its depth. A request has
    room for 390,000 ids: as text they take a fifth of a second, as UUIDs three times as long.
    """
    return set(_MENTION.findall(encoded)) if _PREFIX in encoded else set()


def media_type_of(path: str) -> str:
    """Return the media type of an image or a video, by the suffix of *path*; an empty text for other files."""
    return _MEDIA_TYPES.get(path.rpartition(".")[2].lower(), "")
