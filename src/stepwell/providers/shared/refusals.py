"""Refusals: errors in a step that make a provider refuse it in any case.

When the step runs, a check raises its `Refusal`. When the step is created, `collect_refusals` runs the same checks and
returns the faults with their places, before anything is paid for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stepwell.basics.errors import AttemptError, Fault
from stepwell.outbound.sanitise import MAX_MESSAGE, sanitised

_CONFIG_MESSAGE = 300
MAX_IMAGES = 64
MAX_SEED = 2**63 - 1


class Refusal(AttemptError):
    """The provider refuses the step. `fault` has the place in the definition, below "config" or "provider_config"."""

    def __init__(self, message: str, fault: Fault, *, provider_fault: bool) -> None:
        super().__init__(message, retryable=False, provider_fault=provider_fault)
        self.fault = fault


def config_refusal(*member: str, why: str, word: str = "provider_refuses") -> Refusal:
    """Return a refusal of a member of `provider_config`. Another provider may accept the step. *word* is the type."""
    message = sanitised(f"provider_config.{'.'.join(member)}: {why}", _CONFIG_MESSAGE)
    fault = Fault(("provider_config", *member), sanitised(why, _CONFIG_MESSAGE), word)
    return Refusal(message, fault, provider_fault=True)


def input_refusal(*place: str | int, why: str, provider_fault: bool = False) -> Refusal:
    """Return a refusal of an input. *provider_fault* says that another provider may accept it.

    A place in a list is shown as `field[0]`.
    """
    first, *below = place
    field = str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in below)
    fault = Fault(("config", *place), sanitised(why), "provider_refuses")
    return Refusal(sanitised(f"{field}: {why}", MAX_MESSAGE), fault, provider_fault=provider_fault)


def collect_refusals(*checks: Callable[[], object]) -> Iterator[Fault]:
    """Yield the fault of each of *checks* that raises a `Refusal`."""
    for check in checks:
        try:
            check()
        except Refusal as refusal:
            yield refusal.fault


def seed_of(inputs: Mapping[str, Any], default: int) -> int:
    """Return the seed in the inputs, else *default*. Raises `Refusal`."""
    seed = default if (given := inputs.get("seed")) is None else given
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise input_refusal("seed", why="must be an integer from 0 to 2^63 - 1")
    return seed


def check_image_count(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise `Refusal` if the messages contain more images than a step may have. Called before any is fetched."""
    contents = [content for message in messages if isinstance(content := message.get("content"), list)]
    parts = sum(1 for content in contents for part in content if isinstance(part, Mapping) and _is_image(part))
    if parts > MAX_IMAGES:
        raise input_refusal("messages", why=f"expected {MAX_IMAGES} images at most")


def _is_image(part: Mapping[str, Any]) -> bool:
    """Return whether the part is anything other than text."""
    return part.get("type") != "text" or any(name.endswith("_url") for name in part)
