"""Columns, and what follows from them: composite types of rows, and functions that encode and decode rows.

A table is a class of columns. Each column stands there once, with its SQL type, and with the field of a struct that it
stores:
- `field` is the name of the field, if it isn't that of the column.
- `of` is what the argument of `encode` is called that has the field. It is the last argument of all if it isn't named.
- `encode` converts the field's value into that of the column, and `decode` does the reverse.
- `null` is the value of the field that is stored as NULL, if it isn't None.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias, TypedDict, TypeVar, Unpack
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from stepwell.persistence.tables.wire import row_source

T = TypeVar("T")
Columns: TypeAlias = tuple[sa.Column[Any], ...]
Row: TypeAlias = Any  # asyncpg's Record or SQLAlchemy's RowMapping: both are read by column name
Decoder: TypeAlias = Callable[[Row], T]

metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
    }
)


encode_json: Final = msgspec.json.Encoder().encode


class StoredField(TypedDict, total=False):
    """The field that a column stores, as above."""

    field: str
    of: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    null: Any


def time(*, nullable: bool = True, **field: Unpack[StoredField]) -> sa.Column[datetime]:
    return sa.Column(sa.DateTime(timezone=True), nullable=nullable, info={**field})


def text(*, nullable: bool = False, **field: Unpack[StoredField]) -> sa.Column[str]:
    return sa.Column(sa.Text(), nullable=nullable, info={**field})


def uuid(*, nullable: bool = False, key: bool = False, **field: Unpack[StoredField]) -> sa.Column[UUID]:
    """*key*: it is the primary key of the table."""
    return sa.Column(sa.Uuid(), nullable=nullable, primary_key=key, info={**field})


def json(*, nullable: bool = False, **field: Unpack[StoredField]) -> sa.Column[Any]:
    """JSON and not JSONB, because JSONB changes what clients and providers sent: the order of keys, 1.0, -0.

    `database.create_api_engine` passes it on as encoded bytes: a result goes from the row to the response undecoded.
    """
    return sa.Column(JSON(), nullable=nullable, info={**field})


def seconds(*, nullable: bool = False, **field: Unpack[StoredField]) -> sa.Column[float]:
    return sa.Column(sa.Double(), nullable=nullable, info={**field})


def integer(*, nullable: bool = False, default: int | None = None, **field: Unpack[StoredField]) -> sa.Column[int]:
    return sa.Column(sa.Integer(), nullable=nullable, server_default=_default(default), info={**field})


def bigint(*, nullable: bool = False, default: int | None = None) -> sa.Column[int]:
    return sa.Column(sa.BigInteger(), nullable=nullable, server_default=_default(default))


def count() -> sa.Column[int]:
    return integer(default=0)


def flag(**field: Unpack[StoredField]) -> sa.Column[bool]:
    return sa.Column(sa.Boolean(), nullable=False, server_default=sa.literal_column("false"), info={**field})


def positions(**field: Unpack[StoredField]) -> sa.Column[Any]:
    return sa.Column(ARRAY(sa.Integer), nullable=False, info={**field})


def texts(**field: Unpack[StoredField]) -> sa.Column[Any]:
    return sa.Column(ARRAY(sa.Text), nullable=False, info={**field})


def _default(value: int | None) -> Any:
    return None if value is None else sa.literal_column(str(value))


def part_of(table: sa.Table, declaration: type[sa.TypedColumns]) -> Columns:
    """Return those of the table's columns that the body of *declaration* has."""
    return tuple(column for column in table.c if column.name in vars(declaration))


def fields_of(columns: Iterable[sa.Column[Any]], argument: str | None = None) -> Columns:
    """Return those of *columns* that name this *argument* as `of`; without it, those that name none."""
    return tuple(column for column in columns if column.info.get("of") == argument)


def without(columns: Iterable[sa.Column[Any]], *unwanted: str) -> Columns:
    return tuple(column for column in columns if column.name not in unwanted)


def names(columns: Iterable[sa.Column[Any]], prefix: str = "") -> str:
    """Return the names of *columns* as SQL, each behind the *prefix*."""
    return ", ".join(prefix + column.name for column in columns)


def assign(columns: Columns, source: str, **others: str) -> str:
    """Return the SQL that sets each of *columns* to that of *source*. *others* has the SQL of other values by name."""
    return ", ".join(f"{column.name} = {others.get(column.name, f'{source}.{column.name}')}" for column in columns)


class RowType:
    """A composite type of the database, whose rows are parameters of statements.

    A migration has created it with these columns. It is never altered, because processes of an earlier version use it:
    a change creates another type. `encode` returns a row in the binary form of `tables.wire`. It has the *arguments*.
    A column with the name of an argument has its value, and the other columns are fields. An argument that is a UUID is
    passed as its bytes, because many rows have the same.

    Hot path (see `stepwell.persistence`): `encode` is generated as source, because `operator.attrgetter` takes twice as
    long.
    """

    by_name: Final[dict[str, "RowType"]] = {}

    def __init__(self, name: str, columns: Iterable[sa.Column[Any]], arguments: str) -> None:
        self.name, self.columns = name, tuple(columns)
        known = arguments.split(", ")
        row, row_names = row_source(
            [
                (each, each.name, True) if each.name in known else (each, _encoded(each, known[-1]), False)
                for each in self.columns
            ]
        )
        self.encode: Callable[..., bytes] = _generate(f"lambda {arguments}: {row}", self.columns, **row_names)
        RowType.by_name[name] = self


def decoder(columns: Iterable[sa.Column[Any]], into: Callable[..., T]) -> Decoder[T]:
    """Return a function that decodes *columns* of a row, and calls *into* with the values of their fields by name."""
    columns = tuple(columns)
    values = ", ".join(f"{column.info.get('field', column.name)}={_decoded(column)}" for column in columns)
    return _generate(f"lambda row: into({values})", columns, into=into)


def _encoded(column: sa.Column[Any], argument: str) -> str:
    """Return the source of the column's value. *argument* has its field, unless the column names another one."""
    field = f"{column.info.get('of', argument)}.{column.info.get('field', column.name)}"
    value = _converted(column, "encode", field)
    if not column.nullable or (value == field and "null" not in column.info):
        return value
    return f"None if {field} is {_null(column)} else {value}"


def _decoded(column: sa.Column[Any]) -> str:
    """Return the source of the value of the column's field."""
    value = f"row[{column.name!r}]"
    if not column.nullable or not column.info.keys() & {"decode", "null"}:
        return _converted(column, "decode", value)
    return f"{_null(column)} if (_ := {value}) is None else {_converted(column, 'decode', '_')}"


def _converted(column: sa.Column[Any], conversion: str, value: str) -> str:
    return f"{conversion}_{column.name}({value})" if conversion in column.info else value


def _null(column: sa.Column[Any]) -> str:
    return f"null_{column.name}" if "null" in column.info else "None"


def _generate(source: str, columns: Columns, **others: Any) -> Callable[..., Any]:
    names = {f"{option}_{column.name}": value for column in columns for option, value in column.info.items()}
    generated: Callable[..., Any] = eval(source, names | others)  # noqa: S307
    return generated


def to_json(value: Any) -> str:
    return encode_json(value).decode()
