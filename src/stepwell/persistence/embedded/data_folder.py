"""The folder of an embedded PostgreSQL server: its owner, its running server, and its files.

Two locks show who uses the folder. `owner.lock` is held by the Python process that owns the folder. `server.lock` is
held by every process of the server, by an inherited descriptor. While it is free, no server of ours runs on the data,
so `postmaster.pid` is stale. A pid alone proves nothing, because pids are reused.
"""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stepwell.persistence.embedded.programs import (
    BUILTIN_LOCALE_SINCE,
    UNFINISHED,
    PostgresUnavailable,
    Programs,
    SystemAccount,
    tail,
)

PORT = "5432"  # only part of the socket's name: nothing listens on TCP
USER = "stepwell"

_OWNER_TIMEOUT_S = 2.0
_POLL_S = 0.01
_LOG_KEPT = 16 * 1024 * 1024
_LOG_READ = 64 * 1024
_SOCKET_PATH_MAX = 100  # of 107 on Linux, 103 on macOS
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+")  # needs no quotes in unix_socket_directories
_LEAST_ROOM = 17 * 1024 * 1024  # bytes; a starting server may need a new segment of its write-ahead log, 16 MiB
_SOCKETS_LINE, _STATUS_LINE = 4, 7  # of postmaster.pid; pg_ctl reads these too


class DataFolderInUse(Exception):
    """Another live process owns the data folder. `command` is its command, like "up"; "" if unknown."""

    def __init__(self, root: Path, pid: str, command: str) -> None:
        super().__init__(
            f"{root} is in use by process {pid or 'unknown'}" + (f" (stepwell {command})" if command else "")
        )
        self.command = command


class DataFolder:
    """The folder *root*. `data` is PostgreSQL's own folder in it, beside the locks, the log and the sockets.

    With *restoring*, `data` is a new folder instead, which `publish` renames to the usual one, `published`.
    """

    def __init__(self, root: Path, *, restoring: bool = False) -> None:
        self.root = root.absolute()
        self.published = self.root / "data"
        self.data = self.root / f"{UNFINISHED}restore" if restoring else self.published
        self._restored = self.root / "data-restored"
        self.log = self.root / "postgres.log"
        self._owner: int | None = None  # descriptor of owner.lock
        self._log_start = 0

    def is_disk_full(self) -> bool:
        """Return whether the folder's disk has too little space for a server. Quotas may be missing in `statvfs`."""
        try:
            disk = os.statvfs(self.root)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < _LEAST_ROOM or (disk.f_files > 0 and disk.f_favail == 0)

    def claim(self, command: str = "", tidy: Callable[[], object] = lambda: None) -> None:
        """Become the owner, and create the folder. Raises `DataFolderInUse` if another live process is the owner.

        Other processes get *command* from that exception. *tidy* is called before, and removes what the last owner left
        for them.
        """
        if self._owner is not None:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.root.chmod(0o711)  # the account that runs PostgreSQL passes through
        lock = _open_lock(self.root / "owner.lock")
        try:
            self._await_ownership(lock)
            os.ftruncate(lock, 0)
            tidy()
            os.pwrite(lock, f"{os.getpid()} {command}".rstrip().encode() + b"\n", 0)
        except BaseException:
            os.close(lock)
            raise
        self._owner = lock

    def _await_ownership(self, lock: int) -> None:
        deadline = time.monotonic() + _OWNER_TIMEOUT_S
        while not _locked(lock):
            pid, command = _read_owner(lock)
            # With a dead or missing pid, the owner is just ending, or has just started.
            if _alive(pid) or time.monotonic() > deadline:
                raise DataFolderInUse(self.root, pid, command)
            time.sleep(_POLL_S)

    def owner_command(self) -> str | None:
        """Return the command of the live process that owns the folder; "" if unknown, None if no process owns it."""
        try:
            lock = os.open(self.root / "owner.lock", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            # If this takes the free lock, a process that claims the folder meanwhile reads a dead pid and waits.
            if _locked(lock, fcntl.LOCK_SH):
                return None
            pid, command = _read_owner(lock)
            return command if _alive(pid) else ""  # a dead pid is the last owner's, until the next owner writes its own
        finally:
            os.close(lock)

    def release(self) -> None:
        """Let others own the folder. Restored data that weren't published are deleted; no server runs on them now."""
        lock, self._owner = self._owner, None
        if lock is None:
            return
        if self.data != self.published:
            shutil.rmtree(self.data, ignore_errors=True)
        os.close(lock)

    @contextmanager
    def server_lock(self) -> Iterator[int | None]:
        """Yield the descriptor for a server to inherit. None while a process of an earlier server holds the lock."""
        lock = _open_lock(self.root / "server.lock")
        try:
            yield lock if _locked(lock) else None
        finally:
            os.close(lock)  # only this copy: processes that inherited the descriptor keep the lock

    def end_orphan(self) -> None:
        """End a server that outlived its owner. Linux has signalled it already, other systems haven't."""
        with self.server_lock() as lock:
            pid = self._server_pid()
        if lock is None and pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def clear_stale(self, sockets: Path) -> None:
        """Remove the pid file and the sockets of a server that has ended. The caller holds the server's lock."""
        if pid := self._server_pid():  # without our lock: started by hand, and alive
            raise PostgresUnavailable(f"process {pid}, a PostgreSQL server we didn't start, runs on {self.data}")
        for stale in (self.data / "postmaster.pid", *sockets.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)

    def accepts_connections(self, pid: int) -> bool:
        lines = self._pid_file()
        return lines[:1] == [str(pid)] and lines[_STATUS_LINE:] == ["ready"]

    def ensure_data(self, programs: Programs, lock: int, *, sync: bool) -> None:
        """Ensure data of the programs' major version. Without data, run initdb, which inherits *lock*."""
        for leftover in self.root.glob(f"{UNFINISHED}*"):
            shutil.rmtree(leftover)
        if self._restored.exists():  # a process was killed while it published them
            self._publish_restored()
        major = self._major()
        if self.data != self.published:
            self._check_conflicts(major, programs)
        elif major == str(programs.major):
            return
        elif major:
            raise PostgresUnavailable(
                f"{self.data} is of PostgreSQL {major}, and the programs are {programs.version}, which can't read it: "
                f"run `stepwell dump FILE` with the Stepwell that wrote it (or with STEPWELL_POSTGRES_BIN naming "
                f"programs of PostgreSQL {major}), then `stepwell restore FILE` with this one"
            )
        # The folder gets its name when it is complete, so an interrupted initdb leaves no broken data.
        new = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.root))
        _give(new, programs.account)
        programs.run("initdb", *_initdb_options(new, programs, sync=sync), pass_fds=(lock,))
        new.rename(self.data)
        if sync:
            sync_folder(self.root)

    def _major(self) -> str | None:
        """Return the major version of the published data, None without data."""
        version = self.published / "PG_VERSION"
        if version.exists():
            return version.read_text().strip()
        if self.published.exists() and any(self.published.iterdir()):
            raise PostgresUnavailable(f"{self.published} is not empty, and no data folder of PostgreSQL")
        return None

    def _check_conflicts(self, major: str | None, programs: Programs) -> None:
        """Raise `PostgresUnavailable` if restored data couldn't be published beside data of version *major*."""
        if major == str(programs.major):
            raise PostgresUnavailable(f"there is a database in {self.published} already: move that folder away first")
        if major and self._aside(major).exists():
            raise PostgresUnavailable(f"{self._aside(major)} is in the way: move it away first")

    def publish(self) -> Path | None:
        """Rename the restored data to `published`. Data of another major version are moved to the returned folder.

        If the process is killed meanwhile, the next owner finishes this: `_restored` marks restored data as complete.
        """
        self.data.rename(self._restored)
        sync_folder(self.root)
        return self._publish_restored()

    def _publish_restored(self) -> Path | None:
        aside = None
        if major := self._major():
            aside = self.published.rename(self._aside(major))
        self._restored.rename(self.published)
        sync_folder(self.root)
        return aside

    @property
    def has_data(self) -> bool:
        return self.published.exists() or self._restored.exists()

    def _aside(self, major: str) -> Path:
        return self.root / f"data-{major}"

    def running_sockets(self) -> Path:
        """Return the folder with the sockets of the ready server that another process runs on the data."""
        lines = self._pid_file()
        if lines[_STATUS_LINE:] != ["ready"]:
            raise PostgresUnavailable(f"the server on {self.data} is not ready; try again")
        return Path(lines[_SOCKETS_LINE])

    def socket_folder(self, account: SystemAccount | None) -> Path:
        """Return a private folder for the sockets: in `root`, or in the temporary folder if that path can't be used."""
        run = self.root / "run"
        if _fits_socket(run):
            run.mkdir(mode=0o700, exist_ok=True)
            run.chmod(0o700)
            _give(run, account)
            return run
        prefix = f"pg-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]}-"
        base = Path(tempfile.gettempdir())
        if not _fits_socket(base / f"{prefix}12345678"):
            base = Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it
        for leftover in base.glob(f"{prefix}*"):  # of a killed owner of this folder
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        _give(folder, account)
        return folder

    def remove_sockets(self, sockets: Path) -> None:
        if sockets.parent != self.root:
            shutil.rmtree(sockets, ignore_errors=True)

    @contextmanager
    def open_log(self) -> Iterator[int]:
        """Yield a descriptor that appends to the log. `log_tail` returns what has been written after this."""
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._log_start = os.fstat(log).st_size
            yield log
        finally:
            os.close(log)

    def log_tail(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - _LOG_READ))
            return tail(file.read().decode(errors="replace"))

    def rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_KEPT:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _pid_file(self) -> list[str]:
        try:
            text = (self.data / "postmaster.pid").read_text(errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]

    def _server_pid(self) -> int | None:
        """Return the pid in `postmaster.pid` if that process is a server on our data, and not a reused pid."""
        pid = next(iter(self._pid_file()), "")
        return int(pid) if _alive(pid) and _works_on(pid, self.data) else None


def wait_until(
    condition: Callable[[], bool], timeout_s: float, failure: str, interrupt: Callable[[], object] = lambda: None
) -> None:
    """Block until *condition* holds. Raises `PostgresUnavailable` with *failure* if it doesn't in time.

    *interrupt* is called before each check, and may raise.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        interrupt()
        if condition():
            return
        if time.monotonic() > deadline:
            raise PostgresUnavailable(failure)
        time.sleep(_POLL_S)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_owner(lock: int) -> tuple[str, str]:
    """Return the pid and the command in `owner.lock`; "" for a missing one."""
    pid, _, command = os.pread(lock, 64, 0).decode(errors="replace").strip().partition(" ")
    return pid, command


def _alive(pid: str) -> bool:
    if not pid.isdecimal() or int(pid) == 0:
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _works_on(pid: str, data: Path) -> bool:
    if sys.platform != "linux":
        command = ["/bin/ps", "-o", "command=", "-p", pid]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pid is digits
        return f"-D {data}" in listed.stdout
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()  # where the postmaster stays
    except OSError:
        return False


def _give(folder: Path, account: SystemAccount | None) -> None:
    if account:
        os.chown(folder, account.uid, account.gid)


def sync_folder(folder: Path) -> None:
    """Write the names in *folder* to disk, after a file was created, renamed or deleted."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fits_socket(folder: Path) -> bool:
    path = f"{folder}/.s.PGSQL.{PORT}"
    return len(path) <= _SOCKET_PATH_MAX and _PLAIN_PATH.fullmatch(path) is not None


def _initdb_options(data: Path, programs: Programs, *, sync: bool) -> list[str]:
    options = ["-D", str(data), "-U", USER, "--encoding=UTF8", "--locale=C", "--data-checksums"]
    options += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
    if programs.major >= BUILTIN_LOCALE_SINCE:  # the same order of text on every machine
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options if sync else [*options, "--no-sync"]
