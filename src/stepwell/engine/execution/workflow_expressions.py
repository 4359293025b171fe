"""The conditions of one workflow's steps, and the expressions in their configs, parsed when a step needs them."""

from collections.abc import Iterable, Sequence

from msgspec import Struct, json

from stepwell.domain.mapping.config_expressions import INPUTS, RESERVED, WORKFLOW, StepExpressions, condition_text
from stepwell.domain.mapping.templates import ESCAPED, OPENING, ConfigText, parse_template, texts_of
from stepwell.domain.model import WorkflowState
from stepwell.domain.records import LoadedWorkflow

_NO_OBJECT = b"{}"
_PARSE_UNITS = 10  # of work, for an expression
_CHARACTERS = 64  # that are parsed for one unit


class _StepTexts(Struct, frozen=True, gc=False):
    """The texts of one step's config, or its condition, and what their expressions may read."""

    texts: tuple[ConfigText, ...]
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
        self._texts: dict[int, _StepTexts] = {}
        self._conditions: dict[int, _StepTexts] = {}

    def parse_work(self, position: int) -> int:
        """Return about how much work it is to parse the expressions of the step, in the units of `work_budget`."""
        if position in self._texts:
            return 0
        texts = texts_of(self._steps[position].definition.config)
        return sum(
            (text.count(OPENING) - text.count(ESCAPED)) * _PARSE_UNITS + len(text) // _CHARACTERS
            for text in (each.text for each in texts)
        )

    def of(self, position: int, state: WorkflowState, *, condition: bool = False) -> StepExpressions | None:
        """Return the expressions in the step's config, or its *condition*; None if it has none.

        *state* is that of the workflow.
        """
        found = self._condition_of(position) if condition else self._texts_of(position)
        if not found.texts:
            return None
        own = {}
        if found.reads_all or INPUTS in found.names:
            own[INPUTS] = self._inputs
        if found.reads_all or WORKFLOW in found.names:
            own[WORKFLOW] = self._workflow(state)
        return StepExpressions(found.texts, self._dependencies(position), own)

    def read_steps(self, position: int, *, condition: bool = False) -> Sequence[str]:
        """Return the ids of the steps whose results the step's config, or its *condition*, may read."""
        found = self._condition_of(position) if condition else self._texts_of(position)
        if not found.texts:
            return ()
        return [
            step_id
            for step_id in self._dependencies(position)
            if step_id not in RESERVED and (found.reads_all or step_id in found.names)
        ]

    def _dependencies(self, position: int) -> list[str]:
        return [self._steps[needed].plan.step_id for needed in self._steps[position].plan.depends_on]

    def _texts_of(self, position: int) -> _StepTexts:
        if (found := self._texts.get(position)) is None:
            found = self._texts[position] = _parsed(texts_of(self._steps[position].definition.config))
        return found

    def _condition_of(self, position: int) -> _StepTexts:
        if (found := self._conditions.get(position)) is None:
            condition = self._steps[position].definition.condition
            found = self._conditions[position] = _parsed([] if condition is None else [condition_text(condition)])
        return found

    def _workflow(self, state: WorkflowState) -> bytes:
        if self._encoded_config is None:
            self._encoded_config = json.encode(self._config)
        head = json.encode({"id": state.id, "name": state.name, "labels": self.labels})
        if head != self._encoded_workflow[0]:
            # The config may take megabytes, so all attempts that wait for a worker hold the same copy.
            self._encoded_workflow = head, head[:-1] + b',"config":' + self._encoded_config + b"}"
        return self._encoded_workflow[1]


def _parsed(texts: Iterable[ConfigText]) -> _StepTexts:
    texts = tuple(texts)
    read = [each.names() for text in texts for each in parse_template(text.text).expressions]
    names = frozenset[str]().union(*(each for each in read if each is not None))
    return _StepTexts(texts, names, None in read)
