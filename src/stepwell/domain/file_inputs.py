"""Inputs that name a file: what they may be, and which of them are refused before their step runs.

An input named `*_url` is an artifact's path, an http(s) URL or a data URI; `*_urls` is a list of these. Who reads such
a URL, and so whether it may lead into a private network, depends on the provider: `Catalog.file_rules`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import fields

from stepwell.domain.configs import CONFIGS
from stepwell.domain.draft import Draft
from stepwell.domain.errors import Fault
from stepwell.domain.faults import Loc
from stepwell.domain.mapping import EVERY_TYPE
from stepwell.domain.model import TaskType
from stepwell.domain.offers import Catalog, ReferenceRule, asked_providers

MESSAGES = "messages"
FILE_INPUTS: Mapping[TaskType, tuple[str, ...]] = {
    task_type: tuple(f.name for f in fields(kind) if f.name.endswith(("_url", "_urls")) or f.name == MESSAGES)
    for task_type, kind in CONFIGS.items()
}

_WEB = ("http://", "https://")
_ARTIFACT = re.compile(r"media/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{1,20}):", re.IGNORECASE)  # one letter is a drive
_LOCAL = re.compile(r"file:|[a-z]:|[./~\\]|[^:?#]*\.[a-z0-9]{1,5}$", re.IGNORECASE)
_ACCEPTED = "an http(s) URL, a data URI, or the path of an artifact, media/{task_id}/{name}"


class _Input(NamedTuple):
    """An input with its value, and where the value stands."""

    name: str
    value: Any
    loc: Loc


class FileInputs:
    """The checks of one definition. A value of `step_defaults` is judged once by each rule, however many steps take it,
    and reported once, at its place there.
    """

    def __init__(self, defaults: Mapping[str, Mapping[str, Any]], catalog: Catalog) -> None:
        self._defaults, self._catalog = defaults, catalog
        self._judged: set[tuple[ReferenceRule, Loc]] = set()
        self._reported: set[Fault] = set()

    def faults(self, draft: Draft, loc: Loc) -> Iterator[Fault]:
        """What is surely refused of the files that the step at *loc* names, by its provider or by its fallback."""
        if draft.task_type is None or draft.config is None:
            return
        names = FILE_INPUTS[draft.task_type]
        if not names or not (found := [*self._found(draft, draft.task_type, draft.config, names, loc)]):
            return
        for provider, config in asked_providers(draft, self._catalog):
            file_rule = self._catalog.file_rules.get(provider)
            if file_rule is None:
                continue
            for each in found:
                rule = file_rule(draft.task_type, each.name, config)
                if rule is not None and (rule, each.loc) not in self._judged:
                    self._judged.add((rule, each.loc))
                    yield from self._refused(each, rule)

    def _refused(self, given: _Input, rule: ReferenceRule) -> Iterator[Fault]:
        for reference, place in _references(given):
            refused = rule(reference)
            if refused is not None and (fault := Fault(place, *refused)) not in self._reported:
                self._reported.add(fault)
                yield fault

    def _found(
        self, draft: Draft, task_type: TaskType, own: Mapping[str, Any], names: Sequence[str], loc: Loc
    ) -> Iterator[_Input]:
        """The inputs that are known now: not those that a mapping replaces."""
        if draft.input_mappings is None or None in draft.input_mappings:
            return
        for name in names:
            for key, members in ((None, own), *((key, self._defaults.get(key)) for key in (task_type, EVERY_TYPE))):
                if members is None or name not in members:
                    continue
                if any(mapping and mapping.to_field.partition(".")[0] == name for mapping in draft.input_mappings):
                    break
                place = (*loc, "config") if key is None else ("body", "config", "step_defaults", str(key))
                yield _Input(name, members[name], (*place, name))
                break


def form_refusal(reference: str) -> tuple[str, str] | None:
    """Message and type of the fault, if *reference* is nothing that names a file here. Whether there is such a file,
    and whether a URL may be read, isn't looked at.
    """
    if is_web(reference) or reference[:5].lower() == "data:" or _ARTIFACT.fullmatch(reference):
        return None
    if reference.startswith("media/"):
        return "No artifact has such a path: expected media/{task_id}/{name}, as results have it", "file_invalid"
    text = reference.strip()
    if _LOCAL.match(text):
        message = f"A path of your computer can't be read here: expected {_ACCEPTED}; there is no upload yet"
        return message, "file_invalid"
    scheme = _SCHEME.match(text)
    unread = f"; {scheme[1].lower()}: isn't read" if scheme and not text.lower().startswith("http") else ""
    return f"Expected {_ACCEPTED}{unread}", "file_invalid"


def is_web(reference: str) -> bool:
    return reference[:8].lower().startswith(_WEB)


def _references(given: _Input) -> Iterator[tuple[str, Loc]]:
    """The references in an input, each with its place. What is no text, or empty, is refused for its kind."""
    if given.name == MESSAGES:
        yield from _of_messages(given.value, given.loc)
    elif isinstance(given.value, list):
        for index, item in enumerate(given.value):
            if isinstance(item, str) and item:
                yield item, (*given.loc, index)
    elif isinstance(given.value, str) and given.value:
        yield given.value, given.loc


def _of_messages(messages: Any, loc: Loc) -> Iterator[tuple[str, Loc]]:
    """The pictures in the contents of messages: {"type": "image_url", "image_url": an address, or {"url": one}}."""
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, Mapping) else None
        for number, part in enumerate(content if isinstance(content, list) else ()):
            place: Loc = (*loc, index, "content", number, "image_url")
            match part:
                case {"type": "image_url", "image_url": str(url)} if url:
                    yield url, place
                case {"type": "image_url", "image_url": {"url": str(url)}} if url:
                    yield url, (*place, "url")
