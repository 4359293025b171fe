"""The composition root: the only place where adapters, the engine and the API are put together.

`service.Service` builds, runs and stops the whole service. `construction` and `services` build its parts, and
`database`, `attempts` and `metrics` what belongs to these.
"""

from stepwell.app.database import Database, DatabaseSource, PostgresSource
from stepwell.app.service import Service, running_app

__all__ = ["Database", "DatabaseSource", "PostgresSource", "Service", "running_app"]
