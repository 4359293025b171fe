"""A program on a terminal of its own, as a user sees it."""

import os
import pty
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from select import select
from time import monotonic

WITHIN_S = 60.0


class Terminal:
    """A running program, what the user types, and what the terminal shows."""

    def __init__(self, command: list[str], env: Mapping[str, str], folder: Path) -> None:
        self.output = b""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, env)

    def type(self, keys: str) -> None:
        self.output = b""
        os.write(self._terminal, keys.encode())

    def read_until(self, text: str) -> None:
        """Read what the program shows until *text* is part of it."""
        end = monotonic() + WITHIN_S
        while text.encode() not in self.output:
            left = end - monotonic()
            assert left > 0, f"no {text!r} in {self.output.decode(errors='replace')}"
            if select([self._terminal], [], [], left)[0]:
                self.output += os.read(self._terminal, 65_536)
            if b"\x1b[c" in self.output:  # fish asks what the terminal is
                self.output = self.output.replace(b"\x1b[c", b"")
                os.write(self._terminal, b"\x1b[?6c")

    def read_line(self, text: str) -> str:
        """Read until the program has shown a whole line with *text*, and return that line."""
        self.read_until(text)
        shown_before = self.output.partition(text.encode())[0]
        while b"\n" not in self.output[len(shown_before) :]:
            self.output += os.read(self._terminal, 65_536)
        start = shown_before.rfind(b"\n") + 1
        return self.output[start:].partition(b"\r\n")[0].decode()

    def read_to_end(self) -> None:
        """Read until the program has ended."""
        end = monotonic() + WITHIN_S
        with suppress(OSError):  # EIO: no process has the terminal any more
            while True:
                left = end - monotonic()
                assert left > 0, f"it still runs: {self.output.decode(errors='replace')}"
                if select([self._terminal], [], [], left)[0]:
                    self.output += os.read(self._terminal, 65_536)

    def close(self) -> None:
        """Close the terminal, and end the program if it still runs."""
        os.close(self._terminal)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
