"""`stepwell example`: definitions to begin with, which LOCAL runs without a key or a network."""

from importlib.resources import files

from msgspec import Struct, json

from stepwell.cli.refusal import MISUSED, Refused

_SUFFIX = ".json"


class _Described(Struct):
    description: str


def example(name: str) -> str:
    """The definition of that name, as JSON. Raises `Refused`, which lists the names."""
    found = _definitions()
    if name not in found:
        raise Refused(f"there is no example {name!r}; there are {', '.join(found)}", code=MISUSED)
    return found[name]


def examples() -> dict[str, str]:
    """What each does, in one line, by its name."""
    return {name: json.decode(text, type=_Described).description for name, text in _definitions().items()}


def _definitions() -> dict[str, str]:
    folder = files("stepwell") / "examples"
    named = {each.name.removesuffix(_SUFFIX): each for each in folder.iterdir() if each.name.endswith(_SUFFIX)}
    return {name: named[name].read_text(encoding="utf-8") for name in sorted(named)}
