"""Example definitions, and an example of a worker for the provider CUSTOM.

LOCAL runs the definitions without a key or a network, but for the judges, which are an LLM of OpenAI.
"""

import re
from importlib.resources import files

from msgspec import Struct, json

_SUFFIX = ".json"
_PROVIDER = re.compile(r'"provider_type": "(\w+)"')


class Example(Struct, frozen=True):
    """An example: its short name, the name and the one-line description of its workflow, and the JSON text.

    `providers` are those that it names.
    """

    name: str
    title: str
    description: str
    text: str
    providers: frozenset[str] = frozenset()


class _Definition(Struct):
    name: str
    description: str


def read_examples() -> dict[str, Example]:
    """Return all examples by their short names, sorted."""
    folder = files(__name__)
    names = sorted(path.name.removesuffix(_SUFFIX) for path in folder.iterdir() if path.name.endswith(_SUFFIX))
    return {name: _read(name, (folder / f"{name}{_SUFFIX}").read_text(encoding="utf-8")) for name in names}


def read_custom_worker() -> str:
    """Return the program of the example worker, which needs nothing but Python."""
    return (files(__name__) / "custom_worker.py").read_text(encoding="utf-8")


def _read(name: str, text: str) -> Example:
    definition = json.decode(text, type=_Definition)
    return Example(name, definition.name, definition.description, text, frozenset(_PROVIDER.findall(text)))
