from typing import Any

import pytest

from stepwell.basics.errors import Fault
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.lifecycle.steps import KnownStep
from stepwell.providers.installed_providers import installed_providers
from support.workflows.definitions import CATALOG, body, draw, faults, faults_of, join, mapped, validate

INSTALLED = installed_providers()

A = ("steps", 0)
PC = (*A, "provider_config")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"provider_config": {"provider_type": "X"}}, [((*PC, "provider_type"), "enum")]),
        ({"provider_config": {"provider_type": "REPLICATE"}}, [((*PC, "provider_type"), "provider_not_configured")]),
        (
            {"task_type": "EDITING", "config": {"base_image_url": "x"}, "provider_config": {"provider_type": "FAL"}},
            [((*PC, "provider_type"), "provider_unable")],
        ),
        ({"task_type": "LLM_INTERACTION"}, [(PC, "provider_unable")]),
        (
            {"task_type": "LLM_INTERACTION", "provider_config": {"provider_type": "LOCAL"}},
            [((*PC, "provider_type"), "provider_unable")],
        ),
        ({"task_type": "EXPERIMENTAL_FAL"}, [((*PC, "fal_app_id"), "missing")]),
        (
            {"task_type": "EXPERIMENTAL_FAL", "provider_config": {"fal_app_id": "../x"}},
            [((*PC, "fal_app_id"), "string_pattern_mismatch")],
        ),
        (
            {"task_type": "EXPERIMENTAL_FAL", "provider_config": {"fal_app_id": "a/b", "provider_type": "LOCAL"}},
            [((*PC, "provider_type"), "provider_unable")],
        ),
        ({"task_type": "PASSTHROUGH", "provider_config": {"provider_type": "X"}}, [((*PC, "provider_type"), "enum")]),
        ({"provider_config": {"credential": "nope"}}, [((*PC, "credential"), "unknown_credential")]),
        ({"provider_config": {"credential": 5}}, [((*PC, "credential"), "string_type")]),
        ({"provider_config": {"on_unknown": "guess"}}, [((*PC, "on_unknown"), "enum")]),
        (
            {"active_provider_capabilities": ["seed", "lora"]},
            [((*A, "active_provider_capabilities", 1), "unknown_capability")],
        ),
        ({"fallback_provider_type": "VERTEX"}, [((*A, "fallback_provider_type"), "provider_not_configured")]),
        (
            {"fallback_provider_type": "FAL", "fallback_provider_capabilities": ["x", "lora"]},
            [((*A, "fallback_provider_capabilities", 0), "unknown_capability")],
        ),
        (
            {"fallback_provider_type": "FAL", "fallback_provider_config": {"api_key": "x"}},
            [((*A, "fallback_provider_config", "api_key"), "secret_in_request")],
        ),
        ({"fallback_provider_config": {"model": "x"}}, [((*A, "fallback_provider_config"), "missing_provider_type")]),
        (
            {"fallback_provider_config": {"provider_type": "FAL"}},  # that isn't what names it
            [((*A, "fallback_provider_config"), "missing_provider_type")],
        ),
        (
            {"fallback_provider_type": "X", "fallback_provider_config": {"model": "x"}},
            [((*A, "fallback_provider_type"), "enum")],
        ),
        ({"fallback_provider_config": {}}, [((*A, "fallback_provider_config"), "missing_provider_type")]),
        (
            {"fallback_provider_capabilities": ["seed"]},
            [((*A, "fallback_provider_capabilities"), "missing_provider_type")],
        ),
        (
            {"fallback_provider_config": {"x": 1}, "fallback_provider_capabilities": []},
            [
                ((*A, "fallback_provider_config"), "missing_provider_type"),
                ((*A, "fallback_provider_capabilities"), "missing_provider_type"),
            ],
        ),
        (
            {"fallback_provider_type": "X", "fallback_provider_capabilities": ["seed"]},
            [((*A, "fallback_provider_type"), "enum")],
        ),
        ({"provider_config": {"credential": "Fal-Team-B", "provider_type": "FAL", "on_unknown": "fail", "x": 1}}, []),
        ({"provider_config": None, "active_provider_capabilities": None, "fallback_provider_config": None}, []),
        ({"provider_config": {"provider_type": None}}, []),
        ({"provider_config": {"provider_type": "FAL"}, "active_provider_capabilities": ["lora"]}, []),
    ],
)
def test_an_unsuitable_provider_is_refused_at_its_place(members: dict[str, Any], expected: Any) -> None:
    value = body(draw(**members))
    if expected:
        assert faults(value) == expected
    else:
        validate(value)


@pytest.mark.parametrize(
    ("config", "selected"),
    [
        ({"fal_app_id": "a/b"}, "FAL"),
        ({"fal_app_id": "a/b", "loras": {}, "credential": None, "on_unknown": "fail"}, "FAL"),
        ({"fal_app_id": "a/b", "provider_type": None, "own": 1}, "FAL"),  # "own" belongs to nobody
        ({"fal_app_id": "a/b", "graph": None}, "FAL"),
        ({"deployment": "a/b"}, "REPLICATE"),
        ({"cancel_after_s": 60, "model": "a/b"}, "REPLICATE"),
        ({"location": "x"}, "VERTEX"),
        ({"graph": {}}, "COMFYUI"),
        ({"inputs": {}, "model": "mine"}, "COMFYUI"),
        ({"model": "x"}, None),
        ({"model": "x", "parameters": {}}, None),
        ({"loras": {}}, None),
        ({"graph": {}, "fal_app_id": "a/b"}, None),
        ({"own": 1}, None),
        ({"fal_app_id": None}, None),
        ({"on_unknown": "fail"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_members_of_one_provider_alone_select_it(config: dict[str, Any] | None, selected: str | None) -> None:
    anything = {TaskType.GENERATION: frozenset[str]()}
    catalog = ProviderCatalog(
        INSTALLED, offers=dict.fromkeys(ProviderType, anything), default=ProviderType.LOCAL, credentials=frozenset()
    )
    [step] = validate(body(draw(provider_config=config)), catalog).steps
    assert step.provider == (selected or "LOCAL")
    [named] = validate(body(draw(provider_config=(config or {}) | {"provider_type": "CUSTOM"})), catalog).steps
    assert named.provider == "CUSTOM"


def test_a_selected_provider_must_be_configured_and_able() -> None:
    assert faults(body(draw(provider_config={"graph": {}}))) == [(PC, "provider_not_configured")]
    refine: dict[str, Any] = {"task_type": "REFINE", "config": {"base_image_url": "https://a.b/c.png"}}
    assert faults(body(draw(provider_config={"fal_app_id": "a/b"}, **refine))) == [(PC, "provider_unable")]
    validate(body(join("a", provider_config={"graph": {}})))  # it needs no provider


WEIGHED = {"prompt": "x", "style_lora_weight": 0.5}
WEIGHT = (*A, "config", "style_lora_weight")
FAL = {"provider_type": "FAL"}
STYLE = {"loras": {"style": "https://example.com/style"}}
NAMES_NO_LORA = "provider_config.loras.style is missing; it names the LoRA, by path or URL"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"config": WEIGHED, "provider_config": FAL}, [WEIGHT]),
        ({"config": WEIGHED, "fallback_provider_type": "FAL"}, [WEIGHT]),
        ({"config": WEIGHED, "provider_config": FAL, "fallback_provider_type": "FAL"}, [WEIGHT]),
        (
            {"config": WEIGHED, "provider_config": FAL | STYLE, "fallback_provider_type": "FAL"},
            [WEIGHT],
        ),
        ({"config": WEIGHED, "provider_config": FAL | STYLE}, []),
        ({"config": WEIGHED}, []),  # LOCAL refuses nothing
        ({"config": WEIGHED | {"style_lora_weight": None}, "provider_config": FAL}, []),
    ],
)
def test_create_refuses_what_a_provider_would_refuse_later(members: dict[str, Any], expected: Any) -> None:
    value = body(draw(**members))
    if not expected:
        validate(value)
        return
    assert [(fault.loc[1:], fault.msg) for fault in faults_of(value)] == [(loc, NAMES_NO_LORA) for loc in expected]


def test_refusals_have_places_in_the_config_of_their_provider() -> None:
    step = {"id": "a", "task_type": "GENERATION", "config": {"prompt": "x"}}
    kinds = (ProviderType.OPENAI, ProviderType.REPLICATE)
    catalog = ProviderCatalog(
        INSTALLED,
        {kind: {TaskType.GENERATION: frozenset()} for kind in kinds},
        None,
        frozenset(),
        refusals=dict.fromkeys(kinds, refused_model),
    )
    members = {
        "provider_config": {"provider_type": "OPENAI", "model": 5},
        "fallback_provider_type": "REPLICATE",
        "fallback_provider_config": {"model": "\ud800" + "x" * 300},
    }
    found = faults_of(body(step | members), catalog)
    assert [(fault.loc[1:], fault.msg, fault.type) for fault in found] == [
        ((*A, "provider_config", "model", "5"), "not 5", "provider_refuses"),
        ((*A, "fallback_provider_config", "model", "\\ud800" + "x" * 254 + "…"), "not that", "provider_refuses"),
    ]
    broken = members | {"fallback_provider_config": {"model": 5, "on_unknown": "guess"}}
    assert faults(body(step | broken), catalog) == [
        ((*A, "fallback_provider_config", "on_unknown"), "enum"),
        ((*A, "provider_config", "model", "5"), "provider_refuses"),
    ]


def refused_model(step: KnownStep) -> list[Fault]:
    model = step.provider_config["model"]
    words = "not 5" if model == 5 else "not that"
    return [Fault(("provider_config", "model", str(model)), words, "provider_refuses")]


def test_providers_check_the_known_inputs() -> None:
    asked: list[KnownStep] = []

    def nothing(step: KnownStep) -> list[Fault]:
        asked.append(step)
        return []

    catalog = ProviderCatalog(
        INSTALLED, CATALOG.offers, CATALOG.default, CATALOG.credentials, refusals={ProviderType.FAL: nothing}
    )
    config = {"prompt": "own", "seed": None, "width": 2, "timeout_s": 9, "deep": {"a": 1}, "height": 3}
    mappings = [mapped("q", to_field="width"), mapped("q", to_field="deep.a"), mapped("q", to_field="seed")]
    step = draw(depends_on=["q"], config=config, input_mappings=mappings, provider_config=FAL)
    defaults = {"step_defaults": {"*": {"style": "oil"}, "GENERATION": {"prompt": "all", "negative_prompt": "x"}}}
    validate(body(step, join("q"), config=defaults), catalog)
    inputs = {"style": "oil", "prompt": "own", "negative_prompt": "x", "height": 3}
    unknown = frozenset({"width", "deep", "seed"})
    assert asked == [KnownStep(TaskType.GENERATION, FAL, inputs, unknown)]
    asked.clear()
    big = {"step_defaults": {"*": {"style": ["oil"] * 200, "prompt": "all"}, "GENERATION": {"negative_prompt": "x"}}}
    validate(body(draw(config={"prompt": "own"}, provider_config=FAL), config=big), catalog)
    known = {"prompt": "own", "negative_prompt": "x"}
    assert asked == [KnownStep(TaskType.GENERATION, FAL, known, frozenset({"style"}))], "steps look through no more"
    asked.clear()
    broken = draw(config={"prompt": 5, "style": "oil"}, provider_config=FAL)
    assert faults(body(broken), catalog) == [((*A, "config", "prompt"), "string_type")]
    assert asked == [KnownStep(TaskType.GENERATION, FAL, {"style": "oil"}, frozenset({"prompt"}))]
    asked.clear()
    for members in (
        {"provider_config": 5},
        {"fallback_provider_type": "FAL", "fallback_provider_config": 5},
        {"fallback_provider_type": "FAL", "fallback_provider_config": {"credential": 5}},
    ):
        fal = ProviderCatalog(
            INSTALLED, catalog.offers, ProviderType.FAL, catalog.credentials, refusals=catalog.refusals
        )
        assert len(faults(body(draw(**members)), catalog if "fallback_provider_type" in members else fal)) == 1
    assert faults(body(draw(provider_config=FAL, input_mappings=[5])), catalog)
    assert faults(body(draw(task_type="REFINE", config={"base_image_url": "x"}, provider_config=FAL)), catalog)
    assert asked == []


NONE = "doesn't offer this for PASSTHROUGH; offered: none"
NO_OPENAI = (
    "OPENAI isn't configured here: set STEPWELL_CREDENTIALS__OPENAI or STEPWELL_OPENAI_URL; configured: LOCAL, FAL"
)
NO_VERTEX = "VERTEX isn't configured here: set STEPWELL_CREDENTIALS__VERTEX; configured: LOCAL, FAL"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"provider_config": {"provider_type": "OPENAI"}}, [((*PC, "provider_type"), NO_OPENAI)]),
        ({"fallback_provider_type": "VERTEX"}, [((*A, "fallback_provider_type"), NO_VERTEX)]),
        (
            {"provider_config": {"provider_type": "FAL"}, "active_provider_capabilities": ["lora"]},
            [((*A, "active_provider_capabilities", 0), f"FAL {NONE}")],
        ),
        (
            {"fallback_provider_type": "LOCAL", "fallback_provider_capabilities": ["seed", "x"]},
            [((*A, "fallback_provider_capabilities", n), f"LOCAL {NONE}") for n in (0, 1)],
        ),
        (
            {"active_provider_capabilities": ["x"], "fallback_provider_capabilities": ["x"]},
            [
                ((*A, "fallback_provider_capabilities"), "This needs fallback_provider_type beside it"),
                ((*A, "active_provider_capabilities", 0), "No provider offers this for PASSTHROUGH; offered: none"),
            ],
        ),
        (
            {"provider_config": {"provider_type": "OPENAI"}, "active_provider_capabilities": ["x"]},
            [
                ((*PC, "provider_type"), NO_OPENAI),
                ((*A, "active_provider_capabilities", 0), f"OPENAI {NONE}"),
            ],
        ),
    ],
)
def test_passthrough_may_only_name_configured_providers(members: dict[str, Any], expected: Any) -> None:
    assert [(fault.loc[1:], fault.msg) for fault in faults_of(body(join("a", **members)))] == expected


def test_faults_of_passthrough_are_reported_beside_a_broken_structure() -> None:
    value = body(join("a", provider_config=5, active_provider_capabilities=[1, "x"], fallback_provider_type="VERTEX"))
    assert set(faults(value)) == {
        (PC, "dict_type"),
        ((*A, "active_provider_capabilities", 0), "string_type"),
        ((*A, "active_provider_capabilities", 1), "unknown_capability"),
        ((*A, "fallback_provider_type"), "provider_not_configured"),
    }


ANOTHERS = "credential_of_another_provider"
FALLBACK = (*A, "fallback_provider_config", "credential")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"provider_config": {"provider_type": "FAL", "credential": "openai"}}, [((*PC, "credential"), ANOTHERS)]),
        ({"provider_config": {"provider_type": "FAL", "credential": "OpenAI_B"}}, [((*PC, "credential"), ANOTHERS)]),
        ({"provider_config": {"provider_type": "FAL", "credential": "acme"}}, [((*PC, "credential"), ANOTHERS)]),
        ({"provider_config": {"credential": "fal"}}, [((*PC, "credential"), ANOTHERS)]),  # LOCAL by default
        (
            {"task_type": "EXPERIMENTAL_FAL", "provider_config": {"fal_app_id": "a/b", "credential": "openai"}},
            [((*PC, "credential"), ANOTHERS)],
        ),
        (
            {"task_type": "EXPERIMENTAL_FAL", "provider_config": {"fal_app_id": "a/b", "credential": "fal-team-b"}},
            [],
        ),
        (
            {"fallback_provider_type": "FAL", "fallback_provider_config": {"credential": "openai"}},
            [(FALLBACK, ANOTHERS)],
        ),
        ({"fallback_provider_type": "FAL", "fallback_provider_config": {"credential": "fal-team-b"}}, []),
        (
            {"fallback_provider_type": "FAL", "fallback_provider_config": {"credential": "fal_gone"}},
            [(FALLBACK, "unknown_credential")],
        ),
        (
            {"task_type": "PASSTHROUGH", "provider_config": {"provider_type": "FAL", "credential": "openai"}},
            [((*PC, "credential"), ANOTHERS)],
        ),
        (
            {"task_type": "X", "provider_config": {"provider_type": "FAL", "credential": "openai"}},
            [((*A, "task_type"), "enum"), ((*PC, "credential"), ANOTHERS)],
        ),
    ],
)
def test_a_step_names_a_credential_of_its_provider(members: dict[str, Any], expected: Any) -> None:
    catalog = ProviderCatalog(
        INSTALLED, CATALOG.offers, CATALOG.default, frozenset({"fal", "fal-team-b", "openai", "acme"})
    )
    value = body(draw(**members))
    if expected:
        found = faults_of(value, catalog)
        assert sorted((fault.loc[1:], fault.type) for fault in found) == sorted(expected)
        words = {fault.msg for fault in found if fault.type == ANOTHERS}
        assert not any(name in word for word in words for name in ("openai", "acme", "team")), (
            "of others nothing is said"
        )
    else:
        validate(value, catalog)


def test_the_refusal_says_how_a_credential_must_be_named() -> None:
    [fault] = faults_of(body(draw(provider_config={"provider_type": "FAL", "credential": "openai"})))
    expected = "This is not one for FAL: a credential for FAL is called fal, or begins with fal_ or fal-"
    assert fault.msg == expected


@pytest.mark.parametrize(
    ("provider", "setting"),
    [
        ("FAL", "STEPWELL_CREDENTIALS__FAL"),
        ("REPLICATE", "STEPWELL_CREDENTIALS__REPLICATE"),
        ("OPENAI", "STEPWELL_CREDENTIALS__OPENAI or STEPWELL_OPENAI_URL"),
        ("GEMINI", "STEPWELL_CREDENTIALS__GEMINI"),
        ("VERTEX", "STEPWELL_CREDENTIALS__VERTEX"),
        ("COMFYUI", "STEPWELL_COMFYUI_URL"),
        ("CUSTOM", "STEPWELL_CUSTOM_URL"),
    ],
)
def test_the_refusal_of_a_provider_that_is_not_configured_names_the_setting(provider: str, setting: str) -> None:
    catalog = ProviderCatalog(INSTALLED, {ProviderType.LOCAL: CATALOG.offers[ProviderType.LOCAL]}, None, frozenset())
    message = f"{provider} isn't configured here: set {setting}; configured: LOCAL"
    for members in ({"provider_config": {"provider_type": provider}}, {"fallback_provider_type": provider}):
        local = {"provider_config": {"provider_type": "LOCAL"}} | members
        assert [fault.msg for fault in faults_of(body(draw(**local)), catalog)] == [message]


@pytest.mark.parametrize(
    ("named", "advice"),
    [
        ("fal_gone", "set STEPWELL_CREDENTIALS__FAL_GONE"),
        ("Fal-Gone", "set STEPWELL_CREDENTIALS__FAL-GONE"),
        ("gone", "the names of settings are STEPWELL_CREDENTIALS__FAL and STEPWELL_CREDENTIALS__FAL_<NAME>"),
        (
            "1f0c:S3cret",
            "the names of settings are STEPWELL_CREDENTIALS__FAL and STEPWELL_CREDENTIALS__FAL_<NAME>",
        ),
        (
            "fal_" + "x1" * 40,
            "the names of settings are STEPWELL_CREDENTIALS__FAL and STEPWELL_CREDENTIALS__FAL_<NAME>",
        ),
    ],
)
def test_the_refusal_of_an_unknown_credential_names_the_setting_and_no_value(named: str, advice: str) -> None:
    [fault] = faults_of(body(draw(provider_config={"provider_type": "FAL", "credential": named})))
    assert fault.msg == f"The service holds no credential of this name: {advice}"


def test_the_refusal_of_a_step_without_a_key_names_the_setting() -> None:
    catalog = ProviderCatalog(
        INSTALLED, CATALOG.offers, CATALOG.default, frozenset({"fal_b"}), keyed=frozenset({ProviderType.FAL})
    )
    [fault] = faults_of(body(draw(provider_config=FAL)), catalog)
    assert fault.msg == "FAL needs a key: the service holds none by the name fal (STEPWELL_CREDENTIALS__FAL)"


def test_the_refusal_of_a_step_that_names_no_provider_names_the_setting() -> None:
    [fault] = faults_of(body(draw()), ProviderCatalog(INSTALLED, CATALOG.offers, None, CATALOG.credentials))
    named = "(set STEPWELL_DEFAULT_PROVIDER)"
    assert fault.msg == f"This service has no default provider {named}; configured: LOCAL, FAL"


@pytest.mark.parametrize("capabilities", [None, []])
def test_passthrough_uses_no_provider_that_it_names(capabilities: Any) -> None:
    members = {
        "provider_config": {"provider_type": "FAL"},
        "active_provider_capabilities": capabilities,
        "fallback_provider_type": "LOCAL",
        "fallback_provider_capabilities": capabilities,
    }
    [step] = validate(body(join("a", **members))).steps
    assert (step.provider, step.fallback) == (None, None)


def test_without_a_default_each_step_names_its_provider() -> None:
    catalog = ProviderCatalog(INSTALLED, CATALOG.offers, None, CATALOG.credentials)
    assert faults(body(draw()), catalog) == [((*PC, "provider_type"), "missing")]
    validate(body(draw(provider_config={"provider_type": "LOCAL"}), join("j")), catalog)


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apiKey",
        "X-API-Key",
        "APIKEY",
        "key",
        "secret",
        "client_secret",
        "token",
        "access_token",
        "accessToken",
        "password",
        "db_passwd",
        "Authorization",
        "fal_key",
        "OPENAI_KEY",
        "private-key",
        "secretAccessKey",
        "credentials",
    ],
)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(name: str) -> None:
    value = body(draw(provider_config={name: "S3cret", "nested": [{"headers": {name: "S3cret"}}]}))
    assert faults(value) == [((*PC, *place, name), "secret_in_request") for place in ((), ("nested", 0, "headers"))]
    assert "S3cret" not in str(faults_of(value))


@pytest.mark.parametrize("name", ["keyframes", "max_tokens", "cache_key", "monkey", "tokenizer", "model", "credential"])
def test_a_name_that_only_sounds_like_a_secret_is_accepted(name: str) -> None:
    validate(body(draw(provider_config={"provider_type": "FAL", name: "fal"})))
