"""What a provider is built from."""

from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from msgspec import Struct

from stepwell.definition.provider_descriptors import ProviderSettings
from stepwell.settings import Settings

if TYPE_CHECKING:  # descriptors need neither: they are imported by every command
    import httpx

    from stepwell.providers.shared.credentials import Credentials

S = TypeVar("S", bound=ProviderSettings | None)


class ProviderSetup(Struct, Generic[S], frozen=True, kw_only=True):
    """The settings of the service, and `own`, those of the provider: an instance of the descriptor's `settings`.

    *client* is for calls to the provider's API (`outbound.http_client.plain_client`). `credentials` are those of all
    providers; a step's key is `credentials.key(provider_config, name)`.
    """

    settings: Settings
    own: S
    client: "httpx.AsyncClient"
    credentials: "Credentials"

    def listing_lag_s(self, default: float) -> float:
        """Return for how long a job may be missing from the provider's list. The setting overrides *default*."""
        return default if self.settings.reconcile_s is None else self.settings.reconcile_s


class CallOptions(TypedDict):
    listing_lag_s: float
    timeout_s: float


def call_options(setup: ProviderSetup[S], listing_lag_s: float) -> CallOptions:
    """Return the arguments that the settings have for every built-in provider."""
    return {"listing_lag_s": setup.listing_lag_s(listing_lag_s), "timeout_s": setup.settings.provider_timeout_s}
