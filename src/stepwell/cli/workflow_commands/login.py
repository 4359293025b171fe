"""`stepwell login URL`: checks a token, and stores it with the address as a profile."""

import os
import sys

import click
from msgspec import Struct

from stepwell.cli.output import print_message
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.endpoint import check_token, check_url, is_loopback
from stepwell.cli.workflow_commands.profiles import DEFAULT_PROFILE, Profile, check_profile_name, store_profile
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.client import Forbidden

_MAX_TOKEN = 65_536  # characters


class StoredProfile(Struct):
    """The result of `login`. The token isn't part of it."""

    profile: str
    url: str
    file: str


def login(context: CommandContext, url: str) -> None:
    """Store a profile for the service at *url*. Raises `Refused` if the service doesn't accept the token."""
    name = check_profile_name(context.options.profile or DEFAULT_PROFILE)
    address = check_url(url, "URL")
    if address.lower().startswith("http:") and not is_loopback(address):
        print_message(f"warning: {address} isn't encrypted, so others may read the token on its way")
    token = _token(context.options.token)
    context.use_endpoint(address, token)
    try:
        context.client.page(limit=1, include_steps=False, total=False)
    except Forbidden:
        print_message("warning: the service accepts the token, but it may not read workflows")
    path = store_profile(os.environ, name, Profile(address, token))
    context.show(
        StoredProfile(name, address, str(path)), lambda each: plain(f"stored profile {each.profile} in {each.file}")
    )


def _token(option: str | None) -> str:
    """Return the token: that of the option, or else the one that the user types or pipes in. Raises `Refused`."""
    if option is not None:
        return check_token(option, "--token")
    if sys.stdin.isatty():
        return check_token(click.prompt("Token", hide_input=True, err=True), "the token")
    return check_token(sys.stdin.readline(_MAX_TOKEN), "stdin")
