"""Chooses the provider of a step, and checks that it can run the step."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct, ValidationError, convert, structs

from stepwell.basics.errors import Fault
from stepwell.basics.setting_names import DEFAULT_PROVIDER, credential_setting, naming_rule
from stepwell.basics.strict_json.schema_faults import Loc, iter_faults, printable_key, printable_place
from stepwell.contract.enums import WAITS_OF, WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.contract.task_configs import ProviderConfig
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.definition.provider_descriptors import InstalledProviders
from stepwell.definition.validation.partial_step import PartialStep
from stepwell.definition.validation.step_rules import KnownInputs
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.lifecycle.webhook_deliveries import UrlRule, url_fault

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRETS = re.compile(
    r"(api|access|secret|private)key|\w*secret|\w*(password|passwd|passphrase)|\w*token|(proxy)?authorization"
    r"|bearer|credentials|jwt|cookie"
)
# The words before "key" in the name of a field that holds a secret.
_OF_SECRET_KEYS = frozenset(["", "api", "access", "secret", "private", "auth", "account", "service", "signing"])
# Hot path: an attribute of an enum costs 0.1 µs in Python 3.11.
PASSTHROUGH: Final = TaskType.PASSTHROUGH
_NO_CONFIG = ProviderConfig()
_NO_FALLBACK = (None, None, None)

Refusals: TypeAlias = Callable[[KnownStep], Iterable[Fault]]  # as `ports.providers.RefusesSteps.refusals` says
# Takes a reference to a file. Returns message and type of the fault, or None.
ReferenceRule: TypeAlias = Callable[[str], tuple[str, str] | None]
# Takes type of task, input and provider_config. Returns the rule for references; None accepts any. A provider has few.
FileRule: TypeAlias = Callable[[TaskType, str, Mapping[str, Any]], ReferenceRule | None]
# Takes type of task and provider_config, as `ports.providers.DeclaresMembers.members` does.
MemberRule: TypeAlias = Callable[[TaskType, Mapping[str, Any]], StepMembers]


class ProviderCatalog(Struct, frozen=True):
    """The providers of this service, and the rules that they add to the validation.

    `installed` are the providers that a definition may name. `offers` holds, for each configured one, its capabilities
    by type of task. `default` runs the steps that name no provider; if it is None, such steps are refused.
    `credentials` are the names of credentials, in lower case; the providers in `keyed` need one. `webhook_refusal`
    checks the URLs of webhooks. `refusals` check the steps of a provider, and `file_rules` the files that such a step
    names. A provider without a rule may read any file. `members` are the members that a provider knows; a provider
    without an entry may use and return members of any name. `currencies` are those of the prices.
    """

    installed: InstalledProviders
    offers: Mapping[ProviderType, Mapping[TaskType, frozenset[str]]]
    default: ProviderType | None
    credentials: frozenset[str]
    keyed: frozenset[ProviderType] = frozenset()
    webhook_refusal: UrlRule = url_fault
    refusals: Mapping[ProviderType, Refusals] = {}
    file_rules: Mapping[ProviderType, FileRule] = {}
    members: Mapping[ProviderType, MemberRule] = {}
    currencies: frozenset[str] = frozenset()


def chosen_provider(task_type: TaskType, config: ProviderConfig, catalog: ProviderCatalog) -> ProviderType | None:
    """Return the provider of a step; None for a type that needs none, and if there is no default."""
    if task_type in WITHOUT_PROVIDER:
        return None
    return config.provider_type or catalog.installed.sole_providers.get(task_type) or catalog.default


def known_provider_config(config: Mapping[str, Any] | None, installed: InstalledProviders) -> ProviderConfig:
    """Return the members of *config* that Stepwell knows. Raises `msgspec.ValidationError`.

    Without a `provider_type`, it is that of the only one of *installed* that reads the members which belong to some
    provider.
    """
    if not config:
        return _NO_CONFIG
    members = without_nulls(config)
    known = convert(members, ProviderConfig)
    return known if known.provider_type else structs.replace(known, provider_type=installed.reader_of(members))


def provider_faults(
    step: PartialStep, known: Callable[[TaskType], KnownInputs | None], catalog: ProviderCatalog, loc: Loc
) -> Iterator[Fault]:
    """Yield the faults of the provider and the fallback of the step at *loc*. *known* returns the step's inputs."""
    if step.task_type in WAITS_OF:
        return  # `WaitRules` refuses all of these members
    if step.task_type is PASSTHROUGH and not (step.provider_config or step.capabilities or _has_fallback_member(step)):
        return  # hot path
    if step.fallback is not None and step.fallback not in catalog.installed:
        yield Fault((*loc, "fallback_provider_type"), catalog.installed.expected(step.fallback, or_null=True), "enum")
        step = structs.replace(step, fallback=None, fallback_known=False)
    config = _known(step.provider_config, catalog.installed)
    primary = None if config is None else _primary(step, config, catalog)
    yield from _config_faults(step.provider_config, primary, catalog, (*loc, "provider_config"))
    yield from _config_faults(step.fallback_config, step.fallback, catalog, (*loc, "fallback_provider_config"))
    if step.fallback is None and step.fallback_known:
        yield from _typeless_fallback_faults(step, loc)
    if step.task_type is None:
        return
    if step.task_type is PASSTHROUGH:
        yield from _unused_faults(step, primary, catalog, loc)
        return
    if config is not None and step.provider_known:
        yield from _primary_faults(step, step.task_type, primary, catalog, loc)
    if step.fallback is not None:
        place = (*loc, "fallback_provider_type")
        capabilities = step.fallback_capabilities or (), (*loc, "fallback_provider_capabilities")
        yield from _offer_faults(step.fallback, step.task_type, catalog, place, *capabilities)
        fallback_place = (*loc, "fallback_provider_config")
        yield from _credential_faults(step.fallback, step.fallback_config, catalog, fallback_place)
    checks = [*_refusal_checks(step, step.task_type, primary, catalog)]
    if checks and (inputs := known(step.task_type)) is not None:
        yield from _refusal_faults(step.task_type, checks, inputs, loc)


def _has_fallback_member(step: PartialStep) -> bool:
    members = step.fallback, step.fallback_config, step.fallback_capabilities
    return members != _NO_FALLBACK


def _typeless_fallback_faults(step: PartialStep, loc: Loc) -> Iterator[Fault]:
    """Yield a fault for each member that describes a fallback, of a step without one."""
    for member, value in (
        ("fallback_provider_config", step.fallback_config),
        ("fallback_provider_capabilities", step.fallback_capabilities),
    ):
        if value is not None:
            yield Fault((*loc, member), "This needs fallback_provider_type beside it", "missing_provider_type")


def providers_of(step: PartialStep, catalog: ProviderCatalog) -> Iterator[tuple[ProviderType, Mapping[str, Any]]]:
    """Yield the step's provider and its fallback, if they are valid, each with its `provider_config`."""
    config = _known(step.provider_config, catalog.installed)
    primary = None if config is None or not step.provider_known else _primary(step, config, catalog)
    if primary is not None:
        yield primary, step.provider_config or {}
    if step.fallback is not None and step.fallback_known and step.fallback in catalog.installed:
        yield step.fallback, step.fallback_config or {}


def _known(config: Mapping[str, Any] | None, installed: InstalledProviders) -> ProviderConfig | None:
    """Return the known members; None if one of them is broken, or names a provider that isn't installed."""
    try:
        known = known_provider_config(config, installed)
    except ValidationError:
        return None
    return known if known.provider_type is None or known.provider_type in installed else None


def _primary(step: PartialStep, config: ProviderConfig, catalog: ProviderCatalog) -> ProviderType | None:
    """Return the provider that `provider_config` is for; for PASSTHROUGH the one it names. None if it is unknown."""
    if step.task_type is PASSTHROUGH:
        return config.provider_type if _names_provider(step) else None
    if step.task_type is None:
        return config.provider_type
    return chosen_provider(step.task_type, config, catalog)


def _names_provider(step: PartialStep) -> bool:
    return (step.provider_config or {}).get("provider_type") is not None


def _unused_faults(
    step: PartialStep, primary: ProviderType | None, catalog: ProviderCatalog, loc: Loc
) -> Iterator[Fault]:
    """Yield the faults of a PASSTHROUGH step. It uses no provider, but each that it names must be configured."""
    used: list[tuple[ProviderType | None, Loc, Sequence[str | None], str]] = [
        (primary, ("provider_config", "provider_type"), step.capabilities, "active_provider_capabilities")
    ]
    if step.fallback is not None:
        capabilities = step.fallback_capabilities or ()
        used.append((step.fallback, ("fallback_provider_type",), capabilities, "fallback_provider_capabilities"))
    for provider, place, capabilities, capabilities_place in used:
        if provider is not None and provider not in catalog.offers:
            yield _not_configured(provider, catalog, (*loc, *place))
        place_of_list = (*loc, capabilities_place)
        yield from _capability_faults(provider, TaskType.PASSTHROUGH, frozenset(), capabilities, place_of_list)


def _primary_faults(
    step: PartialStep, task_type: TaskType, provider: ProviderType | None, catalog: ProviderCatalog, loc: Loc
) -> Iterator[Fault]:
    place = (*loc, "provider_config")
    if provider is None:
        names = ", ".join(catalog.offers) or "none"
        message = f"This service has no default provider (set {DEFAULT_PROVIDER}); configured: {names}"
        yield Fault((*place, "provider_type"), message, "missing")
        return
    if _names_provider(step):
        place = (*place, "provider_type")
    capabilities = step.capabilities, (*loc, "active_provider_capabilities")
    yield from _offer_faults(provider, task_type, catalog, place, *capabilities)
    yield from _credential_faults(provider, step.provider_config, catalog, (*loc, "provider_config"))


def _refusal_checks(
    step: PartialStep, task_type: TaskType, primary: ProviderType | None, catalog: ProviderCatalog
) -> Iterator[tuple[str, Refusals, Mapping[str, Any]]]:
    """Yield the checks of the step's provider and of its fallback, if these can do the task.

    Each has the name of the member that holds the provider's config, the function that returns the provider's
    refusals, and that config.
    """
    refusals = _refusals(primary, task_type, catalog)
    if refusals is not None and step.provider_known:
        yield "provider_config", refusals, step.provider_config or {}
    refusals = _refusals(step.fallback, task_type, catalog)
    if refusals is not None and step.fallback_known and _known(step.fallback_config, catalog.installed) is not None:
        yield "fallback_provider_config", refusals, step.fallback_config or {}


def _refusals(provider: ProviderType | None, task_type: TaskType, catalog: ProviderCatalog) -> Refusals | None:
    refusals = None if provider is None else catalog.refusals.get(provider)
    if provider is None or refusals is None or task_type not in catalog.offers[provider]:
        return None
    return refusals if _may_do(provider, task_type, catalog) else None


def _refusal_faults(
    task_type: TaskType, checks: Sequence[tuple[str, Refusals, Mapping[str, Any]]], known: KnownInputs, loc: Loc
) -> Iterator[Fault]:
    """Yield a fault for each input or config that a provider would refuse when the step runs."""
    reported = set[Fault]()
    for member, refusals, config in checks:
        for fault in refusals(KnownStep(task_type, config, known.inputs, known.unresolved)):
            first, *below = fault.loc
            place = (member if first == "provider_config" else first, *below)
            placed = structs.replace(fault, loc=(*loc, *printable_place(place)))
            if placed not in reported:  # an input that neither of the two takes
                reported.add(placed)
                yield placed


def _credential_faults(
    provider: ProviderType, config: Mapping[str, Any] | None, catalog: ProviderCatalog, loc: Loc
) -> Iterator[Fault]:
    """Yield a fault if the provider needs a credential, the step names none, and the service holds no default one."""
    credential = (config or {}).get("credential")
    if provider in catalog.keyed and credential is None and provider.lower() not in catalog.credentials:
        name = provider.lower()
        message = f"{provider} needs a key: the service holds none by the name {name} ({credential_setting(name)})"
        yield Fault((*loc, "credential"), message, "unknown_credential")


def _offer_faults(
    provider: ProviderType,
    task_type: TaskType,
    catalog: ProviderCatalog,
    loc: Loc,
    capabilities: Sequence[str | None],
    capabilities_loc: Loc,
) -> Iterator[Fault]:
    offer = catalog.offers.get(provider)
    if offer is None:
        yield _not_configured(provider, catalog, loc)
    elif task_type not in offer or not _may_do(provider, task_type, catalog):
        able = [
            other
            for other, types in catalog.offers.items()
            if task_type in types and _may_do(other, task_type, catalog)
        ]
        message = f"{provider} can't do {task_type}; configured and able: {', '.join(able) or 'none'}"
        yield Fault(loc, message, "provider_unable")
    else:
        yield from _capability_faults(provider, task_type, offer[task_type], capabilities, capabilities_loc)


def _not_configured(provider: ProviderType, catalog: ProviderCatalog, loc: Loc) -> Fault:
    names = ", ".join(catalog.offers) or "none"
    message = (
        f"{provider} isn't configured here: set {catalog.installed[provider].configuring_setting}; configured: {names}"
    )
    return Fault(loc, message, "provider_not_configured")


def _capability_faults(
    provider: ProviderType | None,
    task_type: TaskType,
    offered: frozenset[str],
    capabilities: Sequence[str | None],
    loc: Loc,
) -> Iterator[Fault]:
    who = "No provider offers" if provider is None else f"{provider} doesn't offer"
    for index, capability in enumerate(capabilities):
        if capability is not None and capability not in offered:
            message = f"{who} this for {task_type}; offered: {', '.join(sorted(offered)) or 'none'}"
            yield Fault((*loc, index), message, "unknown_capability")


def _may_do(provider: ProviderType, task_type: TaskType, catalog: ProviderCatalog) -> bool:
    return task_type in catalog.installed[provider].task_types


def _config_faults(
    config: Mapping[str, Any] | None, provider: ProviderType | None, catalog: ProviderCatalog, loc: Loc
) -> Iterator[Fault]:
    if not config:
        return
    yield from iter_faults(ProviderConfig, without_nulls(config), loc)
    named = config.get("provider_type")
    if isinstance(named, str) and named not in catalog.installed:
        message = catalog.installed.expected(named, or_null=True)
        yield Fault((*loc, "provider_type"), message, "enum")
    credential = config.get("credential")
    if isinstance(credential, str) and credential:
        place = (*loc, "credential")
        if provider is not None and catalog.installed.is_of_another(credential, provider, catalog.credentials):
            message = f"This is not one for {provider}: {naming_rule(provider)}"
            yield Fault(place, message, "credential_of_another_provider")
        elif credential.lower() not in catalog.credentials:
            hint = catalog.installed.credential_hint(credential, provider)
            yield Fault(place, f"The service holds no credential of this name: {hint}", "unknown_credential")
    yield from _secret_faults(config, catalog.installed, loc)


def _secret_faults(value: Any, installed: InstalledProviders, loc: Loc) -> Iterator[Fault]:
    """Yield a fault for each field, at any depth, whose name is that of a secret."""
    rest: list[tuple[Any, Loc]] = [(value, loc)]
    while rest:
        value, place = rest.pop()
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(key, str) and looks_secret(key, installed):
                message = (
                    "A request must not contain secrets: put the key into the settings of the service, and its name "
                    "into provider_config.credential"
                )
                yield Fault((*place, printable_key(key)), message, "secret_in_request")
            elif isinstance(item, (Mapping, list)):
                rest.append((item, (*place, printable_key(key) if isinstance(key, str) else key)))


def looks_secret(name: str, installed: InstalledProviders) -> bool:
    """Return whether a field of this name, in any notation, probably holds a secret."""
    words = ["", *(word.lower() for word in _WORD.findall(name))]
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "key":
        return before in _OF_SECRET_KEYS or before.upper() in installed
    return bool(_SECRETS.fullmatch(last) or _SECRETS.fullmatch(before + last))
