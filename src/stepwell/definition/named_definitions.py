"""Sub-workflows whose steps name a stored definition: `config.definition` instead of `config.workflow`.

What must hold:
- A definition is resolved as a whole when its root is created or when it is stored: each name, at any depth, becomes a
  version, which never changes.
- For all rules, a step that names a definition is one that has its content in `config.workflow`. The content stands
  there only while the definition is validated. Rows have the reference, and the root has each content once.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct, json, structs

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.definition import CreateWorkflow, DefinitionReference, WorkflowStepDefinition
from stepwell.contract.enums import TaskType
from stepwell.definition.mapping.expressions import list_of
from stepwell.definition.mapping.templates import SUB_DEFINITION, SUB_REFERENCE
from stepwell.definition.validation.sub_workflow_rules import MAX_DEPTH, reference_of, too_deep
from stepwell.definition.validation.workflow import MAX_STEPS, too_many_steps

MAX_NAMED: Final = 100
"""The most stored definitions that one definition names, at all depths."""
MAX_NAMED_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of a body with the contents of the definitions that it names, each as often as it is named."""

_Change: TypeAlias = Callable[[dict[str, Any], DefinitionReference], dict[str, Any]]


class NamedDefinition(Struct, frozen=True):
    """A version of a stored definition that a definition names. `references` are those that its steps name.

    `content` is JSON. `steps`, and `size` in bytes, count those below it once it is resolved. `height` is the number of
    levels of definitions in it, itself included.
    """

    reference: DefinitionReference
    content: bytes
    steps: int
    references: Sequence[tuple[Loc, DefinitionReference]]
    size: int = 0
    height: int = 1


Load: TypeAlias = Callable[[DefinitionReference, Loc], Awaitable[NamedDefinition]]
"""Returns the version that a reference at a place means. Raises `InvalidRequest`."""
NamedDefinitions: TypeAlias = Mapping[DefinitionReference, NamedDefinition]
"""The stored definitions that a definition names, at any depth. A key is a reference as it was sent, or a version."""


def read_named(reference: DefinitionReference, content: bytes) -> NamedDefinition:
    """Return the version with this content, which this decodes."""
    body = json.decode(content)
    return NamedDefinition(reference, content, len(list_of(body, "steps")), list(references_in(body)))


def references_in(body: Any, loc: Loc = ("body",)) -> Iterator[tuple[Loc, DefinitionReference]]:
    """Yield the references in *body* with their places, also of the definitions that stand in it.

    Raises `InvalidRequest` for a step that has both a definition and a reference.
    """
    for position, step in enumerate(list_of(body, "steps")):
        config, below = _config(step), (*loc, "steps", position, "config")
        if (reference := reference_of(config)) is not None:
            if config.get(SUB_DEFINITION) is not None:
                message = "A SUBWORKFLOW has either a workflow, or the definition of a stored one"
                raise InvalidRequest([Fault((*below, SUB_DEFINITION), message, "conflict")])
            yield (*below, SUB_REFERENCE), reference
        elif SUB_DEFINITION in config:
            yield from references_in(config[SUB_DEFINITION], (*below, SUB_DEFINITION))


async def resolve(
    references: Sequence[tuple[Loc, DefinitionReference]], load: Load, above: tuple[str, ...], body_bytes: int
) -> tuple[NamedDefinitions, int]:
    """Return the stored definitions of *references* in a body of *body_bytes*, and its size with their contents.

    *above* are the names of those that contain these. Raises `InvalidRequest` for the first name, at any depth, that
    can't be resolved, and if there are too many steps or bytes.
    """
    resolved: dict[DefinitionReference, NamedDefinition] = {}
    steps, size = 0, body_bytes
    for loc, reference in references:
        named = await _resolve(reference, loc, above, resolved, load)
        steps, size = steps + named.steps, size + named.size
        if steps > MAX_STEPS:
            raise InvalidRequest([too_many_steps()])
        check_size(size, loc)
    return resolved, size


async def _resolve(
    wanted: DefinitionReference,
    loc: Loc,
    above: tuple[str, ...],
    resolved: dict[DefinitionReference, NamedDefinition],
    load: Load,
) -> NamedDefinition:
    if wanted.name in above:
        path = " → ".join((*above[above.index(wanted.name) :], wanted.name))
        raise InvalidRequest([Fault((*loc, "name"), f"A definition can't contain itself: {path}", "cycle")])
    height = resolved[wanted].height if wanted in resolved else 1
    if len(above) + height > MAX_DEPTH + 1:
        raise InvalidRequest([too_deep(loc)])
    if wanted in resolved:
        return resolved[wanted]
    sizes = {each.reference: len(each.content) for each in resolved.values()}
    if len(sizes) == MAX_NAMED:
        raise InvalidRequest([Fault(loc, f"Expected at most {MAX_NAMED} stored definitions in one", "too_many")])
    loaded = await load(wanted, loc)
    check_size(sum(sizes.values()) + len(loaded.content), loc)
    below = [
        await _resolve(inner, (*loc, *place[1:]), (*above, wanted.name), resolved, load)
        for place, inner in loaded.references
    ]
    resolved[wanted] = resolved[loaded.reference] = structs.replace(
        loaded,
        steps=loaded.steps + sum(each.steps for each in below),
        size=len(loaded.content) + sum(each.size for each in below),
        height=1 + max((each.height for each in below), default=0),
    )
    return resolved[wanted]


def check_size(size: int, loc: Loc) -> None:
    if size > MAX_NAMED_BYTES:
        message = f"With the stored definitions that it names, the body has over {MAX_NAMED_BYTES:,} bytes"
        raise InvalidRequest([Fault(loc, message, "too_large")])


def fill_body(body: bytes, named: NamedDefinitions, *, versions: bool) -> tuple[bytes, bytes]:
    """Return the JSON of *body* with the content beside each reference, and that of the contents by `str` of these.

    With *versions*, each reference in the body gets its version, as those in the contents do.
    """

    def change(config: dict[str, Any], reference: DefinitionReference) -> dict[str, Any]:
        return {**config, SUB_REFERENCE: structs.asdict(named[reference].reference)}

    contents = {
        str(each.reference): _with_references({"name": each.reference.name, **json.decode(each.content)}, change)
        for each in {each.reference: each for each in named.values()}.values()
    }
    by_reference = {str(wanted): contents[str(each.reference)] for wanted, each in named.items()}
    own = json.decode(body)
    whole = with_contents(_with_references(own, change) if versions else own, by_reference)
    return json.encode(whole), json.encode(contents)


def with_contents(body: Any, contents: Mapping[str, Any], *, only_copies: bool = False) -> Any:
    """Return *body* with the content beside each reference, at any depth. *contents* are by `str` of the references.

    With *only_copies*, the content replaces the reference, and a reference that has no content stays.
    """

    def change(config: dict[str, Any], reference: DefinitionReference) -> dict[str, Any]:
        if only_copies and str(reference) not in contents:
            return config
        own = {name: value for name, value in config.items() if not only_copies or name != SUB_REFERENCE}
        return {**own, SUB_DEFINITION: with_contents(contents[str(reference)], contents, only_copies=only_copies)}

    return _with_references(body, change)


def without_contents(body: Any) -> Any:
    """Return *body* with references alone."""
    return _with_references(body, _without_content)


def stored_request(request: CreateWorkflow) -> CreateWorkflow:
    """Return *request* with references alone, as rows have it."""
    return structs.replace(request, steps=[_stored_step(step) for step in request.steps])


def _stored_step(step: WorkflowStepDefinition) -> WorkflowStepDefinition:
    if step.task_type is not TaskType.SUBWORKFLOW:
        return step
    stored = _with_reference({"task_type": step.task_type, "config": step.config}, _without_content)
    return structs.replace(step, config=stored["config"])


def _without_content(config: dict[str, Any], _: DefinitionReference) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != SUB_DEFINITION}


def _with_references(body: Any, change: _Change) -> Any:
    """Return *body* with the changed configs of all steps that name a definition. It isn't changed itself."""
    steps = list_of(body, "steps")
    changed = [_with_reference(step, change) for step in steps]
    return body if all(map(lambda old, new: old is new, steps, changed)) else {**body, "steps": changed}


def _with_reference(step: Any, change: _Change) -> Any:
    config = _config(step)
    if (reference := reference_of(config)) is not None:
        return {**step, "config": change(config, reference)}
    below = config.get(SUB_DEFINITION)
    if (inner := _with_references(below, change)) is below:
        return step
    return {**step, "config": {**config, SUB_DEFINITION: inner}}


def _config(step: Any) -> dict[str, Any]:
    """Return the config of a SUBWORKFLOW; {} for any other step."""
    config = step.get("config") if isinstance(step, dict) and step.get("task_type") == TaskType.SUBWORKFLOW else None
    return config if isinstance(config, dict) else {}
