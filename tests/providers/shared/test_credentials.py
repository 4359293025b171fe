"""A credential is its provider's: no other party ever gets it."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.basics.setting_names import belongs_to
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, Job
from stepwell.providers.factory import build_providers
from stepwell.providers.installed_providers import installed_providers
from stepwell.providers.registry import Registry
from stepwell.providers.shared.credentials import Credentials
from support.service.installed_settings import read_settings

INSTALLED = installed_providers()
HELD = Credentials(
    {"FAL": "a", "Fal_Team_B": "b", "openai": "c", "comfyui-2": "d", "acme_fal": "e"}, providers=INSTALLED
)
HOW_FAL_IS_CALLED = r"^provider_config\.credential: a credential for FAL is called fal, or begins with fal_ or fal-$"
REMOTE = [kind for kind in ProviderType if kind is not ProviderType.LOCAL]


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("fal", ProviderType.FAL),
        ("FAL", ProviderType.FAL),
        ("fal_team_b", ProviderType.FAL),
        ("Fal-Team-B", ProviderType.FAL),
        ("fal_openai", ProviderType.FAL),
        ("openai_fal", ProviderType.OPENAI),
        ("fal_", ProviderType.FAL),
        ("falteam", None),
        ("fal.team", None),
        ("fal team", None),
        ("acme_fal", None),
        ("_fal", None),
        ("fa", None),
        ("", None),
    ],
)
def test_the_name_of_a_credential_says_whose_it_is(name: str, whose: ProviderType | None) -> None:
    assert INSTALLED.owner(name) is whose
    assert [kind for kind in ProviderType if belongs_to(name, kind)] == ([] if whose is None else [whose])


@pytest.mark.parametrize(
    ("config", "secret"),
    [
        ({}, "a"),
        ({"credential": None}, "a"),
        ({"credential": "fal"}, "a"),
        ({"credential": "FAL_TEAM_B"}, "b"),
    ],
)
def test_a_provider_gets_its_own_credentials(config: dict[str, Any], secret: str) -> None:
    for kind in ("fal", "FAL", ProviderType.FAL):
        key = HELD.key(config, kind)
        assert key is not None
        assert key.secret == secret


@pytest.mark.parametrize("name", ["openai", "OPENAI", "comfyui-2", "acme_fal", "vertex", "gemini_team_b"])
def test_a_provider_gets_no_credential_of_another(name: str) -> None:
    with pytest.raises(AttemptError, match=HOW_FAL_IS_CALLED) as refusal:
        HELD.key({"credential": name}, "fal")
    assert not refusal.value.retryable


@pytest.mark.parametrize("name", ["fal-team-b", "fal_gone", "nobody's", "", 5])
def test_an_unknown_credential_is_refused(name: Any) -> None:
    with pytest.raises(AttemptError, match="the service holds no credential of this name") as refusal:
        HELD.key({"credential": name}, "fal")
    assert not refusal.value.retryable


def test_the_refusal_does_not_show_whether_another_has_the_credential() -> None:
    assert INSTALLED.is_of_another("openai_b", "fal", ())
    assert INSTALLED.is_of_another("openai_b", "fal", {"openai_b"})


@pytest.mark.parametrize("kind", REMOTE)
async def test_every_provider_asks_for_its_own(kind: ProviderType) -> None:
    another = "openai" if kind is not ProviderType.OPENAI else "fal"
    environ = {f"STEPWELL_CREDENTIALS__{each}": "a key" for each in REMOTE}
    environ |= {f"STEPWELL_{each}_URL": "http://127.0.0.1:1" for each in REMOTE}
    async with httpx.AsyncClient(transport=httpx.MockTransport(_nothing_is_sent)) as client:
        providers = Registry(build_providers(read_settings(environ), client))
        work = Attempt(
            task_id=UUID(int=1),
            workflow_id=UUID(int=2),
            tenant=None,
            step_id="draw",
            task_type=TaskType.GENERATION,
            number=1,
            inputs={},
            provider_config={"credential": another},
            seed=1,
        )
        with pytest.raises(CallFailed, match=f"a credential for {kind} is called {kind.lower()}, or begins with"):
            await providers.remote(kind).poll(work, Job(id="x"))


def _nothing_is_sent(request: httpx.Request) -> httpx.Response:
    raise AssertionError(request.url)
