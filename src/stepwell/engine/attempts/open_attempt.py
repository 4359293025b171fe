"""An attempt that runs, with all that it uses until it ends."""

from msgspec import Struct

from stepwell.domain.model import Task
from stepwell.engine.attempts.attempt_answers import AttemptAnswers
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.attempt_inputs import AttemptContext
from stepwell.engine.attempts.attempt_io import BoundAttemptIO
from stepwell.engine.attempts.attempt_memory import AttemptMemory


class OpenAttempt(Struct, frozen=True):
    """An attempt that runs: its workflow (`context`), its task, and its own means."""

    context: AttemptContext
    task: Task
    io: BoundAttemptIO
    memory: AttemptMemory
    answers: AttemptAnswers
    control: AttemptControl
