"""The expressions of one workflow's steps, parsed when a step needs them."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import UNSET, Struct, json

from stepwell.definition.mapping import templates
from stepwell.definition.mapping.config_expressions import StepExpressions, StepPart, condition_text
from stepwell.definition.mapping.items import item_texts
from stepwell.lifecycle.model import WorkflowState
from stepwell.lifecycle.records import LoadedWorkflow

_NO_OBJECT = b"{}"
_PARSE_UNITS = 10  # of work, for an expression
_CHARACTERS = 64  # that are parsed for one unit


class _StepTexts(Struct, frozen=True, gc=False):
    """The texts of one part of a step, and what their expressions may read."""

    texts: tuple[templates.ConfigText, ...]
    names: frozenset[str]
    reads_all: bool


class WorkflowExpressions:
    """The expressions of a workflow that has some. `labels` are the workflow's labels now."""

    def __init__(self, loaded: LoadedWorkflow) -> None:
        self.labels = loaded.labels
        self._inputs = loaded.inputs or _NO_OBJECT
        self._steps, self._config = loaded.steps, loaded.config
        self._encoded_config: bytes | None = None
        self._encoded_workflow = (b"", b"")  # the part before the config, and the whole
        self._parsed: Mapping[StepPart, dict[int, _StepTexts]] = {part: {} for part in StepPart}

    def parse_work(self, position: int, part: StepPart = StepPart.CONFIG) -> int:
        """Return about how much work the parsing of a *part* of the step takes, in the units of `work_budget`."""
        if position in self._parsed[part]:
            return 0
        return sum(
            (text.count(templates.OPENING) - text.count(templates.ESCAPED)) * _PARSE_UNITS + len(text) // _CHARACTERS
            for text in (each.text for each in self._texts_of(position, part))
        )

    def of(
        self, position: int, state: WorkflowState, part: StepPart = StepPart.CONFIG, item: bytes | None = None
    ) -> StepExpressions | None:
        """Return the expressions in a *part* of the step; None if it has none.

        *state* is that of the workflow. *item* is the encoded value that `item` means in it; None if it means nothing.
        """
        parsed = self._parsed_part(position, part)
        if not parsed.texts:
            return None
        own = {}
        if parsed.reads_all or templates.INPUTS in parsed.names:
            own[templates.INPUTS] = self._inputs
        if parsed.reads_all or templates.WORKFLOW in parsed.names:
            own[templates.WORKFLOW] = self._workflow(state)
        if item is not None and (parsed.reads_all or templates.ITEM in parsed.names):
            own[templates.ITEM] = item
        return StepExpressions(parsed.texts, self._dependencies(position), own)

    def read_steps(self, position: int, part: StepPart = StepPart.CONFIG) -> Sequence[str]:
        """Return the ids of the steps whose results a *part* of the step may read."""
        parsed = self._parsed_part(position, part)
        if not parsed.texts:
            return ()
        return [
            step_id
            for step_id in self._dependencies(position)
            if step_id not in templates.RESERVED and (parsed.reads_all or step_id in parsed.names)
        ]

    def _dependencies(self, position: int) -> list[str]:
        return [self._steps[needed].resolved.step_id for needed in self._steps[position].resolved.depends_on]

    def _parsed_part(self, position: int, part: StepPart) -> _StepTexts:
        parsed = self._parsed[part]
        if (texts := parsed.get(position)) is None:
            texts = parsed[position] = _parse(self._texts_of(position, part))
        return texts

    def _texts_of(self, position: int, part: StepPart) -> Iterable[templates.ConfigText]:
        definition = self._steps[position].definition
        match part:
            case StepPart.CONFIG:
                return templates.texts_of(templates.evaluated_config(definition.task_type, definition.config))
            case StepPart.CONDITION:
                return () if definition.condition is None else [condition_text(definition.condition)]
            case StepPart.ITEMS:
                return () if definition.for_each is UNSET else item_texts(definition.for_each)

    def _workflow(self, state: WorkflowState) -> bytes:
        if self._encoded_config is None:
            self._encoded_config = json.encode(self._config)
        head = json.encode({"id": state.id, "name": state.name, "labels": self.labels})
        if head != self._encoded_workflow[0]:
            # The config may take megabytes, so all attempts that wait for a child process hold the same copy.
            self._encoded_workflow = head, head[:-1] + b',"config":' + self._encoded_config + b"}"
        return self._encoded_workflow[1]


def _parse(texts: Iterable[templates.ConfigText]) -> _StepTexts:
    texts = tuple(texts)
    read = [each.names() for text in texts for each in templates.parse_template(text.text).expressions]
    names = frozenset[str]().union(*(each for each in read if each is not None))
    return _StepTexts(texts, names, None in read)
