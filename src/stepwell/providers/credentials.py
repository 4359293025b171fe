"""Secrets of providers, by name. What holds them shows them to nobody: no repr, no message, no log has one."""

from collections.abc import Mapping
from typing import Any

from stepwell.domain.credentials import how_called, of_another
from stepwell.domain.errors import AttemptError
from stepwell.domain.setting_names import how_held


class Credentials:
    """Those that the settings hold; names in any case."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = {name.lower(): secret for name, secret in secrets.items()}

    @property
    def names(self) -> frozenset[str]:
        """In lower case."""
        return frozenset(self._secrets)

    def secret(self, provider_config: Mapping[str, Any], provider: str) -> str | None:
        """The one that `provider_config.credential` names, else the one named as *provider*; null if there is none.

        Raises `AttemptError` if it names one that the service doesn't hold (any more), or one of another provider.
        """
        named = provider_config.get("credential")
        if named is None:
            return self._secrets.get(provider.lower())
        if of_another(str(named), provider, self._secrets):
            raise AttemptError(f"provider_config.credential: {how_called(provider)}", retryable=False)
        secret = self._secrets.get(str(named).lower())
        if secret is None:
            why = f"the service holds no credential of this name: {how_held(str(named), provider)}"
            raise AttemptError(f"provider_config.credential: {why}", retryable=False)
        return secret

    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self._secrets))})"
