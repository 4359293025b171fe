"""The composition root: everything is put together here, and taken apart again."""

from stepwell.app.composition import Application, running_app

__all__ = ["Application", "running_app"]
