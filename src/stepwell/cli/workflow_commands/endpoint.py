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
from time import time
from typing import NamedTuple

from stepwell.basics.client_address import is_loopback_host
from stepwell.basics.setting_names import TOKEN, URL
from stepwell.basics.urls import split_url
from stepwell.cli.data_folder import UP, read_address, read_token
from stepwell.cli.errors import MISUSED, UNAVAILABLE, Refused
from stepwell.cli.output import settings_of
from stepwell.cli.workflow_commands.profiles import DEFAULT_PROFILE, check_profile_name, find_profile, profile_names
from stepwell.client.service_url import ServiceUrl, is_same_service
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.rules.access.token_claims import unverified_claims
from stepwell.settings import Settings
from stepwell.settings.secret_files import read_secret_variable

_MARGIN_S = 60


class ConnectionOptions(NamedTuple):
    """The options of the connection, as the user wrote them."""

    url: str | None = None
    token: str | None = None
    profile: str | None = None
    data_dir: Path | None = None


class Endpoint(NamedTuple):
    """The address of a service, and the token for it. `source` says where the address comes from.

    `is_local`: it is the service on the local data folder.
    """

    url: str
    token: str | None
    source: str
    is_local: bool = False


class _Candidate(NamedTuple):
    """An address, a token or both, from one source."""

    source: str
    url: str | None
    token: str | None
    is_local: bool = False

    def belongs_to(self, url: str) -> bool:
        """Return whether the token may be sent to *url*. It may if it came without an address."""
        return self.url is None or is_same_service(self.url, url)


def find_endpoint(options: ConnectionOptions, environ: Mapping[str, str]) -> Endpoint:
    """Return the service that a command is for. Raises `Refused`."""
    url = token = None
    source, is_local = "", False
    for candidate in _candidates(options, environ):
        if url is None and candidate.url is not None:
            url = check_url(candidate.url, candidate.source)
            source, is_local = candidate.source, candidate.is_local
        if token is None and candidate.token is not None and (url is None or candidate.belongs_to(url)):
            token = check_token(candidate.token, candidate.source)
        if url is not None and token is not None:
            return Endpoint(url, token, source, is_local)
    if url is None:
        local = _local(options, environ)
        return Endpoint(check_url(str(local.url), local.source), token or local.token, local.source, is_local=True)
    # Without a local service there is no token. That the folder's settings may be invalid doesn't matter here.
    with suppress(Refused):
        local = _local(options, environ)
        token = local.token if local.belongs_to(url) else None
    return Endpoint(url, token, source, is_local)


def check_url(url: str, source: str) -> str:
    """Return the address of a service without a slash at its end. Raises `Refused`."""
    url = url.strip()
    parts = split_url(url)
    extra = parts.query or parts.fragment or parts.userinfo is not None or not url.isprintable() or " " in url
    if parts.scheme not in ("http", "https") or parts.host is None or extra:
        raise Refused(f"{source}: Expected an address like https://stepwell.example.com", code=MISUSED)
    try:
        ServiceUrl(url, None)
    except ValueError as error:
        raise Refused(f"{source}: {error}", code=MISUSED) from error
    return url.rstrip("/")


def check_token(token: str, source: str) -> str:
    """Return the token without spaces around it. Raises `Refused`, which doesn't quote it."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused(f"{source}: Expected a token, of printable ASCII characters without spaces", code=MISUSED)
    return token


def is_loopback(url: str) -> bool:
    """Return whether the service is on this machine. What is sent there doesn't leave it."""
    return is_loopback_host(split_url(url).host or "")


def _candidates(options: ConnectionOptions, environ: Mapping[str, str]) -> Iterator[_Candidate]:
    """Yield the services that the options, the environment and a profile name."""
    yield _Candidate("--url", options.url, None)
    yield _Candidate("--token", None, options.token)
    if options.profile is not None:
        yield _profile(environ, options.profile)
    if options.data_dir is not None:
        yield _local(options, environ)
    yield _Candidate(URL, environ.get(URL) or None, _token_of(environ))
    if options.profile is None and (stored := find_profile(environ, DEFAULT_PROFILE)) is not None:
        yield _Candidate(f"profile {DEFAULT_PROFILE}", stored.url, stored.token)


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


def _local(options: ConnectionOptions, environ: Mapping[str, str]) -> _Candidate:
    """Return the service on the local data folder. Raises `Refused` if there is none."""
    settings = settings_of(environ, data_dir=options.data_dir)
    folder = settings.data_dir
    source = f"the `stepwell up` on {folder}"
    if EmbeddedPostgres(folder / "postgres").owner_command() != UP:
        advice = f"name a service with --url, {URL} or `stepwell login`"
        raise Refused(f"no `stepwell up` runs on {folder}: start one, or {advice}", code=UNAVAILABLE)
    address = read_address(folder)
    if address is None:
        raise Refused(f"{source} isn't ready yet", code=UNAVAILABLE)
    return _Candidate(source, address, _local_token(settings), is_local=True)


def _local_token(settings: Settings) -> str | None:
    """Return the token that the `up` has written; or one that is signed here, if that one has expired."""
    token = read_token(settings.data_dir)
    if token is not None and _is_expired(token):
        from stepwell.cli.tokens import make_token  # noqa: PLC0415 - it loads Litestar

        with suppress(Refused):
            return make_token(settings, subject="stepwell")
    return token


def _is_expired(token: str) -> bool:
    """Return whether the time in the token is over. Its signature isn't checked."""
    expires_at = unverified_claims(token).get("exp")
    return isinstance(expires_at, int | float) and expires_at < time() + _MARGIN_S
