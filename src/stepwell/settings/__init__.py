"""The settings of the service: one struct with all defaults, and the functions that read it from the environment."""

from stepwell.settings.all_settings import LOCAL_INSTANCE, Settings
from stepwell.settings.reader import InvalidSettings, make_settings, read_settings, unread_settings

__all__ = ["LOCAL_INSTANCE", "InvalidSettings", "Settings", "make_settings", "read_settings", "unread_settings"]
