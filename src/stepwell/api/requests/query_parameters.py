"""The query parameters of all operations, and their strict parser, which reports all faults of a query at once.

The text of a path is decoded and checked by the same rules.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import parse_qs, unquote_to_bytes
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, convert
from msgspec.inspect import BoolType, IntType, Metadata, StructType, Type, UnionType, VarTupleType, type_info

from stepwell.basics.artifacts import PREVIEW_WIDTHS
from stepwell.basics.errors import Fault, InvalidRequest, NotFound
from stepwell.basics.strict_json.schema_faults import collect, printable_key
from stepwell.contract.definition import DEFINITION_NAME, DefinitionReference
from stepwell.contract.enums import EventType, StepStatus, WorkflowStatus
from stepwell.contract.fields import about
from stepwell.lifecycle.records import WorkflowParts
from stepwell.rules.access.cursors import MAX_CURSOR_CHARS
from stepwell.rules.access.signed_texts import Body, SignedTexts

Q = TypeVar("Q", bound=Struct)
_INT = re.compile(r"-?[0-9]{1,19}")
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# The parsed results of queries of up to so many bytes are cached, because clients repeat the same few queries.
_SHORT = 64
_MAX_INT, _MIN_INT = 2**63 - 1, -(2**63)

Skip = Annotated[int, Meta(ge=0, le=_MAX_INT, description="The number of workflows to skip, from the newest on")]
Limit = Annotated[int, Meta(ge=0, le=1000, description="The maximum number of workflows")]
Cursor = Annotated[
    str, Meta(max_length=MAX_CURSOR_CHARS, description="The page's beginning, as the link to the next page has it")
]
IncludeSteps = Annotated[bool, about("Whether the response contains the steps")]
IncludeResults = Annotated[bool, about("Whether the response contains the results of steps")]
DryRun = Annotated[bool, about("Change nothing, and report what would change")]


def several_of(kind: type[StrEnum], description: str) -> Meta:
    """Return the constraint of a text that names members of *kind*, separated by commas."""
    one = f"({'|'.join(map(re.escape, kind))})"
    text = f"{description}, separated by commas: {', '.join(kind)}"
    return Meta(description=text, extra_json_schema={"pattern": rf"^{one}(,{one})*$"})


def status_faults(values: dict[str, Any], kind: type[StrEnum]) -> Iterator[Fault]:
    """Yield the fault of a status in *values* that *kind* doesn't have."""
    if "status" in values and not set(values["status"].split(",")) <= set(kind):
        message = f"Expected one of {', '.join(kind)}, or several separated by commas"
        yield Fault(("query", "status"), message, "enum")


class CheckedQuery(Struct, frozen=True, kw_only=True):
    """A query with rules beyond the types of its members.

    Parameters in `REPEATABLE` may be sent several times. Their values are not split at commas.
    """

    REPEATABLE: ClassVar[frozenset[str]] = frozenset()

    @staticmethod
    def value_faults(values: dict[str, Any]) -> Iterable[Fault]:  # noqa: ARG004 - for subclasses
        """Return the faults of *values*, its members, that their types don't show. This class has no such rules."""
        return ()


class TenantQuery(Struct, frozen=True, kw_only=True):
    """A query in which a token with tenants:all may name the tenant."""

    origin_tenant_id: (
        Annotated[str, Meta(min_length=1, max_length=100, description="The tenant, for a token with tenants:all")]
        | UnsetType
    ) = UNSET

    @property
    def tenant(self) -> str | None:
        return None if self.origin_tenant_id is UNSET else self.origin_tenant_id


class StartQuery(Struct, frozen=True):
    start: Annotated[bool, about("Whether the workflow starts immediately")] = True


class GetQuery(Struct, frozen=True):
    include_steps: IncludeSteps = True
    include_results: IncludeResults = True

    @property
    def parts(self) -> WorkflowParts:
        return WorkflowParts(self.include_steps, self.include_results)


class VerbQuery(Struct, frozen=True):
    dry_run: DryRun = False


class CleanupQuery(Struct, frozen=True):
    cleanup_tasks: Annotated[bool, about("Whether to delete the files and records of tasks too")] = True
    dry_run: DryRun = False


class EventsQuery(Struct, frozen=True):
    after: Annotated[int, Meta(ge=0, le=_MAX_INT, description="Only events with a greater id")] = 0
    limit: Annotated[int, Meta(ge=1, le=1000, description="The maximum number of events")] = 100
    type: Annotated[str, several_of(EventType, "Only events of these types")] | UnsetType = UNSET


_DELAY = "How many seconds late a stream may send events, several together, which costs the service less"
StreamDelay = Annotated[int, Meta(ge=0, le=60, description=_DELAY)]


class DefinitionQuery(Struct, frozen=True, kw_only=True):
    """A query that may name a stored definition."""

    definition: (
        Annotated[
            str,
            Meta(
                pattern=rf"^{DEFINITION_NAME}(@[1-9][0-9]{{0,8}})?(?!\n)$",
                description="Only what belongs to runs of this stored definition, written as name or as name@version",
            ),
        ]
        | UnsetType
    ) = UNSET

    @property
    def wanted_definition(self) -> DefinitionReference | None:
        return None if self.definition is UNSET else DefinitionReference.parse(self.definition)


class FeedQuery(DefinitionQuery, frozen=True, kw_only=True):
    cursor: Annotated[str, about("Only events after this cursor; 0 is the beginning")] | UnsetType = UNSET
    delay_s: StreamDelay = 0
    limit: Annotated[int, Meta(ge=1, le=1000, description="The maximum number of events")] = 100
    origin_instance: Annotated[str, about("Only events of workflows of this instance")] | UnsetType = UNSET
    status: Annotated[WorkflowStatus, about("Only events of workflows in this status")] | UnsetType = UNSET
    type: Annotated[str, several_of(EventType, "Only events of these types")] | UnsetType = UNSET


class DeliveriesQuery(Struct, frozen=True):
    after: Annotated[int, Meta(ge=0, le=_MAX_INT, description="Only deliveries with a greater event_id")] = 0
    limit: Annotated[int, Meta(ge=1, le=200, description="The maximum number of deliveries")] = 50


class TasksQuery(Struct, frozen=True):
    include_deleted: Annotated[bool, about("Whether deleted tasks are listed too")] = False
    step_id: Annotated[str, about("Only attempts at this step")] | UnsetType = UNSET


class ItemsQuery(CheckedQuery, frozen=True, kw_only=True):
    REPEATABLE: ClassVar = frozenset({"status"})

    status: Annotated[str, several_of(StepStatus, "Only items in one of these statuses")] | UnsetType = UNSET
    skip: Annotated[int, Meta(ge=0, le=_MAX_INT, description="The number of items to skip, from the first on")] = 0
    limit: Annotated[int, Meta(ge=0, le=1000, description="The maximum number of items")] = 50

    @property
    def statuses(self) -> frozenset[StepStatus]:
        return frozenset() if self.status is UNSET else frozenset(map(StepStatus, self.status.split(",")))

    @staticmethod
    def value_faults(values: dict[str, Any]) -> Iterator[Fault]:
        return status_faults(values, StepStatus)


_WIDTHS = "The preview of an image, that many pixels wide and high at most"
Width = Annotated[int, Meta(description=_WIDTHS, extra_json_schema={"enum": list(PREVIEW_WIDTHS)})]


class ArtifactQuery(Struct, frozen=True):
    expires: Annotated[int, Meta(ge=0, le=_MAX_INT, description="The URL's expiry, as Unix time")] | UnsetType = UNSET
    signature: Annotated[str, about("The signature, which replaces the token")] | UnsetType = UNSET
    w: Width | UnsetType = UNSET
    download: Annotated[bool, about("Whether a browser stores the file instead of showing it")] = False


class TicketQuery(Struct, frozen=True):
    ticket: Annotated[str, about("A stream ticket, which replaces the token")] | UnsetType = UNSET


TICKET_PARAMETER = ("ticket",)  # read by the authentication


def parse_query(raw: bytes, kind: type[Q], *, others: Collection[str] | None = ()) -> Q:
    """Return the parameters of *kind* in a raw query string.

    *others* are parameters that other code reads; None stands for any. Raises `InvalidRequest` with every fault: an
    unknown parameter (a mistyped `dry_run` must not perform the verb), a value that doesn't fit, a parameter that is
    sent twice, and text that isn't UTF-8 or contains NUL. A parameter whose type is a tuple may be sent several times,
    and each value may have several members, separated by commas.
    """
    ignored = None if others is None else frozenset(others)
    return _parse_short(raw, kind, ignored) if len(raw) <= _SHORT else _parse(raw, kind, ignored)


def _parse(raw: bytes, kind: type[Q], ignored: frozenset[str] | None) -> Q:
    known = _kinds(kind)
    repeatable = kind.REPEATABLE if issubclass(kind, CheckedQuery) else frozenset[str]()
    pairs, faults = _pairs(raw)
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for name, text in pairs:
        if name not in known:
            if ignored is not None and name not in ignored and name:
                msg = f"Unknown parameter; known: {', '.join(known) or 'none'}"
                faults.append(Fault(("query", printable_key(name)), msg, "unknown"))
            continue
        if known[name] is tuple:
            values.setdefault(name, []).extend([text] if name in repeatable else text.split(","))
            continue
        if name in seen and name not in repeatable:
            faults.append(Fault(("query", name), "Expected the parameter once", "repeated"))
            continue
        seen.add(name)
        value, word = _value(known[name], text)
        if word is None:
            values[name] = f"{values[name]},{value}" if name in values else value
        else:
            faults.append(Fault(("query", name), _MESSAGES[word], word))
    faults += collect(kind, values, ("query",))
    if issubclass(kind, CheckedQuery):
        faults += kind.value_faults(values)
    if faults:
        raise InvalidRequest(faults)
    return convert(values, kind)


_parse_short = lru_cache(maxsize=256)(_parse)


def first_values(encoded: bytes, most: int) -> dict[str, str]:
    """Return the first value of each field of a form or a query; none if it has more than *most* fields."""
    try:
        fields = parse_qs(encoded.decode("latin-1"), keep_blank_values=True, max_num_fields=most)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def parse_id(text: str, what: str) -> UUID:
    """Return *text* as an id. Raises `NotFound`, which names *what*, if it isn't one: nothing can have it."""
    if not _UUID.fullmatch(text):
        raise NotFound(what)
    return UUID(text)


def read_cursor(texts: SignedTexts[Body], text: str | UnsetType, of: str = "this list") -> Body | None:
    """Return the cursor of *text*; None for the first page. Raises `InvalidRequest` if it isn't one *of* the list."""
    if text is UNSET:
        return None
    cursor = texts.read(text)
    if cursor is None:
        raise InvalidRequest([Fault(("query", "cursor"), f"Expected a cursor of {of}, unchanged", "cursor")])
    return cursor


def page_links(path: str, fixed: Iterable[str], pages: Mapping[str, str]) -> str:
    """Return the `Link` header (RFC 8288) of a page of a list, for *pages* by their relations.

    *fixed* are the parameters of all pages.
    """
    return ", ".join(f'<{path}?{"&".join(filter(None, [*fixed, page]))}>; rel="{rel}"' for rel, page in pages.items())


def cursor_links(path: str, fixed: Iterable[str], texts: SignedTexts[Body], last: Body | None) -> str:
    """Return the `Link` header of a page that begins at a cursor. *last* is its end; None for the last page."""
    next_page = {} if last is None else {"next": f"cursor={texts.sign(last)}"}
    return page_links(path, fixed, {"first": "", **next_page})


def check_path(escaped: bytes) -> None:
    """Raise `NotFound` if a raw path isn't UTF-8, or contains NUL: nothing can have such a name."""
    _, word = _text(escaped)
    if word is not None:
        raise NotFound(_UNUSABLE_PATHS[word])


_UNUSABLE_PATHS = {"unicode": "A path that isn't UTF-8 is", "nul_character": "A path with a NUL character is"}
_MESSAGES = {
    "int_parsing": "Expected an integer in digits, within 64 bits",
    "bool_parsing": "Expected true, false, 1 or 0",
}


@lru_cache(maxsize=64)
def _kinds(kind: type[Struct]) -> dict[str, type]:
    """Return the type of each parameter's value: int, bool, tuple, or str for all others."""
    info = type_info(kind)
    assert isinstance(info, StructType)
    return {member.encode_name: _kind(member.type) for member in info.fields}


def _kind(info: Type) -> type:
    if isinstance(info, Metadata):
        return _kind(info.type)
    if isinstance(info, VarTupleType):
        return tuple
    if isinstance(info, UnionType):  # with UNSET
        return next((kind for kind in map(_kind, info.types) if kind is not str), str)
    return int if isinstance(info, IntType) else bool if isinstance(info, BoolType) else str


def _value(kind: type, text: str) -> tuple[Any, str | None]:
    """Return the value of *text* and None, or None and the type of its fault."""
    if kind is int:
        number = int(text) if _INT.fullmatch(text) else None
        fits = number is not None and _MIN_INT <= number <= _MAX_INT
        return (number, None) if fits else (None, "int_parsing")
    if kind is bool:
        flag = _BOOLS.get(text.lower())
        return (flag, None) if flag is not None else (None, "bool_parsing")
    return text, None


def _pairs(raw: bytes) -> tuple[list[tuple[str, str]], list[Fault]]:
    pairs: list[tuple[str, str]] = []
    faults: list[Fault] = []
    for part in raw.split(b"&"):
        name_bytes, _, value_bytes = part.partition(b"=")
        name, name_word = _text(name_bytes.replace(b"+", b" "))
        value, value_word = _text(value_bytes.replace(b"+", b" "))
        if word := name_word or value_word:
            loc = ("query",) if name_word else ("query", printable_key(name))
            faults.append(Fault(loc, "Expected UTF-8 without NUL characters", word))
        elif part:
            pairs.append((name, value))
    return pairs, faults


def _text(escaped: bytes) -> tuple[str, str | None]:
    """Return the text of a part of a URL and None, or the type of its fault.

    PostgreSQL stores no NUL, and text that isn't UTF-8 would be decoded differently by each decoder.
    """
    try:
        text = unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return "", "unicode"
    return text, "nul_character" if "\x00" in text else None
