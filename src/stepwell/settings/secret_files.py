"""Secrets in files: the variable X_FILE names a file that contains the secret X."""

import stat
from collections.abc import Mapping
from pathlib import Path

from stepwell.basics.setting_names import CREDENTIAL, PREFIX, TENANTS_SECRET
from stepwell.settings.all_settings import SECRET_FIELDS

SECRET_VARIABLES = frozenset(PREFIX + name.upper() for name in {*SECRET_FIELDS, "jwt_public_key", "webhook_secret"})
FILE = "_FILE"  # the end of a variable that names a file, which contains the secret
_FILE_MAX_BYTES = 65_536


def read_secret_files(environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables that have a value, with X from the file instead of X_FILE, and the faults of such files.

    The faults are lines by X, and contain no secret. Names of credentials become upper case.
    """
    variables = {
        key.upper() if key.upper().startswith(CREDENTIAL) else key: text for key, text in environ.items() if text
    }
    values = {key: text for key, text in variables.items() if _secret_in_file(key) is None}
    faults: dict[str, str] = {}
    for key, path in variables.items():
        if (name := _secret_in_file(key)) is None:
            continue
        if name in variables:
            faults[name] = f"{name}, {key}: Expected one of the two, not both"
            continue
        try:
            values[name] = _read_secret(Path(path))
        except ValueError as error:
            # A value that isn't a path may be the secret itself.
            location = f": {path}" if path.startswith(("/", "./", "../")) else ""
            faults[name] = f"{key}: {error}{location}"
    return values, faults


def read_secret_variable(environ: Mapping[str, str], name: str) -> str | None:
    """Return the secret *name*, or the one in the file that NAME_FILE names; None if there is neither.

    Raises ValueError with a message that contains no secret.
    """
    value, path = environ.get(name), environ.get(name + FILE)
    if value and path:
        raise ValueError(f"{name}, {name}{FILE}: Expected one of the two, not both")
    if not path:
        return value or None
    try:
        return _read_secret(Path(path))
    except ValueError as error:
        raise ValueError(f"{name}{FILE}: {error}") from None


def _secret_in_file(key: str) -> str | None:
    """Return the X of a variable X_FILE if X is a secret; else None."""
    name = key.removesuffix(FILE)
    is_secret = name in SECRET_VARIABLES or in_family(name, CREDENTIAL) or in_family(name, TENANTS_SECRET)
    return name if name != key and is_secret else None


def in_family(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and key != prefix


def _read_secret(path: Path) -> str:
    """Return the text of the file, without newlines at its end. Raises ValueError, which doesn't quote the file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe may never end
            raise ValueError("Expected a regular file")
        with path.open("rb") as file:
            data = file.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"Expected a file that can be read ({error.strerror})") from error
    if len(data) > _FILE_MAX_BYTES:
        raise ValueError(f"Expected a file of at most {_FILE_MAX_BYTES} bytes")
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("Expected a file of UTF-8 text") from None
    if not text or "\0" in text:
        raise ValueError("Expected a file with text in it")
    return text
