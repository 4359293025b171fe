"""`stepwell example`: example definitions."""

from stepwell.cli.errors import MISUSED, Refused
from stepwell.examples import read_examples


def example(name: str) -> str:
    """Return the example *name* as JSON text. Raises `Refused`, which lists the names."""
    known = read_examples()
    if name not in known:
        raise Refused(f"there is no example {name!r}; the examples are {', '.join(known)}", code=MISUSED)
    return known[name].text


def examples() -> dict[str, str]:
    """Return the one-line description of each example, by name."""
    return {name: example.description for name, example in read_examples().items()}
