"""The tables `installation` and `used_sign_in_codes`."""

from sqlalchemy import Table, TypedColumns

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import metadata


class InstallationColumns(TypedColumns):
    """One row: the id of the database, and the oldest migration revision whose code may still work on the tables.

    `sessions_ended_at` is when all sessions of the web page were ended the last time.
    """

    id = column.uuid(key=True)
    oldest_revision = column.text()
    has_folder = column.flag()
    sessions_ended_at = column.time()


class UsedSignInCodeColumns(TypedColumns):
    """The codes that have signed somebody in to the web page."""

    id = column.uuid(key=True)
    expires_at = column.time(nullable=False)


installation = Table("installation", metadata, InstallationColumns)
used_sign_in_codes = Table("used_sign_in_codes", metadata, UsedSignInCodeColumns)
