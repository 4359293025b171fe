"""Names of settings in messages: those that configure a provider, and those that a misspelled name resembles."""

import pytest

from stepwell.basics.setting_names import credential_setting
from stepwell.contract.enums import ProviderType
from stepwell.definition.provider_descriptors import ProviderDescriptor
from stepwell.providers.installed_providers import BUILT_IN, installed_providers
from support.service.installed_settings import read_settings, unread_settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        # Families: a key of a provider, and the webhook secrets of a tenant.
        ("STEPWELL_CREDENTIALS_FAL", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL_CREDENTIAL_FAL", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL_CREDENTIAL__FAL", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL_CREDENTIALSFAL", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL_CREDENTAILS__FAL", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL__CREDENTIALS__FAL", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELLCREDENTIALS__FAL", "STEPWELL_CREDENTIALS__FAL"),
        ("stepwell_credentials_fal", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL_CREDENTIALS_FAL_TEAM_B", "STEPWELL_CREDENTIALS__FAL_TEAM_B"),
        ("STEPWELL_CREDENTIALS_REPLICAT", "STEPWELL_CREDENTIALS__REPLICATE"),
        ("STEPWELL_CREDENTIALS_OPEN_AI", "STEPWELL_CREDENTIALS__OPENAI"),
        ("STEPWELL_FAL_KEY", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL_FAL_CREDENTIALS", "STEPWELL_CREDENTIALS__FAL"),
        ("STEPWELL_OPENAI_API_KEY", "STEPWELL_CREDENTIALS__OPENAI"),
        ("STEPWELL_REPLICATE_API_TOKEN", "STEPWELL_CREDENTIALS__REPLICATE"),
        ("STEPWELL_CREDENTIALS", "STEPWELL_CREDENTIALS__<PROVIDER>"),
        ("STEPWELL_CREDENTIALS__", "STEPWELL_CREDENTIALS__<PROVIDER>"),
        ("STEPWELL_CREDENTIALS_TEAM_B", "STEPWELL_CREDENTIALS__<PROVIDER>"),
        ("STEPWELL_WEBHOOK_SECRETS_ACME", "STEPWELL_WEBHOOK_SECRETS__ACME"),
        ("STEPWELL_WEBHOOK_SECRETS_Acme_Inc", "STEPWELL_WEBHOOK_SECRETS__Acme_Inc"),
        ("STEPWELL_WEBHOOK_SECRET_ACME", "STEPWELL_WEBHOOK_SECRETS__ACME"),
        ("STEPWELL_WEBHOOK_SECRET__ACME", "STEPWELL_WEBHOOK_SECRETS__ACME"),
        ("STEPWELL_WEBHOOKS_SECRETS__ACME", "STEPWELL_WEBHOOK_SECRETS__ACME"),
        ("stepwell_webhook_secrets__acme", "STEPWELL_WEBHOOK_SECRETS__acme"),
        ("STEPWELL_WEBHOOK_SECRETS", "STEPWELL_WEBHOOK_SECRET"),
        ("STEPWELL_WEBHOOKS_SECRET", "STEPWELL_WEBHOOK_SECRET"),
        # Settings of their own.
        ("STEPWELL_LIMIT", "STEPWELL_LIMITS"),
        ("STEPWELL_OPENAI_ULR", "STEPWELL_OPENAI_URL"),
        ("STEPWELL_FALURL", "STEPWELL_FAL_URL"),
        ("STEPWELL_FAL__URL", "STEPWELL_FAL_URL"),
        ("stepwell_port", "STEPWELL_PORT"),
        ("Stepwell_Port", "STEPWELL_PORT"),
        ("STEPWELLPORT", "STEPWELL_PORT"),
        ("STEPWELL-PORT", "STEPWELL_PORT"),
        ("STEPWELL_ALLOWED_CIDR", "STEPWELL_ALLOWED_CIDRS"),
        ("STEPWELL_HTTP_ONLY", "STEPWELL_HTTPS_ONLY"),
        ("STEPWELL_DATABASE", "STEPWELL_DATABASE_URL"),
        ("STEPWELL_PRICE", "STEPWELL_PRICES"),
        # Files of secrets.
        ("STEPWELL_CREDENTIALS_FAL_FILE", "STEPWELL_CREDENTIALS__FAL_FILE"),
        ("STEPWELL_WEBHOOK_SECRETS_ACME_FILE", "STEPWELL_WEBHOOK_SECRETS__ACME_FILE"),
        ("STEPWELL_JWT_SECRET_FIL", "STEPWELL_JWT_SECRET_FILE"),
        ("STEPWELL_JWTSECRET_FILE", "STEPWELL_JWT_SECRET_FILE"),
        # Nothing is near.
        ("STEPWELL_X", None),
        ("STEPWELL_SERVICE_HOST", None),
        ("STEPWELL_FOO_BAR", None),
        ("STEPWELL_", None),
    ],
)
def test_a_hint_names_only_a_setting_that_can_be_right(name: str, meant: str | None) -> None:
    assert unread_settings({name: "canary"}) == {name: meant}


def test_a_setting_that_is_read_is_not_unknown() -> None:
    read = {
        "STEPWELL_PORT": "1",
        "STEPWELL_CREDENTIALS__FAL": "k",
        "stepwell_credentials__fal": "k",
        "STEPWELL_WEBHOOK_SECRETS__acme": "whsec_" + "A" * 32,
        "HOME": "/",
        "stepwelling": "1",
        "STEPWELL": "http://127.0.0.1:9000",  # in the README, for commands
    }
    assert unread_settings(read) == {}


@pytest.mark.parametrize("provider", BUILT_IN[1:], ids=lambda provider: provider.name)
def test_the_setting_named_for_a_provider_configures_it(provider: ProviderDescriptor) -> None:
    for setting in provider.configuring_setting.split(" or "):
        value = "http://127.0.0.1:1" if setting.endswith("_URL") else "a key"
        settings = read_settings({setting: value})
        asked_for = provider.name.lower() in settings.credentials or settings.providers[provider.name].url is not None
        assert asked_for, setting


def test_the_setting_of_a_credential_and_of_an_address() -> None:
    assert credential_setting("fal_team_b") == "STEPWELL_CREDENTIALS__FAL_TEAM_B"
    assert installed_providers()[ProviderType("COMFYUI")].url_setting == "STEPWELL_COMFYUI_URL"
    assert installed_providers()[ProviderType("LOCAL")].url_setting is None
