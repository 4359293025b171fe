"""Prints what clients notice while two processes are replaced one after the other under load.

Run it from the top of a clone: `PYTHONPATH=src:tests python tests/bench/rolling_deploy.py`. It starts a PostgreSQL of
its own.
"""

import asyncio

from support.database.postgres import create_database, fresh_folder, running_server
from support.processes.rolling_deploy import deploy_under_load, running_deployment

CLIENTS = 4


async def main(dsn: str) -> None:
    with fresh_folder() as folder:
        async with running_deployment(dsn, folder) as deployment:
            codes = await deploy_under_load(deployment, CLIENTS)
            report, logs = deployment.report, deployment.logs
    waits = sorted(report.waits_s)
    print(f"exit codes                     {codes}")
    print(f"responses by status            {dict(sorted(report.statuses.items()))}")
    print(f"refused connections, retried   {report.refused_connections}")
    print(f"connections without a response {report.cut}")
    print(f"failures                       {len(report.failures)} {report.failures[:3]}")
    print(f"workflows, not completed       {len(report.workflows)}, {len(report.unended)}")
    print(f"waits between steps            {len(waits)}, p50 {waits[len(waits) // 2]:.3f} s, longest {waits[-1]:.3f} s")
    print(logs, end="")


if __name__ == "__main__":
    with running_server({"fsync": "on"}) as server:
        asyncio.run(main(server.dsn(asyncio.run(create_database(server.dsn())))))
