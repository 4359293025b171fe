"""The programs that connect to an embedded PostgreSQL server: psql, pg_dump and pg_restore."""

import hashlib
import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile

from stepwell.persistence.embedded.data_folder import PORT, USER
from stepwell.persistence.embedded.programs import PostgresUnavailable, Programs

DATABASE = "stepwell"

_READ_BYTES = 65_536
_POLL_S = 0.05


class PostgresClients:
    """The programs that connect to a server whose sockets are in the folder *sockets*.

    Methods raise `PostgresUnavailable` if a program fails.
    """

    def __init__(self, programs: Programs, sockets: Path) -> None:
        self._programs = programs
        self._server = ("--host", str(sockets), "--port", PORT, "--username", USER)

    def ensure_database(self) -> None:
        missing = f"SELECT FROM pg_database WHERE datname = '{DATABASE}'"
        self._query("postgres", f"SELECT 'CREATE DATABASE {DATABASE}' WHERE NOT EXISTS ({missing}) \\gexec")

    def has_table(self, name: str) -> bool:
        return self._query(DATABASE, f"SELECT to_regclass('{name}') IS NOT NULL").strip() == "t"

    def dump(self, output: int, interrupt: Callable[[], object]) -> None:
        """Write the database, as it is at one moment, to the descriptor *output*.

        A dump is pg_dump's custom format, which pg_restore reads too, followed by a checksum. *interrupt* is called
        while this works, and may raise. Raises OSError if *output* can't be written.
        """
        digest = hashlib.sha256()
        # By a pipe, because pg_dump appends to a file that is its stdout, and would write its table of contents twice.
        with self._pipe("pg_dump", "--format=custom", stdout=subprocess.PIPE, interrupt=interrupt) as process:
            assert process.stdout is not None
            for chunk in _read(process.stdout.fileno(), interrupt):
                digest.update(chunk)
                _write(output, chunk, interrupt)
        _write(output, _trailer(digest), interrupt)

    def restore(self, source: int, folder: Path, interrupt: Callable[[], object]) -> None:
        """Restore the dump that the descriptor *source* reads into the empty database.

        The checksum is verified first, because pg_restore may loop for ever on a damaged dump. A dump from a pipe is
        therefore copied into *folder*, to a file without a name. If this raises, the database is invalid. Raises
        OSError if *source* can't be read or copied.
        """
        options = ("--single-transaction", "--exit-on-error")
        with _as_file(source, folder, interrupt) as dump:
            left = _verified_size(dump, interrupt)
            with self._pipe("pg_restore", *options, stdin=subprocess.PIPE, interrupt=interrupt) as process:
                assert process.stdin is not None
                for chunk in _read(dump, interrupt):
                    try:
                        _write(process.stdin.fileno(), chunk[:left], interrupt)
                    except BrokenPipeError:  # pg_restore has ended, and reports why
                        break
                    left -= len(chunk[:left])

    def _pipe(
        self,
        name: str,
        *options: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        interrupt: Callable[[], object],
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        where = (*self._server, f"--dbname={DATABASE}", "--no-owner", "--no-privileges")
        return self._programs.pipe(name, *where, *options, stdin=stdin, stdout=stdout, interrupt=interrupt)

    def _query(self, database: str, statement: str) -> str:
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")
        return self._programs.run("psql", *self._server, "--dbname", database, *options, stdin=f"{statement}\n")


def _trailer(digest: "hashlib._Hash") -> bytes:
    """Return the line that follows a dump with this SHA-256."""
    return b"\nstepwell " + digest.hexdigest().encode() + b"\n"


_TRAILER_BYTES = len(_trailer(hashlib.sha256()))


@contextmanager
def _as_file(source: int, folder: Path, interrupt: Callable[[], object]) -> Iterator[int]:
    """Yield *source* if it is a regular file, else a copy of what it reads, in a file in *folder*."""
    if S_ISREG(os.fstat(source).st_mode):
        yield source
        return
    with TemporaryFile(dir=folder) as file:
        for chunk in _read(source, interrupt):
            _write(file.fileno(), chunk, interrupt)
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        yield file.fileno()


def _verified_size(dump: int, interrupt: Callable[[], object]) -> int:
    """Return the size of pg_dump's part of the file *dump*, whose position doesn't change.

    Raises `PostgresUnavailable` if the checksum after it is another one, or missing.
    """
    start = os.lseek(dump, 0, os.SEEK_CUR)
    digest, last, size = hashlib.sha256(), b"", 0
    for chunk in _read(dump, interrupt):
        data, last = (last + chunk)[:-_TRAILER_BYTES], (last + chunk)[-_TRAILER_BYTES:]
        digest.update(data)
        size += len(data)
    if last != _trailer(digest):
        raise PostgresUnavailable("the dump is damaged, not complete, or not by `stepwell dump`")
    os.lseek(dump, start, os.SEEK_SET)
    return size


def _read(source: int, interrupt: Callable[[], object]) -> Iterator[bytes]:
    while True:
        interrupt()
        if select.select([source], [], [], _POLL_S)[0]:
            chunk = os.read(source, _READ_BYTES)
            if not chunk:
                return
            yield chunk


def _write(output: int, data: bytes, interrupt: Callable[[], object]) -> None:
    rest = memoryview(data)
    while rest:
        interrupt()
        if select.select([], [output], [], _POLL_S)[1]:
            rest = rest[os.write(output, rest[: select.PIPE_BUF]) :]  # a pipe that is ready accepts as much at once
