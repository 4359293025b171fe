"""The providers' secrets, by name. No repr, message or log entry contains one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from stepwell.basics.errors import AttemptError
from stepwell.basics.setting_names import credential_setting, naming_rule
from stepwell.definition.provider_descriptors import NO_PROVIDERS, InstalledProviders
from stepwell.ports.clock import Clock

log = structlog.get_logger()


class KeyRefusals:
    """The credentials that their providers refuse, by name, with the time of the first refusal by this process.

    The first refusal of a credential is logged, and so is the first call after it that the provider accepts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[str, datetime] = {}

    def since(self) -> Mapping[str, datetime]:
        return dict(self._since)

    def report_refused(self, name: str, provider: str | None) -> None:
        if name not in self._since:
            self._since[name] = self._clock.now()
            setting = credential_setting(name)
            log.warning("provider.key_refused", action="call", provider=provider, credential=name, setting=setting)

    def report_accepted(self, name: str, provider: str | None) -> None:
        if (since := self._since.pop(name, None)) is not None:
            at = since.isoformat()  # as text: the renderer would write a datetime's repr
            log.info("provider.key_accepted", action="call", provider=provider, credential=name, refused_since=at)


class Key:
    """A credential for the calls of its provider. The provider's answers are reported to *refusals*."""

    def __init__(self, name: str, secret: str, refusals: KeyRefusals | None, provider: str | None) -> None:
        self.name, self.secret, self._refusals, self._provider = name, secret, refusals, provider

    @property
    def setting(self) -> str:
        return credential_setting(self.name)

    def report_refused(self) -> None:
        if self._refusals is not None:
            self._refusals.report_refused(self.name, self._provider)

    def report_accepted(self) -> None:
        if self._refusals is not None:
            self._refusals.report_accepted(self.name, self._provider)

    def __repr__(self) -> str:
        return f"Key({self.name})"


class Credentials:
    """The credentials in the settings, by name, in any case. Each is for one of *providers*. *refusals*: see `Key`."""

    def __init__(
        self,
        secrets: Mapping[str, str],
        refusals: KeyRefusals | None = None,
        providers: InstalledProviders = NO_PROVIDERS,
    ) -> None:
        self._providers = providers
        keys = (Key(name.lower(), secret, refusals, providers.owner(name)) for name, secret in secrets.items())
        self._keys = {key.name: key for key in keys}

    def key(self, provider_config: Mapping[str, Any], provider: str) -> Key | None:
        """Return the key that `provider_config.credential` names, else the one named *provider*; None if there is none.

        Raises `AttemptError` if the step names a key that the service doesn't have, or the key of another provider.
        """
        name = provider_config.get("credential")
        if name is None:
            return self._keys.get(provider.lower())
        if self._providers.is_of_another(str(name), provider, self._keys):
            raise AttemptError(f"provider_config.credential: {naming_rule(provider)}", retryable=False)
        key = self._keys.get(str(name).lower())
        if key is None:
            hint = self._providers.credential_hint(str(name), provider)
            why = f"the service holds no credential of this name: {hint}"
            raise AttemptError(f"provider_config.credential: {why}", retryable=False)
        return key

    def require_key(self, provider_config: Mapping[str, Any], provider: str) -> Key:
        """Return the key as `key` does. Raises `AttemptError` if there is none."""
        key = self.key(provider_config, provider)
        if key is None or not key.secret:
            name = provider.lower()
            why = f"the service holds no credential of this name: set {credential_setting(name)}"
            raise AttemptError(f"{provider.upper()}: {why}", retryable=False)
        return key

    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self._keys))})"


def check_header(key: Key, provider: str) -> Key:
    """Return *key*. Raises `AttemptError` if it can't be sent in a header; the HTTP client's error would show it."""
    if not (key.secret.isascii() and key.secret.isprintable()):
        raise AttemptError(f"{provider}: the credential can't be sent in a header: {key.setting}", retryable=False)
    return key
