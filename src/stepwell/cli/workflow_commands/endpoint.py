"""The address and the token with which a command reaches a service.

What must hold:
- Each comes from the first source that has it: the options, the environment, the profile, the local data folder. A
  profile or a data folder that an option names goes before the environment.
- A token that comes with an address is sent to that address only.
- The data folder's token is sent only while a `stepwell up` owns that folder.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from stepwell.cli.data_folder import UP, read_address, read_token
from stepwell.cli.errors import MISUSED, UNAVAILABLE, Refused
from stepwell.cli.output import settings_of
from stepwell.cli.workflow_commands.profiles import DEFAULT_PROFILE, check_profile_name, find_profile, profile_names
from stepwell.domain.setting_names import TOKEN, URL
from stepwell.domain.urls import split_url
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.settings.secret_files import read_secret_variable

_PORTS: Final = {"http": 80, "https": 443}


class ConnectionOptions(NamedTuple):
    """The options of the connection, as they were given."""

    url: str | None = None
    token: str | None = None
    profile: str | None = None
    data_dir: Path | None = None


class Endpoint(NamedTuple):
    """The address of a service, and the token for it. `source` says where the address comes from."""

    url: str
    token: str | None
    source: str


class _Candidate(NamedTuple):
    source: str
    url: str | None
    token: str | None


def find_endpoint(options: ConnectionOptions, environ: Mapping[str, str]) -> Endpoint:
    """Return the service that a command is for. Raises `Refused`."""
    url = token = None
    source = ""
    for candidate in _candidates(options, environ):
        if url is None and candidate.url is not None:
            url, source = check_url(candidate.url, candidate.source), candidate.source
        matches = candidate.url is None or url is None or _place(candidate.url) == _place(url)
        if token is None and candidate.token is not None and matches:
            token = check_token(candidate.token, candidate.source)
        if url is not None and token is not None:
            break
    if url is None:
        raise Refused(
            f"no service is named, and no `stepwell up` runs on {_data_folder(options, environ)}: start one, or name a "
            f"service with --url, {URL} or `stepwell login`",
            code=UNAVAILABLE,
        )
    return Endpoint(url, token, source)


def check_url(url: str, source: str) -> str:
    """Return the address of a service without a slash at its end. Raises `Refused`."""
    url = url.strip()
    parts = split_url(url)
    extra = parts.query or parts.fragment or parts.userinfo is not None or not url.isprintable() or " " in url
    if parts.scheme not in _PORTS or parts.host is None or extra:
        raise Refused(f"{source}: Expected an address like https://stepwell.example.com", code=MISUSED)
    return url.rstrip("/")


def check_token(token: str, source: str) -> str:
    """Return the token without spaces around it. Raises `Refused`, which doesn't quote it."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused(f"{source}: Expected a token, of printable ASCII characters without spaces", code=MISUSED)
    return token


def _place(url: str) -> tuple[str, str | None, int, str]:
    parts = split_url(url.strip())
    return parts.scheme, parts.host, parts.port or _PORTS.get(parts.scheme, 0), parts.path.rstrip("/")


def _candidates(options: ConnectionOptions, environ: Mapping[str, str]) -> Iterator[_Candidate]:
    yield _Candidate("--url", options.url, None)
    yield _Candidate("--token", None, options.token)
    if options.profile is not None:
        yield _profile(environ, options.profile)
    if options.data_dir is not None:
        yield _local(options, environ)
    yield _Candidate(URL, environ.get(URL) or None, _token_of(environ))
    if options.profile is None and (stored := find_profile(environ, DEFAULT_PROFILE)) is not None:
        yield _Candidate(f"profile {DEFAULT_PROFILE}", stored.url, stored.token)
    if options.data_dir is None:
        # The folder's settings may be invalid, which doesn't matter to a command with another address.
        with suppress(Refused):
            yield _local(options, environ)


def _token_of(environ: Mapping[str, str]) -> str | None:
    try:
        return read_secret_variable(environ, TOKEN)
    except ValueError as error:
        raise Refused(str(error), code=MISUSED) from error


def _profile(environ: Mapping[str, str], name: str) -> _Candidate:
    stored = find_profile(environ, check_profile_name(name))
    if stored is None:
        names = ", ".join(profile_names(environ)) or "none"
        raise Refused(
            f"there is no profile {name}; there are: {names}. `stepwell login URL --profile {name}` stores it",
            code=MISUSED,
        )
    return _Candidate(f"profile {name}", stored.url, stored.token)


def _data_folder(options: ConnectionOptions, environ: Mapping[str, str]) -> Path:
    return settings_of(environ, data_dir=options.data_dir).data_dir


def _local(options: ConnectionOptions, environ: Mapping[str, str]) -> _Candidate:
    """Return the service on the local data folder. Raises `Refused`."""
    folder = _data_folder(options, environ)
    source = f"the `stepwell up` on {folder}"
    if EmbeddedPostgres(folder / "postgres").owner_command() != UP:
        if options.data_dir is not None:
            raise Refused(f"no `stepwell up` runs on {folder}", code=UNAVAILABLE)
        return _Candidate(source, None, None)
    address = read_address(folder)
    if address is None:
        raise Refused(f"{source} isn't ready yet", code=UNAVAILABLE)
    return _Candidate(source, address, read_token(folder))
