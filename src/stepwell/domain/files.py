"""What kind of file a path names. Names are our own or a provider's table's, so the ending says it."""

_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
}


def media_type_of(path: str) -> str:
    """Of a picture or film; empty for anything else."""
    return _TYPES.get(path.rpartition(".")[2].lower(), "")
