"""The service in tests: of users' projects, and of Stepwell itself. The manual's page `testing` shows how.

- `running` runs the whole service in the running event loop, with scripted providers and a clock that can be moved.
- `webhooks` receives webhooks and verifies them.
- `png` makes an image for a scripted answer or an upload.
- `MemoryDatabase` stores everything that the service stores in PostgreSQL, in the test's own process. The tests in
  `tests/persistence/contract` run against both, so that a workflow does the same on either.
- `ManualClock` stands still until a test moves it; `RunningClock` runs, and can be moved as well.
- `pytest_plugin` has the fixtures `stepwell_server`, `stepwell_app` and `stepwell_client`. pytest finds it by its entry
  point, in every project that Stepwell is installed for. So importing this package imports nothing else: the names are
  imported when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.testing.clocks import ManualClock, RunningClock
    from stepwell.testing.memory_database import MemoryDatabase
    from stepwell.testing.provider_scripts import ProviderCall, ProviderScripts, png
    from stepwell.testing.running_service import RunningStepwell, running
    from stepwell.testing.webhook_receiver import WebhookReceiver, webhooks

__all__ = [
    "ManualClock",
    "MemoryDatabase",
    "ProviderCall",
    "ProviderScripts",
    "RunningClock",
    "RunningStepwell",
    "WebhookReceiver",
    "png",
    "running",
    "webhooks",
]

_MODULES = {
    "ManualClock": "clocks",
    "MemoryDatabase": "memory_database",
    "ProviderCall": "provider_scripts",
    "ProviderScripts": "provider_scripts",
    "RunningClock": "clocks",
    "RunningStepwell": "running_service",
    "WebhookReceiver": "webhook_receiver",
    "png": "provider_scripts",
    "running": "running_service",
    "webhooks": "webhook_receiver",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
