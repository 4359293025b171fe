"""The names that downloaded files get: a folder for each step, and in it the file's own name.

What must hold:
- A name is relative, has no part ".." and no hidden part, and its parts have only letters, digits and `. _ -`.
- Two files never get the same name, also where upper and lower case are the same.
- A file gets the same name each time.
"""

import re
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import PurePosixPath

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_LENGTH = 100
_HASH_LENGTH = 12
_HASHED = re.compile(rf"-[0-9a-f]{{{_HASH_LENGTH}}}$")


def download_names(step_of_path: Mapping[str, str]) -> dict[str, PurePosixPath]:
    """Return the name of each file. The keys are the paths of the files in the service, the values their steps."""
    folders = _unique_names({step: step for step in step_of_path.values()})
    names: dict[str, PurePosixPath] = {}
    for step, folder in folders.items():
        files = {path: path.rpartition("/")[2] for path, owner in step_of_path.items() if owner == step}
        names |= {path: PurePosixPath(folder, name) for path, name in _unique_names(files).items()}
    return names


def _unique_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return a safe name for each key, which resembles the wanted one. A changed or repeated name gets a hash of its
    key, and so does one that looks as if it had one.
    """
    safe = {key: _safe(name) for key, name in wanted.items()}
    uses = Counter(name.lower() for name in safe.values())
    return {
        key: name if name == wanted[key] and uses[name.lower()] == 1 and not _is_hashed(name) else _with_hash(name, key)
        for key, name in safe.items()
    }


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name).strip(".")[:_MAX_LENGTH] or "_"


def _is_hashed(name: str) -> bool:
    return _HASHED.search(PurePosixPath(name).stem.lower()) is not None


def _with_hash(name: str, key: str) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}-{sha256(key.encode()).hexdigest()[:_HASH_LENGTH]}{path.suffix}"
