"""Checks members that are free-form: mistyped names, names that the step's provider ignores, and placeholders.

What must hold:
- Only a member that looks like a mistyped one, on LOCAL alone, is a fault. LOCAL has no further members. Another
  provider may have one of that name, so there it only leads to a warning.
- A warning contains names, and never a value: a value may be a secret.
- The checks take time in proportion to the definition, whatever the names are. At most `MAX_WARNINGS` are kept.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from msgspec.structs import fields

from stepwell.basics.errors import Fault
from stepwell.basics.spelling import similar_names
from stepwell.basics.strict_json.normalise import Handling
from stepwell.basics.strict_json.schema_faults import Loc, printable_key, printable_place
from stepwell.contract.definition import ForEach, WorkflowConfig
from stepwell.contract.enums import WAITS_OF, ProviderType, TaskType
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.task_configs import CONFIGS, ProviderConfig
from stepwell.definition.mapping import templates
from stepwell.definition.mapping.input_mapping import EVERY_TYPE, TIMEOUT
from stepwell.definition.validation.partial_step import PartialStep
from stepwell.definition.validation.provider_rules import PASSTHROUGH, ProviderCatalog, looks_secret, providers_of
from stepwell.lifecycle.steps import StepMembers

MAX_WARNINGS = 200
_MAX_ITEM_MEMBERS = 100  # of the names in the items of a step that are checked
_MAX_NAMED = 5  # placeholders that a warning names
_MAX_SEARCHED = 100_000  # characters of a string, from its first "{{" on: a search holds up the event loop

_KNOWN = {task_type: frozenset(f.name for f in fields(kind)) for task_type, kind in CONFIGS.items()}
_KNOWN_CONFIG = frozenset(f.name for f in fields(ProviderConfig))
_KNOWN_WORKFLOW_CONFIG = frozenset(f.name for f in fields(WorkflowConfig))
_LONGEST = 100  # characters of a name that may be that of a secret
_ALWAYS_TRUE = {"num_images": 1}  # values that hold even where the provider ignores the member
_MISTYPED, _IGNORED, _LITERAL = "mistyped_member", "ignored_member", "literal_expression"
_PLACEHOLDER = re.compile(r"\{\{[\w.\- ]{1,100}\}\}")


class MemberChecks:
    """The checks of one definition. Its warnings are complete once all of the faults have been read.

    With lenient *handling*, a mistyped member is never a fault.
    """

    def __init__(
        self, config: Mapping[str, Any], defaults: Mapping[str, Any], catalog: ProviderCatalog, handling: Handling
    ) -> None:
        self._config, self._defaults, self._catalog, self._handling = config, defaults, catalog, handling
        self._providers: dict[TaskType, set[ProviderType]] = {}  # of the steps of each type
        self._users_by_type: dict[TaskType, _Users] = {}
        self._warnings: list[DefinitionWarning] = []
        self._more = 0

    def faults(self, step: PartialStep, loc: Loc) -> Iterator[Fault]:
        """Yield the faults of the step at *loc*, and collect its warnings."""
        if step.config or step.provider_config or step.fallback_config:
            self._warn_of_texts(step, loc)
        if step.task_type is None or step.task_type is PASSTHROUGH:  # whose inputs have any name
            return
        if step.task_type in WAITS_OF:
            yield from self._wait_faults(step, step.task_type, loc)
            return
        users = self._users(step, step.task_type)
        if not users.accept_inputs_of(step):
            yield from self._input_faults(step, step.task_type, users, loc)
        for provider, config, members in zip(users.providers, users.configs, users.members, strict=True):
            if config:
                place = "fallback_provider_config" if config is step.fallback_config else "provider_config"
                yield from self._config_faults(provider, config, members, (*loc, place))

    def _warn_of_texts(self, step: PartialStep, loc: Loc) -> None:
        for value, name in (
            (templates.evaluated_config(step.task_type, step.config or {}), "config"),
            (step.provider_config, "provider_config"),
            (step.fallback_config, "fallback_provider_config"),
        ):
            if value and templates.has_text(value, "{{"):
                self._warn_of_placeholders(value, (*loc, name))
            if value and name != "config" and templates.has_text(value, templates.OPENING):
                self._warn_of_expressions(value, (*loc, name))
            elif value and name == "config":
                self._warn_of_keys(value, (*loc, name))

    def last_faults(self) -> Iterator[Fault]:
        """Yield the faults of `step_defaults`, once `faults` has seen all steps. Collect the workflow's warnings."""
        place: Loc = ("body", "config")
        for name in self._config:
            if name not in _KNOWN_WORKFLOW_CONFIG and (near := similar_names(_KNOWN_WORKFLOW_CONFIG).of(name)):
                self._warn((*place, name), f"Stepwell ignores this; {_did_you_mean(near)}", _MISTYPED)
        for key, config in self._defaults.items():
            loc: Loc = (*place, "step_defaults", key)
            if templates.has_text(config, "{{"):
                self._warn_of_placeholders(config, loc)
            if templates.has_text(config, templates.OPENING):
                self._warn_of_expressions(config, loc)
            users = [kind for kind in self._providers if key in (EVERY_TYPE, kind)]
            known = frozenset[str]().union(*(_KNOWN[kind] for kind in users))
            providers = set[ProviderType]().union(*(self._providers[kind] for kind in users))
            for name in config if users else ():
                if name not in known and (near := similar_names(known).of(name)):
                    yield from self._mistyped(sorted(providers), name, near, loc)

    @property
    def warnings(self) -> tuple[DefinitionWarning, ...]:
        """The warnings. If there are too many, the last one gives the number of the others."""
        if not self._more:
            return tuple(self._warnings)
        message = f"{self._more} more warning{'s' if self._more > 1 else ''}"
        return (*self._warnings, DefinitionWarning(("body",), message, "too_many_warnings"))

    def _users(self, step: PartialStep, task_type: TaskType) -> "_Users":
        """Return the step's provider and its fallback. All steps of a type that name neither have the same."""
        names_none = not step.provider_config and step.fallback is None and step.provider_known and step.fallback_known
        users = self._users_by_type.get(task_type) if names_none else None
        if users is None:
            users = _users_of(step, task_type, self._catalog)
            self._providers.setdefault(task_type, set()).update(users.providers)
            if names_none:
                self._users_by_type[task_type] = users
        return users

    def _input_faults(self, step: PartialStep, task_type: TaskType, users: "_Users", loc: Loc) -> Iterator[Fault]:
        """Yield the faults of the names of the step's inputs, which config and mappings provide."""
        known = _KNOWN[task_type]
        similar = similar_names(known)
        for name, place in _inputs(step):
            if name in users.accepted or not users.providers:
                continue
            if name not in known and (near := similar.of(name)):
                yield from self._mistyped(users.providers, name, near, (*loc, *place[:-1]), place[-1])
                continue
            for provider, members in zip(users.providers, users.members, strict=True):
                if members.ignores_input(name):
                    self._warn((*loc, *place), f"{provider} ignores this in {task_type}", _IGNORED)

    def _wait_faults(self, step: PartialStep, task_type: TaskType, loc: Loc) -> Iterator[Fault]:
        """Yield the faults of the names of the inputs of a step that waits. An APPROVAL shows its other inputs."""
        known = _KNOWN[task_type]
        similar = similar_names(known)
        for name, place in _inputs(step):
            if name in known:
                continue
            if near := similar.of(name):
                message, where = f"{task_type} has no {printable_key(name)}; {_did_you_mean(near)}", (*loc, *place)
                if self._handling is Handling.STRICT:
                    yield Fault(where, message, _MISTYPED)
                else:
                    self._warn(where, message, _MISTYPED)
            elif task_type is not TaskType.APPROVAL:
                self._warn((*loc, *place), f"{task_type} ignores this", _IGNORED)

    def _config_faults(
        self, provider: ProviderType, config: Mapping[str, Any], members: StepMembers, loc: Loc
    ) -> Iterator[Fault]:
        used = members.config
        if used is not None and config.keys() <= used:
            return
        known = _KNOWN_CONFIG | (used or frozenset())
        if loc[-1] == "provider_config" and config.get("provider_type") is None:  # these members select the provider
            known |= self._catalog.installed.config_members
        similar = similar_names(known)
        for name, value in config.items():
            if (
                value is None
                or (used is not None and name in used)
                or looks_secret(name[:_LONGEST], self._catalog.installed)
            ):
                continue  # a name of a secret is refused by itself
            if name not in known and (near := similar.of(name)):
                yield from self._mistyped([provider], name, near, loc)
            elif used is not None:
                self._warn((*loc, name), f"{provider} ignores this member", _IGNORED)

    def _mistyped(
        self, providers: Iterable[ProviderType], name: str, near: Sequence[str], loc: Loc, last: str | int | None = None
    ) -> Iterator[Fault]:
        """Yield the fault of a mistyped member, or collect the warning. *last* ends the place if it isn't *name*."""
        place = (*loc, printable_key(name) if last is None else last)
        hint = _did_you_mean(near)
        others = [provider for provider in providers if provider is not ProviderType.LOCAL]
        if not others and self._handling is Handling.STRICT:
            yield Fault(place, f"LOCAL has no {name}; {hint}", _MISTYPED)
        elif others:
            self._warn(place, f"{name} is unknown here, and is passed to {' and '.join(others)}; {hint}", _MISTYPED)
        else:
            self._warn(place, f"LOCAL ignores {name}; {hint}", _MISTYPED)

    def add_warnings(self, warnings: Iterable[DefinitionWarning]) -> None:
        for each in warnings:
            self._warn(tuple(each.loc), each.msg, each.type)

    def _warn_of_keys(self, config: Mapping[str, Any], loc: Loc) -> None:
        for place in templates.keys_with_opening(config):
            self._warn(
                (*loc, *printable_place(place)), "This key stays literal: only values can contain expressions", _LITERAL
            )

    def _warn(self, loc: Loc, message: str, type_: str) -> None:
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(DefinitionWarning(printable_place(loc), message, type_))
        else:
            self._more += 1

    def _warn_of_placeholders(self, value: Any, loc: Loc) -> None:
        for place, text in templates.strings_of(value):
            begin = text.find("{{")
            if begin >= 0 and (names := _PLACEHOLDER.findall(text, begin, begin + _MAX_SEARCHED)):
                listed = ", ".join(dict.fromkeys(names[:_MAX_NAMED]))
                message = f"Nothing fills {listed}; in the config of a step, write an expression: ${{…}}"
                self._warn((*loc, *place), message, "unfilled_placeholder")

    def _warn_of_expressions(self, value: Mapping[str, Any], loc: Loc) -> None:
        for text in templates.texts_of(value):
            self._warn((*loc, *text.place), "This stays literal: only the config of a step has expressions", _LITERAL)


class _Users(NamedTuple):
    """The providers that use a step's members: the first one and the fallback, with their configs and members.

    `accepted` are the names of inputs that are neither mistyped nor ignored by one of them.
    """

    providers: Sequence[ProviderType]
    configs: Sequence[Mapping[str, Any]]
    members: Sequence[StepMembers]
    accepted: frozenset[str]

    def accept_inputs_of(self, step: PartialStep) -> bool:
        """Return whether all names of the step's inputs are accepted."""
        for mapping in step.input_mappings or ():
            if mapping and mapping.to_field not in self.accepted:  # also if it has dots, which is rare
                return False
        if step.for_each is not None:
            return False
        return not step.config or step.config.keys() <= self.accepted


def _users_of(step: PartialStep, task_type: TaskType, catalog: ProviderCatalog) -> _Users:
    pairs = [*providers_of(step, catalog)]
    rules = [catalog.members.get(provider) for provider, _ in pairs]
    members = [
        rule(task_type, config) if rule else StepMembers() for rule, (_, config) in zip(rules, pairs, strict=True)
    ]
    accepted = _KNOWN[task_type].intersection(*(each.inputs for each in members if each.inputs is not None))
    accepted = accepted.difference(*(each.ignored for each in members)) | {TIMEOUT}
    return _Users([provider for provider, _ in pairs], [config for _, config in pairs], members, accepted)


def _inputs(step: PartialStep) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield the names of the inputs that the step provides, each with its place in the step."""
    for name, value in (step.config or {}).items():
        if value is not None and name != TIMEOUT and (name not in _ALWAYS_TRUE or _ALWAYS_TRUE[name] != value):
            yield name, ("config", name)
    for index, mapping in enumerate(step.input_mappings or ()):
        if mapping is not None:
            yield mapping.to_field.partition(".")[0], ("input_mappings", index, "to_field")
    if step.for_each is not None and step.task_type is not TaskType.SUBWORKFLOW:
        yield from _item_inputs(step.for_each.valid)


def _item_inputs(items: ForEach) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield the names of the inputs that items provide, each once. `item` is the default, which expressions read."""
    if items.as_ is not None:
        if items.as_ != templates.ITEM:
            yield items.as_, ("for_each", "as")
        return
    places = dict[str, int]()
    for number, item in enumerate(items.items if isinstance(items.items, list) else ()):
        if len(places) > _MAX_ITEM_MEMBERS:
            break
        for name in item if isinstance(item, dict) else ():
            places.setdefault(name, number)
    for name, number in islice(places.items(), _MAX_ITEM_MEMBERS):
        yield name, ("for_each", "items", number, name)


def _did_you_mean(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(names)}?"
