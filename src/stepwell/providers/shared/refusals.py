"""What a provider refuses whatever happens at run time. It is raised where a step runs; where one is created, the same
checks tell it with its place, before anything is paid for.
"""

from collections.abc import Callable, Iterator

from stepwell.domain.errors import AttemptError, Fault
from stepwell.outbound.sanitise import MAX_MESSAGE, sanitised

_CONFIG_MESSAGE = 300


class Refusal(AttemptError):
    """`fault` has the place in the step's definition, below "config" or "provider_config"."""

    def __init__(self, message: str, fault: Fault, *, provider_fault: bool) -> None:
        super().__init__(message, retryable=False, provider_fault=provider_fault)
        self.fault = fault


def refused_config(*member: str, why: str, word: str = "provider_refuses") -> Refusal:
    """Another provider may do better. *word* is the fault's type."""
    message = sanitised(f"provider_config.{'.'.join(member)}: {why}", _CONFIG_MESSAGE)
    fault = Fault(("provider_config", *member), sanitised(why, _CONFIG_MESSAGE), word)
    return Refusal(message, fault, provider_fault=True)


def refused_input(*place: str | int, why: str, provider_fault: bool = False) -> Refusal:
    """*provider_fault*: another provider may do better. Places in a list are told as `field[0]`."""
    first, *below = place
    field = str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in below)
    fault = Fault(("config", *place), sanitised(why), "provider_refuses")
    return Refusal(sanitised(f"{field}: {why}", MAX_MESSAGE), fault, provider_fault=provider_fault)


def told(*checks: Callable[[], object]) -> Iterator[Fault]:
    """What each of the *checks* refuses."""
    for check in checks:
        try:
            check()
        except Refusal as refusal:
            yield refusal.fault
