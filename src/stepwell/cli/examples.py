"""`stepwell example`: example definitions, and a worker for the provider CUSTOM."""

from collections.abc import Collection

from stepwell.cli.errors import MISUSED, Refused
from stepwell.examples import Example, read_custom_worker, read_examples

_CUSTOM_WORKER = "custom-worker"


def example(name: str) -> str:
    """Return the text of the example *name*: a definition, or the program of the worker.

    Raises `Refused`, which lists the names.
    """
    if name == _CUSTOM_WORKER:
        return read_custom_worker()
    return find_example(name, examples()).text


def find_example(name: str, names: Collection[str]) -> Example:
    """Return the definition *name*. Raises `Refused`, which lists *names*."""
    if (example := read_examples().get(name)) is None:
        raise Refused(f"there is no example {name!r}; the examples are {', '.join(names)}", code=MISUSED)
    return example


def examples() -> dict[str, str]:
    """Return the one-line description of each example, by name. The worker is the last one."""
    descriptions = {name: example.description for name, example in read_examples().items()}
    return descriptions | {_CUSTOM_WORKER: "A worker for the provider CUSTOM, as a program in Python"}
