"""`stepwell example`: example definitions, and a worker for the provider CUSTOM."""

from stepwell.cli.errors import MISUSED, Refused
from stepwell.examples import read_custom_worker, read_examples

_CUSTOM_WORKER = "custom-worker"


def example(name: str) -> str:
    """Return the text of the example *name*: a definition, or the program of the worker.

    Raises `Refused`, which lists the names.
    """
    if name == _CUSTOM_WORKER:
        return read_custom_worker()
    definitions = read_examples()
    if name not in definitions:
        raise Refused(f"there is no example {name!r}; the examples are {', '.join(examples())}", code=MISUSED)
    return definitions[name].text


def examples() -> dict[str, str]:
    """Return the one-line description of each example, by name. The worker is the last one."""
    descriptions = {name: example.description for name, example in read_examples().items()}
    return descriptions | {_CUSTOM_WORKER: "A worker for the provider CUSTOM, as a program in Python"}
