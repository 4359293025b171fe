"""Validates the steps that wait instead of making attempts: APPROVAL, SIGNAL and DELAY.

What must hold:
- Each rule reads the step's config over its defaults. A rule about a value that an expression provides waits until the
  step runs.
- No two steps of a definition wait for a signal of the same name.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, ValidationError, convert

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.basics.strict_json.size import is_larger_than
from stepwell.contract.enums import TaskType
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.task_configs import APPROVE, FAIL, MAX_WAIT_S, REJECT, ApprovalConfig
from stepwell.definition.mapping.input_mapping import TIMEOUT, merged_config
from stepwell.definition.validation.graph import quoted
from stepwell.definition.validation.partial_step import PartialStep
from stepwell.definition.wait_terms import MAX_SHOWN_BYTES

_NO_PART_OF_A_PATH: Final = (".", "..")
DEFAULT_CHOICES: Final = (APPROVE, REJECT)
_CHOICES, _ON_TIMEOUT, _ON_REJECT, _NAME = "choices", "on_timeout", "on_reject", "name"
_SECONDS, _UNTIL = "seconds", "until"
_OWN = frozenset(ApprovalConfig.__struct_fields__)  # the others are shown


class _Config(NamedTuple):
    """The config of one step over its defaults, and the members that expressions and mappings provide."""

    members: Mapping[str, Any]
    loc: Loc
    evaluated: frozenset[str]
    mapped: frozenset[str]

    def is_unresolved(self, name: str) -> bool:
        """Return whether the value of the member isn't known before the step runs."""
        return name in self.evaluated or name in self.mapped


class WaitRules:
    """The rules of one definition. *defaults* are its `step_defaults`.

    *max_s* is the workflow's timeout; None without one. *now* is the present time; None if it isn't known.
    """

    def __init__(self, defaults: Mapping[str, Mapping[str, Any]], max_s: Any, now: datetime | None = None) -> None:
        self._defaults, self._now = defaults, now
        self._max_s = max_s if isinstance(max_s, int | float) else None
        self._signals: dict[str, str] = {}  # the id of the step that waits for it, by name

    def faults(
        self, step: PartialStep, task_type: TaskType, loc: Loc, evaluated: frozenset[str], *, sound: bool
    ) -> Iterator[Fault]:
        """Yield the faults of the step at *loc*, which waits.

        *evaluated* are the members of its config that have expressions. *sound*: each member is valid by itself.
        """
        for member, reason in _unused(step):
            yield Fault((*loc, member), f"{task_type} {reason}: leave this out", "unused_member")
        if not sound or step.config is None:
            return
        members = merged_config(self._defaults, task_type, step.config)
        mapped = frozenset(each.to_field.partition(".")[0] for each in step.input_mappings or () if each)
        config = _Config(members, (*loc, "config"), evaluated, mapped)
        match task_type:
            case TaskType.APPROVAL:
                yield from _approval_faults(config)
            case TaskType.SIGNAL:
                yield from self._signal_faults(config, step)
            case TaskType.DELAY:
                yield from self._delay_faults(config)

    def warnings(self, step: PartialStep, task_type: TaskType, loc: Loc) -> Iterator[DefinitionWarning]:
        if step.config is None:
            return
        config, member = merged_config(self._defaults, task_type, step.config), TIMEOUT
        if step.config.get(_ON_TIMEOUT) is not None and config.get(TIMEOUT) is None:
            message = "Without timeout_s the step waits without limit, so this has no effect"
            yield DefinitionWarning((*loc, "config", _ON_TIMEOUT), message, "no_timeout")
        if task_type is TaskType.DELAY:
            member = _SECONDS
            if self._now is not None and (until := _time(config.get(_UNTIL))) is not None and until <= self._now:
                yield DefinitionWarning(
                    (*loc, "config", _UNTIL), "This time has passed: it ends at once", "time_passed"
                )
        timeout = config.get(member)
        if self._max_s is not None and isinstance(timeout, int | float) and timeout >= self._max_s:
            message = f"The workflow's timeout, {self._max_s:g} s, ends this wait first"
            yield DefinitionWarning((*loc, "config", member), message, "timeout_too_long")

    def _delay_faults(self, config: _Config) -> Iterator[Fault]:
        sources = [
            name for name in (_SECONDS, _UNTIL) if config.is_unresolved(name) or config.members.get(name) is not None
        ]
        if not sources:
            yield Fault(config.loc, "A DELAY needs seconds or until", "missing")
        elif len(sources) > 1:
            yield Fault((*config.loc, _UNTIL), "A DELAY has seconds or until: leave one of them out", "conflict")
        if config.is_unresolved(TIMEOUT) or config.members.get(TIMEOUT) is not None:
            yield Fault((*config.loc, TIMEOUT), "A DELAY has no timeout: leave this out", "unused_member")
        if config.is_unresolved(_UNTIL) or (written := config.members.get(_UNTIL)) is None:
            return
        if (until := _time(written)) is None:
            message = "Expected a time with its zone, as 2026-11-27T18:00:00Z"
            yield Fault((*config.loc, _UNTIL), message, "datetime_format")
        elif self._now is not None and until - self._now > timedelta(seconds=MAX_WAIT_S):
            yield Fault((*config.loc, _UNTIL), "This is more than a year ahead", "less_than_equal")

    def _signal_faults(self, config: _Config, step: PartialStep) -> Iterator[Fault]:
        place, step_id = (*config.loc, _NAME), step.id
        if config.is_unresolved(_NAME):
            yield Fault(place, "No expression or mapping can give the name: clients need it earlier", "bad_expression")
            return
        if _NAME in self._defaults.get(TaskType.SIGNAL, ()):
            message = "A signal has its name in the config of its step: step_defaults can't name it"
            yield Fault(("body", "config", "step_defaults", TaskType.SIGNAL, _NAME), message, "bad_field")
            return
        name = config.members.get(_NAME)
        name = step_id if name is None else name
        if not isinstance(name, str) or step_id is None:
            return
        if name in _NO_PART_OF_A_PATH:
            message = f"Clients can't send {name!r}, because it isn't part of a path: name the signal differently"
            yield Fault(place, message, "bad_field")
        if (other := self._signals.setdefault(name, step_id)) != step_id:
            message = f"Step {quoted(other)} waits for a signal of this name, too: name one of them differently"
            yield Fault(place, message, "duplicate_signal")


def _time(value: Any) -> datetime | None:
    try:
        return None if value is None else convert(value, Annotated[datetime, Meta(tz=True)])
    except ValidationError:
        return None


def _unused(step: PartialStep) -> Iterator[tuple[str, str]]:
    """Yield the members that the step has, and that steps without attempts have no use for, each with the reason."""
    if step.has_max_retries:
        yield "max_retries", "is never retried"
    for member, value in (
        ("provider_config", step.provider_config),
        ("active_provider_capabilities", step.capabilities),
        # Even an empty one needs a fallback.
        ("fallback_provider_type", step.fallback is not None),
        ("fallback_provider_config", step.fallback_config is not None),
        ("fallback_provider_capabilities", step.fallback_capabilities is not None),
    ):
        if value:
            yield member, "has no provider"


def _approval_faults(config: _Config) -> Iterator[Fault]:
    shown = {
        name: value for name, value in config.members.items() if name not in _OWN and not config.is_unresolved(name)
    }
    if is_larger_than(shown, MAX_SHOWN_BYTES):
        message = (
            f"The inputs to be shown have at most {MAX_SHOWN_BYTES:,} bytes: upload files, and name their paths here"
        )
        yield Fault(config.loc, message, "too_long")
    listed = config.members.get(_CHOICES)
    choices = DEFAULT_CHOICES if listed is None else listed
    if config.is_unresolved(_CHOICES):
        return  # the choices are checked when the step runs
    seen = set[str]()
    for index, choice in enumerate(choices):
        place = (*config.loc, _CHOICES, index)
        if choice == FAIL:
            yield Fault(place, 'No choice is named "fail": on_timeout would be ambiguous', "reserved_choice")
        elif choice in seen:
            yield Fault(place, "The choices must differ", "duplicate_choice")
        seen.add(choice)
    on_timeout = config.members.get(_ON_TIMEOUT)
    if on_timeout not in (None, FAIL, *choices) and not config.is_unresolved(_ON_TIMEOUT):
        message = f'Expected "fail" or a choice: {", ".join(map(quoted, choices))}'
        yield Fault((*config.loc, _ON_TIMEOUT), message, "unknown_choice")
    if config.members.get(_ON_REJECT) is not None and REJECT not in choices:
        yield Fault((*config.loc, _ON_REJECT), 'This needs a choice named "reject"', "unknown_choice")
