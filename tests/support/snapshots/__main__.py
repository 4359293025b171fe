"""Renews the snapshots. It takes two minutes.

With names of files, `PYTHONPATH=tests python -m support.snapshots` renews only these. It runs the tests that send
statements. The figures of `step_costs.json` become only lower, and only with the Python that they are for.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping

from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import create_database, running_server
from support.snapshots import costs, events, openapi, settings, statements, transitions, write_snapshot

_TEXTS: Mapping[str, Callable[[], str]] = {
    openapi.NAME: openapi.openapi,
    settings.NAME: settings.settings,
    events.NAME: events.events,
    transitions.NAME: transitions.transitions,
    costs.NAME: lambda: costs.lower_costs(costs.measure_costs()),
}
_NAMES = (*_TEXTS, *statements.NAMES)


async def _with_plans(server_dsn: str, dsn_of: Callable[[str], str]) -> dict[str, str]:
    dsn = dsn_of(await create_database(server_dsn))
    await migrate(dsn)
    return await statements.snapshots(dsn, statements.sent_by_tests())


def main() -> None:
    """Renew the snapshots that the command line names; without names, all."""
    if unknown := set(sys.argv[1:]).difference(_NAMES):
        sys.exit(f"no snapshot: {', '.join(sorted(unknown))}. There are {', '.join(_NAMES)}")
    wanted = sys.argv[1:] or list(_NAMES)
    if costs.NAME in wanted and sys.version_info[:2] != costs.PYTHON:
        print(f"{costs.NAME} stays: it is for Python {costs.PYTHON[0]}.{costs.PYTHON[1]}")
        wanted.remove(costs.NAME)
    for name, make in _TEXTS.items():
        if name in wanted:
            write_snapshot(name, make())
    if set(wanted) & set(statements.NAMES):
        with running_server() as server:
            texts = asyncio.run(_with_plans(server.dsn(), server.dsn))
        for name in set(wanted) & set(texts):
            write_snapshot(name, texts[name])


if __name__ == "__main__":
    main()
