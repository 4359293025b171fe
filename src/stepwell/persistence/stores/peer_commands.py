"""`ports.processes.Commands` on asyncpg: a row for each command.

Its statements send the notifications that `PostgresPresence` receives.

What must hold:
- A command gets one outcome. The checkpoint that carries a command out locks its row first. So either the effect is
  committed and the row says so, or there is neither.
- A statement whose result was lost may be repeated. So reading an outcome doesn't delete its row.
- Only ids are in notifications, because every client of the database may listen.
- Nothing runs in the background to delete old commands: each new command deletes a few. See also `FORGET_DEAD`.
- A process of another version may send what this one can't read. That command is refused at once, so it neither keeps
  its requester waiting nor takes the place of commands that can be read.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import json
from msgspec.structs import astuple

from stepwell.basics.errors import TooManyRequests, Unavailable
from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.peer_commands import (
    Command,
    CommandWithdrawn,
    Outcome,
    VerbApplied,
    decode_outcome,
    decode_request,
    refusal_of,
)
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.persistence.statements.command_statements import notify_process
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.workflows import in_scope
from stepwell.ports.processes import COMMAND_LIFETIME_S, COMMANDS_PER_TENANT, COMMANDS_PER_WORKFLOW, CommandState

log = structlog.get_logger()

_MOST_READS = 10  # for one page of commands
_UNREADABLE = "the process that runs the workflow is of another version, and can't read this request"

_LIVE: Final = "EXISTS (SELECT FROM processes AS p WHERE p.id = w.owner AND p.lease_until > clock_timestamp())"

SEND: Final = f"""
WITH target AS MATERIALIZED (
    SELECT w.owner, coalesce(w.tenant, '') AS lane,
           (SELECT count(*) FROM commands AS c WHERE c.workflow_id = w.id AND c.outcome IS NULL)
               < {COMMANDS_PER_WORKFLOW} AS workflow_has_room,
           (SELECT count(*) FROM commands AS c WHERE c.lane = coalesce(w.tenant, '') AND c.outcome IS NULL)
               < {COMMANDS_PER_TENANT} AS tenant_has_room
    FROM workflows AS w
    WHERE w.id = $2 AND w.owner <> $3 AND {_LIVE} AND {in_scope(8, "w.")}
), sent AS (
    INSERT INTO commands (id, workflow_id, lane, requester, recipient, request, scope, key, token, created_at)
    SELECT $1, $2, lane, $3, owner, $4, $5, $6, $7, clock_timestamp() FROM target
    WHERE workflow_has_room AND tenant_has_room
    RETURNING id, recipient
), old AS (
    DELETE FROM commands WHERE id = ANY ($11::uuid[] || ARRAY(
        SELECT id FROM commands WHERE created_at < now() - interval '5 min'
        ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED
    ))
)
SELECT workflow_has_room, tenant_has_room,
       (SELECT count({notify_process("recipient", "sent", "id")}) FROM sent) AS sent
FROM target
"""  # noqa: S608 - built from constants

# `outcome` is null for those commands that wait.
WAITING: Final = f"""
SELECT c.id, c.workflow_id, c.request, c.scope, c.key, c.token
FROM commands AS c JOIN workflows AS w ON w.id = c.workflow_id
WHERE c.outcome IS NULL AND (w.owner = $1 OR w.owner IS NULL AND c.recipient = $1)
  AND (c.id IN (SELECT unnest($2::uuid[]))) IS NOT TRUE
  AND c.created_at > clock_timestamp() - interval '{COMMAND_LIFETIME_S} s'
  AND (c.token IS NULL OR EXISTS (
      SELECT FROM idempotency_keys AS i
      WHERE i.scope = c.scope AND i.key = c.key AND i.token = c.token AND i.applied_at IS NULL
  ))
ORDER BY c.created_at, c.id LIMIT $3
"""  # noqa: S608 - built from constants


def _end(update: str) -> str:
    """Return the statement that makes the *update* of commands `c`, and notifies their requesters."""
    notify = notify_process("requester", "ended", "id")
    return f"WITH ended AS ({update} RETURNING c.id, c.requester) SELECT {notify} FROM ended"  # noqa: S608 - constants


STORE_OUTCOME: Final = _end("""
    UPDATE commands AS c SET outcome = $3 FROM workflows AS w
    WHERE c.id = $1 AND c.outcome IS NULL AND w.id = c.workflow_id AND w.epoch = $2""")
# The same commands as those of `WAITING`, so that a process refuses none that another one may carry out.
REFUSE: Final = _end("""
    UPDATE commands AS c SET outcome = $3 FROM workflows AS w
    WHERE c.id = ANY($2::uuid[]) AND c.outcome IS NULL AND w.id = c.workflow_id
      AND (w.owner = $1 OR w.owner IS NULL AND c.recipient = $1)""")
REPORT: Final = _end("UPDATE commands AS c SET outcome = $2 WHERE c.id = $1 AND outcome ->> 'report_follows' = 'true'")

POLL: Final = f"""
WITH mine AS MATERIALIZED (
    SELECT c.id, c.outcome, w.owner, w.owner <> $2 AND {_LIVE} AS elsewhere
    FROM commands AS c LEFT JOIN workflows AS w ON w.id = c.workflow_id WHERE c.id = $1 AND c.requester = $2
)
SELECT outcome, elsewhere,
       (SELECT count({notify_process("owner", "sent", "id")}) FROM mine WHERE outcome IS NULL AND elsewhere)
FROM mine
"""  # noqa: S608 - built from constants

WITHDRAW: Final = """
UPDATE commands SET outcome = $3 WHERE id = $1 AND requester = $2 AND outcome IS NULL RETURNING outcome
"""
OUTCOME: Final = "SELECT outcome FROM commands WHERE id = $1 AND requester = $2"


class PostgresCommands(PooledAdapter):
    async def send(self, scope: TenantScope, requester: UUID, command: Command, forget: Collection[UUID] = ()) -> bool:
        claim, request = command.claim, json.encode(command.request).decode()
        key = (None, None, None) if claim is None else (claim.scope, claim.key, claim.token)
        rows = await self._connections.fetch(
            SEND, command.id, command.workflow_id, requester, request, *key, *astuple(scope), list(forget)
        )
        if rows and not rows[0]["sent"]:
            whose = "tenant" if rows[0]["workflow_has_room"] else "workflow"
            raise TooManyRequests(f"too many requests of this {whose} wait for another process")
        return bool(rows)

    async def waiting(self, owner: UUID, except_for: Collection[UUID], limit: int) -> Sequence[Command]:
        commands: list[Command] = []
        for _ in range(_MOST_READS):
            rows = await self._connections.fetch(WAITING, owner, list(except_for), limit)
            commands = [command for row in rows if (command := _read(row)) is not None]
            if len(commands) == len(rows):
                break
            unreadable = {row["id"] for row in rows} - {command.id for command in commands}
            outcome = json.encode(refusal_of(Unavailable(_UNREADABLE))).decode()
            await self._connections.fetch(REFUSE, owner, list(unreadable), outcome)
        return commands

    async def store_outcome(self, command_id: UUID, epoch: int, outcome: Outcome) -> None:
        await self._connections.fetch(STORE_OUTCOME, command_id, epoch, json.encode(outcome).decode())

    async def report(self, command_id: UUID, outcome: VerbApplied) -> None:
        await self._connections.fetch(REPORT, command_id, json.encode(outcome).decode())

    async def poll(self, requester: UUID, command_id: UUID) -> CommandState:
        rows = await self._connections.fetch(POLL, command_id, requester)
        return CommandState(_outcome(rows), bool(rows and rows[0]["elsewhere"]))

    async def withdraw(self, requester: UUID, command_id: UUID) -> Outcome | None:
        values = (command_id, requester)
        rows = await self._connections.fetch(WITHDRAW, *values, json.encode(CommandWithdrawn()).decode())
        # The update may have waited for the outcome, so that only a new snapshot shows it.
        return _outcome(rows or await self._connections.fetch(OUTCOME, *values))


def _outcome(rows: Sequence[Row]) -> Outcome | None:
    return None if not rows or rows[0]["outcome"] is None else decode_outcome(rows[0]["outcome"])


def _read(row: Row) -> Command | None:
    claim = None if row["token"] is None else KeyClaim(row["scope"], row["key"], row["token"])
    try:
        return Command(row["id"], row["workflow_id"], decode_request(row["request"]), claim)
    except msgspec.DecodeError as error:
        log.warning("command.unreadable", action="command", command_id=str(row["id"]), error=str(error))
        return None
