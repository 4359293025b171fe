"""Keys that can be told to be of no use before anything starts."""

from collections.abc import Iterator
from importlib.metadata import entry_points

from stepwell.domain.credential_names import owner
from stepwell.domain.errors import AttemptError
from stepwell.domain.model import ProviderType
from stepwell.settings import Settings

_PROVIDERS_OF_OTHERS = "stepwell.providers"


def credential_faults(settings: Settings) -> Iterator[str]:
    """A line for each; none shows a key."""
    accounts = [name for name in settings.credentials if owner(name) is ProviderType.VERTEX]
    # A provider of somebody else may have taken the place of ours, and have keys of another form.
    if not accounts or entry_points(group=_PROVIDERS_OF_OTHERS):
        return
    # google-auth takes a tenth of a second to import, and most services have no account.
    from stepwell.providers.google.tokens import ServiceAccount  # noqa: PLC0415

    for name in accounts:
        try:
            ServiceAccount(ProviderType.VERTEX, settings.credentials[name])
        except AttemptError:
            yield f"STEPWELL_CREDENTIALS__{name.upper()}: Expected the JSON of a service account, with its private key"
