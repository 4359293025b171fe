"""What is generated in this repository, and the command that renews it: `poe generate`, with names of parts behind it.

Without names it renews the parts that a test compares with the code. The others need a browser, a package index or a
registry of npm, and get newer contents by what has changed there.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from support.processes.source_tree import TOP

COMMAND: Final = "poe generate"
COMPARED: Final[Mapping[str, str]] = {
    "client": "support.documents.generated_client",
    "manual": "support.documents.manual_tables",
    "schema": "support.documents.schema_sheet",
    "snapshots": "support.snapshots",
}
"""The modules that write the parts which a test compares. The client comes first: the others import it."""

FETCHED: Final[Mapping[str, Sequence[str]]] = {
    "images": (sys.executable, "-m", "support.browser.manual_images"),
    "libraries": ("node", "src/stepwell/web/vendor/update"),
    "pins": ("deploy/renew-pins",),
}
"""The commands of the parts that nothing compares."""


def main() -> None:
    """Renew the parts that the command line names; without names, those that are compared."""
    commands: dict[str, Sequence[str]] = {part: (sys.executable, "-m", module) for part, module in COMPARED.items()}
    commands |= FETCHED
    wanted = sys.argv[1:] or list(COMPARED)
    if unknown := set(wanted).difference(commands):
        sys.exit(f"no part: {', '.join(sorted(unknown))}. There are {', '.join(commands)}")
    for part in wanted:
        print(part, flush=True)
        subprocess.run(commands[part], cwd=TOP, env=os.environ | {"PYTHONPATH": "src:tests"}, check=True)


if __name__ == "__main__":
    main()
