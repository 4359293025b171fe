"""Bodies as bytes that a service must refuse, each with the places and the words of its faults."""

from typing import NamedTuple

LEAST = {b"name": b'"n"', b"origin_instance": b'"o"', b"steps": b'[{"id":"a","task_type":"PASSTHROUGH"}]'}
Loc = tuple[str | int, ...]


class Refused(NamedTuple):
    """`faults`: places below "body" and types."""

    name: str
    body: bytes
    faults: set[tuple[Loc, str]]


def raw(**members: bytes) -> bytes:
    """A sound definition with some members replaced, in JSON."""
    whole = LEAST | {name.encode(): value for name, value in members.items()}
    return b"{" + b",".join(b'"' + name + b'":' + value for name, value in whole.items()) + b"}"


def nested(levels: int, inside: bytes = b"1") -> bytes:
    """A definition so many levels deep, its own object and `config` included."""
    return raw(config=b'{"a":' * (levels - 1) + inside + b"}" * (levels - 1))


def step(**members: bytes) -> bytes:
    whole = {"id": b'"a"', "task_type": b'"PASSTHROUGH"'} | members
    inner = b",".join(b'"' + name.encode() + b'":' + value for name, value in whole.items())
    return raw(steps=b"[{" + inner + b"}]")


def _at(word: str, *loc: str | int) -> set[tuple[Loc, str]]:
    return {(loc, word)}


_MALFORMED = _at("json_invalid")
_IN_CONFIG = ("config", "x")

NUL = [
    Refused("in a name", raw(name=rb'"a\u0000b"'), _at("nul_character", "name")),
    Refused("in a value", raw(config=rb'{"x":{"y":[0,"\u0000"]}}'), _at("nul_character", *_IN_CONFIG, "y", 1)),
    Refused("in a key", raw(config=rb'{"\u0000":1}'), _at("nul_character", "config", "\x00")),
    Refused("in a step id", step(id=rb'"\u0000"'), _at("nul_character", "steps", 0, "id")),
    Refused("in a step's config", step(config=rb'{"x":"\u0000"}'), _at("nul_character", "steps", 0, *_IN_CONFIG)),
    Refused(
        "twice",
        raw(name=rb'"\u0000"', description=rb'"\u0000"'),
        {(("name",), "nul_character"), (("description",), "nul_character")},
    ),
    Refused("as a byte", raw(name=b'"\x00"'), _MALFORMED),
    Refused("behind the end", raw() + b"\x00", _MALFORMED),
    Refused("before the start", b"\x00" + raw(), _MALFORMED),
    Refused("and nothing else", b"\x00", _MALFORMED),
]
SURROGATES = [
    Refused("high", raw(name=rb'"\ud800"'), _at("lone_surrogate", "name")),
    Refused("low", raw(name=rb'"\udfff"'), _at("lone_surrogate", "name")),
    Refused("reversed", raw(config=rb'{"x":"\udc00\ud800"}'), _at("lone_surrogate", *_IN_CONFIG)),
    Refused("in a key", raw(config=rb'{"\udbff":1}'), _at("lone_surrogate", "config", r"\udbff")),
    Refused("as bytes", raw(name=b'"\xed\xa0\x80"'), _MALFORMED),
    Refused("a pair as bytes", raw(name=b'"\xed\xa0\xbd\xed\xb8\x80"'), _MALFORMED),
]
NUMBERS = [
    *(
        Refused(text.decode()[:9], raw(config=b'{"x":' + text + b"}"), _at("finite_number", *_IN_CONFIG))
        for text in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 400 + b".0")
    ),
    *(
        Refused(text.decode()[:9], raw(config=b'{"x":' + text + b"}"), _at("int_out_of_range", *_IN_CONFIG))
        for text in (b"9223372036854775808", b"-9223372036854775809", b"1" * 5_000, b"-" + b"9" * 100)
    ),
    Refused(
        "a big int for a typed field", step(max_retries=b"9" * 30), _at("int_out_of_range", "steps", 0, "max_retries")
    ),
    *(
        Refused(repr(text), raw(config=b'{"x":' + text + b"}"), _MALFORMED)
        for text in (b"01", b"+1", b".5", b"1.", b"0x1", b"1_0", b"nan", b"--1")
    ),
]
DEPTH = [
    Refused("65", nested(65, b"{}"), _at("too_deep", *("config", *"a" * 63))),
    Refused(
        "65, lists", raw(config=b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"), _at("too_deep", "config", "a", *[0] * 62)
    ),
    Refused("5,000", nested(5_000), _at("too_deep")),
    Refused("100,000 open", b"[" * 100_000, _at("too_deep")),
    Refused("100,000 objects open", b'{"a":' * 100_000, _at("too_deep")),
]
ENCODINGS = [
    Refused("a stray byte", raw(name=b'"\xff"'), _MALFORMED),
    Refused("overlong", raw(name=b'"\xc0\xaf"'), _MALFORMED),
    Refused("overlong NUL", raw(name=b'"\xc0\x80"'), _MALFORMED),
    Refused("beyond Unicode", raw(name=b'"\xf4\x90\x80\x80"'), _MALFORMED),
    Refused("cut off", raw(name=b'"\xe2\x82"'), _MALFORMED),
    Refused("latin-1", raw(name='"é"'.encode("latin-1")), _MALFORMED),
    Refused("a byte order mark", b"\xef\xbb\xbf" + raw(), _MALFORMED),
    *(
        Refused(kind, raw().decode().encode(kind), _MALFORMED)
        for kind in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7")
        if kind != "utf-7"
    ),
    Refused("gzip", b"\x1f\x8b\x08\x00", _MALFORMED),
]
KEYS = [
    Refused("at the top", raw()[:-1] + b',"name":"m"}', _at("duplicate_key", "name")),
    Refused("the same value", raw()[:-1] + b',"name":"n"}', _at("duplicate_key", "name")),
    Refused("deep", raw(config=b'{"x":[{"y":1,"z":2,"y":3}]}'), _at("duplicate_key", *_IN_CONFIG, 0, "y")),
    Refused(
        "in a step",
        raw(steps=b'[{"id":"a","task_type":"PASSTHROUGH","id" : "b"}]'),
        _at("duplicate_key", "steps", 0, "id"),
    ),
    Refused("by an escape", raw(config=rb'{"x":1,"\u0078":2}'), _at("duplicate_key", *_IN_CONFIG)),
    Refused("thrice", raw(config=b'{"x":1,"x":2,"x":3}'), _at("duplicate_key", *_IN_CONFIG)),
]
SYNTAX = [
    *(
        Refused(repr(body)[:12], body, _MALFORMED)
        for body in (
            *(
                b"{",
                b"}",
                b"{]",
                b'{"a"}',
                b'{"a":}',
                b"{'a':1}",
                b'{"a":1,}',
                b"[1,]",
                b"{}{}",
                b"{} x",
                b"tru",
                b"// x",
            ),
            *(
                b'"',
                b'"\n"',
                b'"\x1f"',
                rb'"\x"',
                rb'"\u12"',
                rb'"\u00g0"',
                b"{1:2}",
                b"{null:1}",
                b" ",
                b"\n",
                b"\x0b{}",
            ),
            *(raw()[:-1], raw() + b"}", raw(name=b""), raw(name=b"undefined"), b"a=b&c=d", b"<a/>"),
        )
    ),
    Refused("nothing", b"", _at("missing")),
    *(
        Refused(repr(body), body, _at("dict_type"))
        for body in (b"null", b"[]", b"1", b'"x"', b"true", b"-0.0", b"[{}]")
    ),
]
TYPES = [
    *(
        Refused(f"max_retries {value.decode()}", step(max_retries=value), _at("int_type", "steps", 0, "max_retries"))
        for value in (b"1.5", b"1e-1", b'"1"', b"true", b"[]")
    ),
    *(
        Refused(
            f"suppress {value.decode()}",
            raw(suppress_subtask_events=value),
            _at("bool_type", "suppress_subtask_events"),
        )
        for value in (b"1", b"0", b'"true"')
    ),
    *(
        Refused(f"name {value.decode()}", raw(name=value), _at("string_type", "name"))
        for value in (b"1", b"null", b'["n"]', b"{}", b"true")
    ),
    *(
        Refused(f"steps {value.decode()}", raw(steps=value), _at("list_type", "steps"))
        for value in (b"null", b"{}", b'"x"', b"1")
    ),
    *(
        Refused(f"config {value.decode()}", raw(config=value), _at("dict_type", "config"))
        for value in (b"[]", b'"x"', b"1")
    ),
    Refused("no steps", raw(steps=b"[]"), _at("too_short", "steps")),
    Refused("a null step", raw(steps=b"[null]"), _at("dict_type", "steps", 0)),
    Refused("depends_on a string", step(depends_on=b'"a"'), _at("list_type", "steps", 0, "depends_on")),
    Refused("depends_on numbers", step(depends_on=b"[1]"), _at("string_type", "steps", 0, "depends_on", 0)),
    Refused(
        "more than is known",
        raw(status=b'"RUNNING"', id=b'"x"', deleted_at=b"null"),
        {((name,), "extra_forbidden") for name in ("status", "id", "deleted_at")},
    ),
    Refused("a mistyped depends_on", step(dependson=b'["b"]'), _at("extra_forbidden", "steps", 0, "dependson")),
    Refused("a very long key", raw(**{"k" * 5000: b"1"}), _at("extra_forbidden", "k" * 255 + "…")),
]
IDS = [
    Refused("empty", step(id=b'""'), _at("too_short", "steps", 0, "id")),
    Refused("256 characters", step(id=b'"' + b"x" * 256 + b'"'), _at("too_long", "steps", 0, "id")),
    Refused("a megabyte", step(id=b'"' + b"x" * 1_000_000 + b'"'), _at("too_long", "steps", 0, "id")),
    *(
        Refused(repr(text), step(id=b'"' + text + b'"'), _at("string_pattern_mismatch", "steps", 0, "id"))
        for text in (rb"\n", rb"a\n", rb"\u007f", rb"\u0085", rb"\u001b[0m", rb"\t")
    ),
    Refused("itself", step(depends_on=b'["a"]'), _at("self_dependency", "steps", 0, "depends_on", 0)),
]
ALL = {
    "NUL": NUL,
    "surrogates": SURROGATES,
    "numbers": NUMBERS,
    "depth": DEPTH,
    "encodings": ENCODINGS,
    "keys": KEYS,
    "syntax": SYNTAX,
    "types": TYPES,
    "ids": IDS,
}
