"""The command line.

Each worker process imports the module that the program was started from, and so this one: it loads nothing by itself.
"""

INTERRUPTED = 130


def main() -> int:
    """Run the command that the process was started with; the process's exit code."""
    try:
        from stepwell.cli.commands import run  # noqa: PLC0415 - see above

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
