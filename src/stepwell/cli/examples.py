"""`stepwell example`: example definitions, which LOCAL runs without a key or a network."""

from importlib.resources import files

from msgspec import Struct, json

from stepwell.cli.errors import MISUSED, Refused

_SUFFIX = ".json"


class _Definition(Struct):
    description: str


def example(name: str) -> str:
    """Return the example *name* as JSON text. Raises `Refused`, which lists the names."""
    definitions = _definitions()
    if name not in definitions:
        raise Refused(f"there is no example {name!r}; the examples are {', '.join(definitions)}", code=MISUSED)
    return definitions[name]


def examples() -> dict[str, str]:
    """Return the one-line description of each example, by name."""
    return {name: json.decode(text, type=_Definition).description for name, text in _definitions().items()}


def _definitions() -> dict[str, str]:
    folder = files("stepwell") / "examples"
    paths = {path.name.removesuffix(_SUFFIX): path for path in folder.iterdir() if path.name.endswith(_SUFFIX)}
    return {name: paths[name].read_text(encoding="utf-8") for name in sorted(paths)}
