"""The binary form of values and rows in PostgreSQL's protocol.

Hot path (see `stepwell.persistence`): asyncpg encodes each column of each row anew, and asks two abstract base classes
whether a row is an array. That takes half as long again. Most values of a batch repeat, like times, numbers and states.
So each is encoded once and kept in a cache.

A column of a row is the object identifier of its type, its length and its value. A length of -1 means NULL.
https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, DateTime, Double, Integer, Text, Uuid
from sqlalchemy.dialects.postgresql import JSON

_CACHE_SIZE = 4_096
_CACHED_BYTES = 100  # of one value: longer ones seldom repeat
_HEAD: Final = Struct(">Ii").pack
_INTEGER: Final = Struct(">i").pack
_TIME: Final = Struct(">Iiq").pack
_ARRAY: Final = Struct(">iiIii").pack
_INTEGER_OID, _TIME_OID, _UUID_OID = 23, 1184, 2950
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
_NULL_UUID: Final = _HEAD(_UUID_OID, -1)
_UUID_HEAD: Final = _HEAD(_UUID_OID, 16)


class EncodedValues(dict[Any, bytes]):
    """A bounded cache of encoded columns of one type, by their values. None is NULL.

    *oid* is the type's object identifier, which is the same in all versions of PostgreSQL.
    """

    def __init__(self, oid: int, encode: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._oid, self._encode, self._null = oid, encode, _HEAD(oid, -1)

    def __missing__(self, value: Any) -> bytes:
        binary = b"" if value is None else self._encode(value)
        encoded = self._null if value is None else _HEAD(self._oid, len(binary)) + binary
        if len(binary) <= _CACHED_BYTES:
            if len(self) >= _CACHE_SIZE:
                self.clear()
            self[value] = encoded
        return encoded


class _EncodedTimes(EncodedValues):
    """Times in microseconds since PostgreSQL's epoch. Each batch has new ones, so a miss costs as little as it can."""

    def __missing__(self, value: datetime | None) -> bytes:
        if value is None:
            return super().__missing__(value)
        since = value - _EPOCH
        microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        if len(self) >= _CACHE_SIZE:
            self.clear()
        self[value] = encoded = _TIME(_TIME_OID, 8, microseconds)
        return encoded


def _encode_integers(values: Sequence[int]) -> bytes:
    return encode_array(_INTEGER_OID, [_INTEGER(value) for value in values])


_CACHES: Final[dict[type[Any], EncodedValues]] = {
    Boolean: EncodedValues(16, lambda value: b"\1" if value else b"\0"),
    BigInteger: EncodedValues(20, Struct(">q").pack),
    Integer: EncodedValues(_INTEGER_OID, _INTEGER),
    Text: EncodedValues(25, str.encode),
    JSON: EncodedValues(114, bytes),
    Double: EncodedValues(701, Struct(">d").pack),
    ARRAY: EncodedValues(1007, _encode_integers),
    DateTime: _EncodedTimes(_TIME_OID, bytes),
}


def encode_array(oid: int, values: Sequence[bytes]) -> bytes:
    """Return the binary form of an array of *values*, whose type has the object identifier *oid*."""
    if not values:
        return _ARRAY(0, 0, oid, 0, 0)[:12]
    return _ARRAY(1, 0, oid, len(values), 1) + b"".join([_INTEGER(len(value)) + value for value in values])


def row_source(columns: Sequence[tuple[Column[Any], str, bool]]) -> tuple[str, dict[str, Any]]:
    """Return the Python source of an expression that encodes a row, and the names that the source uses.

    Each of *columns* has the source of its value beside it, and whether that is already the bytes of a UUID.
    """
    names: dict[str, Any] = {"join": b"".join, "null_uuid": _NULL_UUID, "uuid_head": _UUID_HEAD}
    parts: list[str] = []
    constant = _INTEGER(len(columns))
    for column, value, is_bytes in columns:
        if not isinstance(column.type, Uuid):
            kind, cache = next(each for each in _CACHES.items() if isinstance(column.type, each[0]))
            names[kind.__name__] = cache
            part = f"{kind.__name__}[{value}]"
        elif column.nullable and not is_bytes:
            part = f"null_uuid if {value} is None else uuid_head + {value}.bytes"
        else:
            constant += _UUID_HEAD
            part = value if is_bytes else f"{value}.bytes"
        if constant:
            parts.append(repr(constant))
            constant = b""
        parts.append(part)
    return f"join(({', '.join(parts)},))", names
