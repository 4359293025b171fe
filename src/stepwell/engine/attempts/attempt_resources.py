"""A running attempt with its resources."""

from msgspec import Struct

from stepwell.engine.attempts.attempt_answers import AttemptAnswers
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.attempt_inputs import AttemptContext
from stepwell.engine.attempts.attempt_io import BoundAttemptIO
from stepwell.engine.attempts.attempt_memory import AttemptMemory
from stepwell.lifecycle.model import Task


class AttemptResources(Struct, frozen=True):
    """A running attempt: its workflow (`context`), its task, and the resources that are its own."""

    context: AttemptContext
    task: Task
    io: BoundAttemptIO
    memory: AttemptMemory
    answers: AttemptAnswers
    control: AttemptControl
