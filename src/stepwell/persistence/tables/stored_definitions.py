"""The tables `definitions` and `definition_versions`."""

from typing import Final

from msgspec import json
from sqlalchemy import PrimaryKeyConstraint, Table, TypedColumns

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import Decoder, decoder, metadata, without
from stepwell.rules.stored_definitions import StoredName, StoredVersion

_decode_labels: Final = json.Decoder(dict[str, str]).decode


class DefinitionColumns(TypedColumns):
    """The names of definitions. `lane` is the tenant, "" for none.

    `newest` is the number of the last version, and `versions` how many there are. A name without versions was deleted.
    Its row stays, so that the numbers go on if the name is stored again.
    """

    lane = column.text()
    name = column.text()
    newest = column.integer()
    versions = column.integer()
    default_version = column.integer(nullable=True)
    archived = column.flag()
    labels = column.json(decode=_decode_labels)
    description = column.text(nullable=True)
    bytes = column.bigint()


class VersionColumns(TypedColumns):
    """The versions of definitions, which never change. `digest` is that of the content as canonical JSON."""

    lane = column.text()
    name = column.text()
    version = column.integer()
    digest = column.text()
    size = column.integer()
    created_by = column.text()
    created_at = column.time(nullable=False)
    refers_to = column.texts(decode=tuple)
    content = column.json()


definitions: Final = Table("definitions", metadata, DefinitionColumns, PrimaryKeyConstraint("lane", "name"))
definition_versions: Final = Table(
    "definition_versions", metadata, VersionColumns, PrimaryKeyConstraint("lane", "name", "version")
)

NAME: Final = without(definitions.c, "lane")
VERSION: Final = without(definition_versions.c, "lane", "name", "content")
read_name: Final[Decoder[StoredName]] = decoder(NAME, StoredName)
read_version: Final[Decoder[StoredVersion]] = decoder(VERSION, StoredVersion)
