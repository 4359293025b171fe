"""The rules of webhooks: schedule, responses, names, secrets."""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from stepwell.contract.enums import DeliveryStatus
from stepwell.lifecycle.webhook_deliveries import DELAYS_S, DeliveryVerdict, delivery_id, event_of, verdict
from stepwell.rules.webhook_secrets import SigningSecrets, TenantSecrets, WebhookSecrets
from stepwell.settings import InvalidSettings
from support.service.installed_settings import read_settings

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WORKFLOW = UUID("01a21312-edf4-7e99-8d2f-52108cda0001")


def secret(length: int = 32, letter: bytes = b"x") -> str:
    return "whsec_" + base64.b64encode(letter * length).decode()


def wait(tries: int, code: int | None, retry_after_s: float | None = None, jitter: float = 0.0) -> float:
    decided = verdict(tries, code, retry_after_s, NOW, jitter)
    assert (decided.status, decided.tries) == (DeliveryStatus.PENDING, tries + 1)
    assert decided.next_at is not None
    return (decided.next_at - NOW) / timedelta(seconds=1)


def test_attempts_follow_the_schedule() -> None:
    assert [wait(tries, 500) for tries in range(9)] == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert len(DELAYS_S) == 10
    assert verdict(9, 500, None, NOW, 0.5) == DeliveryVerdict(DeliveryStatus.FAILED, 10)
    assert wait(1, None, jitter=0.5) == pytest.approx(315)
    assert wait(1, None, jitter=1.0) == pytest.approx(330)


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_a_response_of_2xx_means_delivered(code: int) -> None:
    assert verdict(9, code, 5, NOW, 0.5) == DeliveryVerdict(DeliveryStatus.DELIVERED, 10)


def test_a_response_of_410_stops_the_delivery() -> None:
    assert verdict(0, 410, 5, NOW, 0.5) == DeliveryVerdict(DeliveryStatus.STOPPED, 1)


@pytest.mark.parametrize("code", [None, 100, 199, 300, 301, 304, 400, 404, 409, 411, 429, 500, 504, 999])
def test_any_other_response_is_attempted_again(code: int | None) -> None:
    assert wait(0, code) == 5
    assert wait(0, code, 4) == 5
    assert wait(0, code, 60) == 60
    assert wait(8, code, 1e9) == 86_400


def test_a_delivery_id_names_its_workflow_and_event() -> None:
    name = delivery_id(WORKFLOW, 12)
    assert name == "evt_01a21312edf47e998d2f52108cda0001_12"
    assert event_of(name) == (WORKFLOW, 12)
    for other in ("", name + " ", name + "\n", name.upper(), name[:-3] + "_0", name[:-2] + "012", name[:-2] + "9" * 10):
        assert event_of(other) is None


def test_a_tenants_own_secrets_take_precedence() -> None:
    general, acme, exact = (SigningSecrets.read(secret(letter=letter)) for letter in (b"g", b"a", b"e"))
    secrets = WebhookSecrets(general, TenantSecrets({"ACME_INC": acme, "acme.inc": exact}))
    for tenant in ("acme-inc", "ACME INC", "Acme_Inc", "acmeéinc"):
        assert secrets.of(tenant) == acme
    assert secrets.of("acme.inc") == exact
    assert secrets.of("ACME.INC") == acme
    assert secrets.of("acme") == secrets.of(None) == general


def test_secrets_are_read_from_settings_and_never_printed() -> None:
    first, second = secret(24), secret(64)
    read = read_settings(
        {"STEPWELL_WEBHOOK_SECRET": f" {first}  {second} {first}", "STEPWELL_WEBHOOK_SECRETS__ACME": second}
    )
    assert tuple(read.webhook_secret) == (first, second)
    assert read.webhook_secrets.of("acme") == (second,)
    text = f"{read!r} {read.webhook_secret} {read.webhook_secrets} {read.webhook_secret!r}"
    assert "whsec_" not in text
    assert "eHh4" not in text
    assert not read_settings({}).webhook_secret


@pytest.mark.parametrize(
    "text",
    ["x" * 40, "whsec_", "whsec_!", secret()[6:], secret(23), secret(65), secret() + " nope", secret()[:-2], " "],
)
def test_settings_without_valid_secrets_are_refused(text: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        read_settings({"STEPWELL_WEBHOOK_SECRET": text, "STEPWELL_WEBHOOK_SECRETS__ACME": text})
    expected = "Expected whsec_ and base64 of 24 to 64 bytes; spaces between several"
    assert refused.value.lines == [
        f"STEPWELL_WEBHOOK_SECRET: {expected}",
        f"STEPWELL_WEBHOOK_SECRETS__ACME: {expected}",
    ]
