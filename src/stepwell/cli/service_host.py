"""Hosts the service in the main task of `up`, `serve`, `run` and `bench`, and reports its failures in clear lines."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from litestar import Litestar
from msgspec.structs import replace

from stepwell.app import PostgresSource, Service, running_app
from stepwell.artifacts.store_setup import StorageRefused
from stepwell.basics.errors import Unavailable
from stepwell.cli.errors import FAILED, Refused
from stepwell.cli.http_server import HttpServer
from stepwell.cli.keys import ServiceKeys
from stepwell.cli.listeners import Listeners
from stepwell.cli.output import print_result
from stepwell.cli.signals import Stop
from stepwell.cli.worker import require_celery
from stepwell.definition.provider_descriptors import InvalidProviders
from stepwell.mcp.http_endpoint import build_endpoint, refuse_without_sdk
from stepwell.mcp.sdk import has_sdk
from stepwell.persistence.connections.database import NotDurable
from stepwell.settings import Settings

log = structlog.get_logger()
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@asynccontextmanager
async def open_service(
    keys: ServiceKeys, dsn: str, *, exclusive: bool, server_disk_full: Callable[[], bool] = lambda: False
) -> AsyncIterator[Service]:
    """Run the service as `running_app` does. Its failures, and the end of a broken engine, are raised as `Refused`."""
    if keys.settings.executor == "celery":
        require_celery()
    app: Service | None = None
    try:
        async with running_app(
            keys.settings,
            source=PostgresSource(dsn, server_disk_full=server_disk_full),
            url_secret=keys.url_secret,
            exclusive=exclusive,
        ) as app:
            yield app
    except NotDurable as error:
        raise Refused(f"the database doesn't keep what it commits: {error}") from error
    except Unavailable as error:
        raise Refused(f"cannot start: {error}") from error
    except (StorageRefused, InvalidProviders) as error:
        raise Refused(str(error)) from error
    except PermissionError as error:
        raise Refused(
            f"cannot use the artifact folder {keys.settings.artifacts}: {error.strerror}: "
            "let this user write there, or choose another folder with STEPWELL_ARTIFACT_DIR"
        ) from error
    except Exception as error:
        if app is not None and is_broken(app):
            raise Refused("the engine broke; the log says why") from error
        raise


async def serve_requests(
    app: Service, keys: ServiceKeys, listeners: Listeners, stop: Stop, ready: Callable[[], None]
) -> int:
    """Serve the API, and `/mcp`, on *listeners* until *stop* or the end of the engine. Returns the exit code.

    The listeners close last. While the engine ends, the API serves reads and refuses writes with 503.
    """
    mount_mcp(app.api, keys.settings)
    server = HttpServer(app.api, keys.settings, app.connections, admin=listeners.admin)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listeners.api]), name="http")
        await server.opened.wait()
        stop.take_over()
        ready()
        await _stop_or_end_of_engine(app, stop)
        if is_broken(app):
            log.critical("engine.broke", action="stop")
        else:
            log.info("service.stopping", action="stop", grace_s=keys.settings.grace_s)
            await app.stop()
        server.should_exit = True
    return FAILED if is_broken(app) else 0


def announce_ready(settings: Settings, more: str = "") -> None:
    """Log and print that the service is ready, with its address."""
    address = replace(settings, public_url=None).base_url
    log.info("service.ready", action="start", address=address)
    print_result(f"Stepwell is ready on {address}" + (f" ({more})" if more else ""))


def is_broken(app: Service) -> bool:
    """Return whether the engine has ended by itself."""
    return app.running.done() and not app.running.cancelled()


async def _stop_or_end_of_engine(app: Service, stop: Stop) -> None:
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(stop.wait(), name="stop")
        await asyncio.wait({stopping, app.running}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()


def mount_mcp(api: Litestar, settings: Settings) -> None:
    """Let *api* serve `/mcp`. The SDK is imported when the first request comes.

    Pages of the service itself may call it, and those of the configured origins. Without the extra `mcp`, the response
    says what to install.
    """
    if not has_sdk():
        api.register(refuse_without_sdk)
        return
    own = [f"http://{host}:{settings.port}" for host in _LOOPBACK]
    # A browser's Origin has no path, which the public URL may have.
    public = "/".join(settings.base_url.split("/", 3)[:3])
    api.register(build_endpoint(api, [public, *own, *settings.cors_origins]))
