"""Artifacts, the output files of tasks: the grammar of their paths, and their media types.

A path is `media/<task id>/<name>`. The id is a UUID in its canonical form. The name consists of up to 100 ASCII
letters, digits, `.`, `_` and `-`, and begins with a letter or a digit. So a path can't contain `..`, a backslash, a
percent sign or NUL, it can't be absolute, and no two paths that look alike differ.
"""

import re
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

from msgspec import Raw, json

ARTIFACTS_ROOT = "media"
UNREAD_ANSWER = "unread-answer"  # the name of a provider's answer that a process has received and not used yet
MAX_NAMED_FILES: Final = 24
PREVIEW_WIDTHS: Final = (64, 256, 512, 1024)
UNCHECKED_UPLOAD = "unchecked-upload"  # the name of a file that a client has sent to a bucket, before it is examined
ARTIFACT_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

JSON: Final = "application/json"
TEXT: Final = "text/plain"

_PREFIX = ARTIFACTS_ROOT + "/"
_ENCODED_PREFIX = _PREFIX.encode()
_TASK_ID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_NONE: Final = frozenset[str]()
_PATH = re.compile(f"{_PREFIX}({_TASK_ID})/({ARTIFACT_NAME})")
# No word boundary stands before: in encoded JSON, a line feed before a path is "\n", which ends in an "n".
_MENTION = re.compile(f"{_PREFIX}({_TASK_ID})/")
# A string that is a path, and no key. A quote that belongs to a text has a backslash before it.
PATH_IN_JSON: Final = f'"({_PREFIX}{_TASK_ID}/{ARTIFACT_NAME})"'
"""The pattern of a string that is a path, also for PostgreSQL."""
TASK_IN_JSON: Final = _MENTION.pattern
"""The pattern of the id in a path, also in a longer text, for PostgreSQL."""
_STRING = re.compile(rf'(?<!\\)"({_PREFIX}{_TASK_ID}/{ARTIFACT_NAME})"(?!:)'.encode())
# Nothing in which a browser runs scripts is among these types: SVG and HTML are never displayed as pages.
MEDIA_TYPES: Final = {
    "image/png": ("png", "apng"),
    "image/jpeg": ("jpg", "jpeg"),
    "image/webp": ("webp",),
    "image/gif": ("gif",),
    "image/avif": ("avif",),
    "image/heic": ("heic",),
    "image/tiff": ("tiff", "tif"),
    "image/bmp": ("bmp",),
    "video/mp4": ("mp4", "m4v"),
    "video/webm": ("webm",),
    "video/quicktime": ("mov",),
    "video/x-matroska": ("mkv",),
    "video/x-msvideo": ("avi",),
    "video/mpeg": ("mpg", "mpeg"),
    "video/3gpp": ("3gp",),
    "audio/mpeg": ("mp3",),
    "audio/mp4": ("m4a",),
    "audio/wav": ("wav",),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/flac": ("flac",),
    "audio/aac": ("aac",),
    "audio/aiff": ("aiff", "aif"),
    "audio/amr": ("amr",),
}
"""The media types that files may be served with, each with the suffixes of such files. The first is the usual one."""

# Browsers never display these as pages: they are sent as attachments. An <img> shows an SVG, and runs no scripts in it.
_OTHER_TYPES = {"json": JSON, "txt": TEXT, "svg": "image/svg+xml"}
_TYPE_OF_SUFFIX = {suffix: media_type for media_type, suffixes in MEDIA_TYPES.items() for suffix in suffixes}


class ArtifactPath(NamedTuple):
    """The parts of an artifact's path. `folder` is the task's id as text."""

    folder: str
    name: str

    @property
    def prefix(self) -> str:
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
    return f"{_PREFIX}{task_id}/{name}"


def is_meant_as_artifact(reference: str) -> bool:
    """Return whether *reference*, a URL or path in an input, can only be meant as an artifact's path."""
    return reference.startswith(_PREFIX)


def named_tasks(*encoded: bytes) -> set[str]:
    """Return the ids of the tasks whose artifacts JSON values name, so that no cleanup deletes files they need.

    A path may be part of a longer text, such as a signed URL of Stepwell. *encoded* are values as msgspec encodes them,
    which leaves all characters of a path unchanged. So no value needs to be walked, whatever its depth. A request can
    have 390,000 ids: as text they take a fifth of a second, as UUIDs three times as long.
    """
    return {task_id for each in encoded if _ENCODED_PREFIX in each for task_id in _MENTION.findall(each.decode())}


def named_paths(encoded: bytes) -> frozenset[str]:
    """Return the paths of all artifacts that a JSON value names, also within longer texts."""
    return frozenset(match[0] for match in _PATH.finditer(encoded.decode())) if _ENCODED_PREFIX in encoded else _NONE


def named_files(encoded: bytes) -> list[tuple[str, str]]:
    """Return the artifacts that the members of a JSON object are or contain, at most `MAX_NAMED_FILES`.

    Each is the name of the member, and a path. A path in a longer text isn't among them. *encoded* is the object as
    msgspec encodes it. Its values aren't decoded: 64 KiB can have 30,000 of them.
    """
    found: dict[str, str] = {}  # the member, by path
    if _STRING.search(encoded) is None:
        return []
    for name, value in json.decode(encoded, type=dict[str, Raw]).items():
        for match in _STRING.finditer(value):
            if len(found) == MAX_NAMED_FILES:
                break
            found.setdefault(match[1].decode(), name)
    return [(name, path) for path, name in found.items()]


def media_type_of(path: str) -> str:
    """Return the media type of an image, a video or a sound, by the suffix of *path*; an empty text for other files."""
    return _TYPE_OF_SUFFIX.get(path.rpartition(".")[2].lower(), "")


def content_type_of(name: str) -> str:
    """Return the media type of a stored file, by the suffix of *name*."""
    return media_type_of(name) or _OTHER_TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def preview_path(path: str, width: int) -> str:
    """Return the path of the preview of the image at *path*: beside it, with a name that no attempt or upload has."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/preview-{width}-{sha256(name.encode()).hexdigest()[:16]}.webp"


def preview_paths(path: str) -> list[str]:
    """Return the paths of all previews that the file at *path* may have."""
    return [preview_path(path, width) for width in PREVIEW_WIDTHS] if is_image(path) else []


def is_image(path: str) -> bool:
    return media_type_of(path).startswith("image/")
