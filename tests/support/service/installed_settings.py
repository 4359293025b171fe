"""The settings of the environment, with those of the installed providers."""

from collections.abc import Mapping

from stepwell import settings
from stepwell.providers.installed_providers import installed_providers
from stepwell.settings import Settings


def read_settings(environ: Mapping[str, str], **overrides: object) -> Settings:
    return settings.read_settings(environ, installed_providers(), **overrides)


def unread_settings(environ: Mapping[str, str]) -> dict[str, str | None]:
    return settings.unread_settings(environ, installed_providers())
