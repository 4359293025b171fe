"""The data folder: its permissions, its secrets, and the token and the address of the service that runs on it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stepwell.cli.errors import MISUSED, Refused, os_errors
from stepwell.cli.user_files import staged_file, write_private
from stepwell.persistence.embedded.data_folder import sync_folder
from stepwell.persistence.embedded.programs import PostgresUnavailable, check_user
from stepwell.rules.webhook_secrets import SigningSecrets, new_secret

UP = "up"  # the command whose process serves the API of the data folder that it owns

_SECRET_BYTES = 32
_ADVICE = "let this user write there, or choose another folder with --data-dir or STEPWELL_DATA_DIR"


def open_folder(folder: Path) -> None:
    """Create *folder* if it is missing, and let only its user access it.

    Raises `Refused`. If the embedded PostgreSQL can't run as this user, nothing is written.
    """
    try:
        check_user()
    except PostgresUnavailable as error:
        raise Refused(str(error)) from error
    with os_errors(f"cannot use the data folder {folder}", _ADVICE, code=MISUSED):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            # As root, PostgreSQL runs as another user, who passes through on the way to its own folder.
            folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "it is not writable")
        artifacts = folder / "artifacts"
        if not artifacts.exists():
            artifacts.mkdir(mode=0o700)


def own_secret(folder: Path, *, create: bool) -> str:
    """Return the secret of the folder. If it has none, *create* makes one. Raises `Refused`, also if there is none."""
    path = folder / "secret"
    with os_errors(f"cannot read the secret {path}"):
        if not path.exists():
            if not create:
                raise Refused(
                    f"there is no secret in {folder} yet: start `stepwell up` once, or set STEPWELL_JWT_SECRET"
                )
            _create(path, secrets.token_hex(_SECRET_BYTES))
        secret = path.read_text(encoding="ascii", errors="replace").strip()
    if len(secret) < _SECRET_BYTES:
        raise _damaged(path)
    return secret


def own_webhook_secret(folder: Path) -> SigningSecrets:
    """Return the secret that signs webhooks if none is configured. The first call makes it. Raises `Refused`."""
    path = folder / "webhook-secret"
    with os_errors(f"cannot read the secret {path}"):
        if not path.exists():
            _create(path, new_secret(secrets.token_bytes(_SECRET_BYTES)))
        text = path.read_text(encoding="ascii", errors="replace")
    try:
        return SigningSecrets.read(text)
    except ValueError:
        raise _damaged(path) from None


def _damaged(path: Path) -> Refused:
    return Refused(f"{path} is damaged: delete it, and the next `stepwell up` makes another")


def write_token(folder: Path, token: str | None) -> Path | None:
    """Write *token* into the folder, and return its path. None removes an old token, which is no longer valid."""
    path = folder / "token"
    with os_errors(f"cannot write the token {path}"):
        if token is None:
            path.unlink(missing_ok=True)
            return None
        _replace(path, token)
    return path


def read_token(folder: Path) -> str | None:
    """Return the token that the last `up` wrote into the folder; None if there is none. Raises `Refused`."""
    return _read(folder / "token")


@contextmanager
def publish_address(folder: Path, address: str) -> Iterator[None]:
    """Store *address* in the folder, for other commands, and remove it at the end. Raises `Refused`."""
    path = folder / "address"
    with os_errors(f"cannot write the address {path}"):
        _replace(path, address)
    try:
        yield
    finally:
        remove_address(folder)


def read_address(folder: Path) -> str | None:
    """Return the address at which the `up` on the folder listens; None before it is written. Raises `Refused`.

    The `up` may not be ready yet. The address is valid only while that `up` owns the folder: a killed one leaves its
    address behind until the next owner removes it.
    """
    return _read(folder / "address")


def remove_address(folder: Path) -> None:
    """Remove the address from the folder, if it is there. Raises `Refused`."""
    path = folder / "address"
    with os_errors(f"cannot remove the address {path}"):
        path.unlink(missing_ok=True)


def _read(path: Path) -> str | None:
    with os_errors(f"cannot read {path}"), suppress(FileNotFoundError):
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    return None


def _replace(path: Path, text: str) -> None:
    _remove_leftovers(path)
    write_private(path, f"{text}\n".encode())
    sync_folder(path.parent)


def _create(path: Path, text: str) -> None:
    """Write the file atomically. If another process was faster, its file stays."""
    _remove_leftovers(path)
    with staged_file(path, f"{text}\n".encode()) as staged, suppress(FileExistsError):
        path.hardlink_to(staged)
    sync_folder(path.parent)


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f".{path.name}-*"):  # of a process that was killed meanwhile
        leftover.unlink(missing_ok=True)
