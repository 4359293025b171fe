"""Profiles: addresses of services with tokens, which `stepwell login` stores in the user's config folder."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Struct, json

from stepwell.cli.errors import MISUSED, Refused, os_errors
from stepwell.cli.user_files import config_folder, locked_folder, read_bounded, write_private

DEFAULT_PROFILE: Final = "default"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")


class Profile(Struct, frozen=True):
    url: str
    token: str


def find_profile(environ: Mapping[str, str], name: str) -> Profile | None:
    """Return the profile; None if there is none of this name. Raises `Refused`."""
    return _read(_path(environ)).get(name)


def profile_names(environ: Mapping[str, str]) -> list[str]:
    """Return the names of all profiles. Raises `Refused`."""
    return sorted(_read(_path(environ)))


def store_profile(environ: Mapping[str, str], name: str, profile: Profile) -> Path:
    """Store the profile, instead of one of the same name. Return the path of the file. Raises `Refused`."""
    path = _path(environ)
    with os_errors(f"cannot write {path}"), locked_folder(path.parent):
        profiles = _read(path) | {name: profile}
        write_private(path, json.format(json.encode(profiles), indent=2) + b"\n")
    return path


def check_profile_name(name: str) -> str:
    """Return *name*. Raises `Refused` if no profile can have it."""
    if _NAME.fullmatch(name) is None:
        raise Refused("--profile: Expected 1 to 63 of the characters A-Z a-z 0-9 . _ -", code=MISUSED)
    return name


def _path(environ: Mapping[str, str]) -> Path:
    try:
        return config_folder(environ) / "profiles.json"
    except RuntimeError as error:
        raise Refused("this user has no home for profiles: set XDG_CONFIG_HOME", code=MISUSED) from error


def _read(path: Path) -> dict[str, Profile]:
    with os_errors(f"cannot read {path}"):
        try:
            return json.decode(read_bounded(path), type=dict[str, Profile])
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (DecodeError, UnicodeDecodeError) as error:
            raise Refused(f"{path} is damaged: delete it, and run `stepwell login` again", code=MISUSED) from error
