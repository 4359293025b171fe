"""The composition root: the only place where adapters, the engine and the API are put together."""

from stepwell.app.composition import Application, running_app
from stepwell.app.database import Database, DatabaseSource, PostgresSource

__all__ = ["Application", "Database", "DatabaseSource", "PostgresSource", "running_app"]
