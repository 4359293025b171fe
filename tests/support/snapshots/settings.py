"""The snapshot of the settings."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo, fields

from stepwell.providers.installed_providers import BUILT_IN
from stepwell.settings import Settings

NAME = "settings.txt"
_LIMITS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")


def settings() -> str:
    """Return name, type and default of each setting, with its limits and its description below.

    The settings of the built-in providers follow those of the service.
    """
    entries = [_entry(each.encode_name, each) for each in fields(Settings)]
    for provider in BUILT_IN:
        own = () if provider.settings is None else fields(provider.settings)
        entries += [_entry(f"{provider.name}_{each.name}".lower(), each, provider.name) for each in own]
    return "\n".join(entries)


def _entry(name: str, setting: FieldInfo, provider: str = "") -> str:
    default = "" if setting.required else f" = {_default(setting)}"
    lines = [f"{name}: {_type(setting.type)}{default}"]
    for meta in _metas(setting.type):
        limits = {name: limit for name in _LIMITS if (limit := getattr(meta, name)) is not None}
        shown = dict(meta.extra or {})
        lines += [f"    {name}: {value}" for name, value in (limits | shown).items()]
        lines += [indent(meta.description.replace("{provider}", provider), "    ")] if meta.description else []
    return "\n".join(lines) + "\n"


def _default(setting: FieldInfo) -> str:
    default = setting.default if setting.default is not NODEFAULT else setting.default_factory()
    return "(depends on the user)" if isinstance(default, Path) else repr(default)


def _type(kind: Any) -> str:
    """Return the name of a type without its module and its metadata."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if not parts:
        return "None" if kind is NoneType else str(getattr(kind, "__name__", kind))
    if isinstance(origin, type) and origin.__name__ not in ("UnionType", "Union"):
        return f"{origin.__name__}[{', '.join(map(_type, parts))}]"
    return " | ".join(dict.fromkeys(map(_type, parts)))


def _metas(kind: Any) -> Iterator[Meta]:
    """Yield the `Meta`s of a type, those of its parts last."""
    if get_origin(kind) is Annotated:
        yield from (meta for meta in kind.__metadata__ if isinstance(meta, Meta))
        yield from _metas(kind.__origin__)
    elif get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from _metas(part)
