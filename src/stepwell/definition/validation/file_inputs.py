"""The inputs that name files, and the checks of their values before a step runs.

An input named `*_url` is an artifact's path, an http(s) URL or a data URI; `*_urls` is a list of these. The provider
decides who reads a URL, and so whether it may lead into a private network: see `ProviderCatalog.file_rules`.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import fields

from stepwell.basics.artifacts import is_meant_as_artifact, parse_artifact_path
from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import CONFIGS
from stepwell.definition.mapping.input_mapping import EVERY_TYPE
from stepwell.definition.validation.partial_step import PartialStep
from stepwell.definition.validation.provider_rules import ProviderCatalog, ReferenceRule, providers_of

MESSAGES = "messages"
FILE_INPUTS: Mapping[TaskType, tuple[str, ...]] = {
    task_type: tuple(f.name for f in fields(kind) if f.name.endswith(("_url", "_urls")) or f.name == MESSAGES)
    for task_type, kind in CONFIGS.items()
}

_WEB = ("http://", "https://")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{1,20}):", re.IGNORECASE)  # two letters or more, because one letter is a drive
# Paths on the client's computer.
_LOCAL = re.compile(r"file:|[a-z]:|[./~\\]|[^:?#]*\.[a-z0-9]{1,5}$", re.IGNORECASE)
_ACCEPTED = "an http(s) URL, a data URI, or the path of an artifact, media/{task_id}/{name}"
_UPLOAD = "POST /api/v1/artifacts uploads a file and returns such a path"


class _Input(NamedTuple):
    """An input, its value, and the place of the value in the definition."""

    name: str
    value: Any
    loc: Loc


class FileInputs:
    """Checks the file inputs of one definition.

    A rule checks a value of `step_defaults` once, however many steps inherit it. Its fault is reported once, at its
    place in `step_defaults`.
    """

    def __init__(self, defaults: Mapping[str, Mapping[str, Any]], catalog: ProviderCatalog) -> None:
        self._defaults, self._catalog = defaults, catalog
        self._checked: set[tuple[ReferenceRule, Loc]] = set()
        self._reported: set[Fault] = set()

    def faults(self, step: PartialStep, loc: Loc, evaluated: Collection[Loc] = ()) -> Iterator[Fault]:
        """Yield the faults of the files that the step at *loc* names, for its provider and for its fallback.

        *evaluated* are the locations of strings with expressions, which aren't checked.
        """
        if step.task_type is None or step.config is None:
            return
        names = FILE_INPUTS[step.task_type]
        if not names or not (inputs := [*self._inputs(step, step.task_type, step.config, names, loc)]):
            return
        for provider, config in providers_of(step, self._catalog):
            file_rule = self._catalog.file_rules.get(provider)
            if file_rule is None:
                continue
            for each in inputs:
                rule = file_rule(step.task_type, each.name, config)
                if rule is not None and (rule, each.loc) not in self._checked:
                    self._checked.add((rule, each.loc))
                    yield from self._check(each, rule, evaluated)

    def _check(self, item: _Input, rule: ReferenceRule, evaluated: Collection[Loc]) -> Iterator[Fault]:
        for reference, place in _references(item):
            refusal = None if place in evaluated else rule(reference)
            if refusal is not None and (fault := Fault(place, *refusal)) not in self._reported:
                self._reported.add(fault)
                yield fault

    def _inputs(
        self, step: PartialStep, task_type: TaskType, own: Mapping[str, Any], names: Sequence[str], loc: Loc
    ) -> Iterator[_Input]:
        """Yield the inputs in *names* that the step or the defaults give a value, unless a mapping replaces it."""
        if step.input_mappings is None or None in step.input_mappings:
            return
        for name in names:
            for key, members in ((None, own), *((key, self._defaults.get(key)) for key in (task_type, EVERY_TYPE))):
                if members is None or name not in members:
                    continue
                if any(mapping and mapping.to_field.partition(".")[0] == name for mapping in step.input_mappings):
                    break
                place = (*loc, "config") if key is None else ("body", "config", "step_defaults", str(key))
                yield _Input(name, members[name], (*place, name))
                break


def form_refusal(reference: str) -> tuple[str, str] | None:
    """Return message and type of the fault if *reference* is no URL, data URI or artifact path; else None.

    It doesn't check whether the file exists, or whether a URL may be read.
    """
    if is_web(reference) or reference[:5].lower() == "data:" or parse_artifact_path(reference):
        return None
    if is_meant_as_artifact(reference):
        return "No artifact has such a path: expected media/{task_id}/{name}, as in results", "file_invalid"
    text = reference.strip()
    if _LOCAL.match(text):
        message = f"The service can't read a path on your computer: expected {_ACCEPTED}. {_UPLOAD}"
        return message, "file_invalid"
    scheme = _SCHEME.match(text)
    note = f"; {scheme[1].lower()}: isn't read" if scheme and not text.lower().startswith("http") else ""
    return f"Expected {_ACCEPTED}{note}", "file_invalid"


def is_web(reference: str) -> bool:
    """Return whether *reference* begins like an http(s) URL."""
    return reference[:8].lower().startswith(_WEB)


def _references(item: _Input) -> Iterator[tuple[str, Loc]]:
    """Yield the references in an input, each with its place. Other checks refuse empty texts and other types."""
    if item.name == MESSAGES:
        yield from _message_images(item.value, item.loc)
    elif isinstance(item.value, list):
        for index, each in enumerate(item.value):
            if isinstance(each, str) and each:
                yield each, (*item.loc, index)
    elif isinstance(item.value, str) and item.value:
        yield item.value, item.loc


def _message_images(messages: Any, loc: Loc) -> Iterator[tuple[str, Loc]]:
    """Yield the images of messages: parts {"type": "image_url", "image_url": URL, or {"url": URL}}."""
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, Mapping) else None
        for number, part in enumerate(content if isinstance(content, list) else ()):
            place: Loc = (*loc, index, "content", number, "image_url")
            match part:
                case {"type": "image_url", "image_url": str(url)} if url:
                    yield url, place
                case {"type": "image_url", "image_url": {"url": str(url)}} if url:
                    yield url, (*place, "url")
