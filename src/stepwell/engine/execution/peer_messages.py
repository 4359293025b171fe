"""Receives what the other processes on the database send, and passes it on to the parts that it concerns.

What must hold:
- Notifications get lost with the connection. So each part looks for itself what it has missed, once the connection is
  there again.
- A database that sends no notifications doesn't end the service.
"""

import asyncio
from collections.abc import Sequence

import structlog
from msgspec import Struct

from stepwell.basics.errors import Unavailable
from stepwell.engine.execution.breaker_messages import BREAKERS, BreakerMessages
from stepwell.engine.execution.claim_requests import ClaimRequests
from stepwell.engine.execution.limit_divider import LimitDivider
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.ports.processes import LIMITS_CHANGED, CommandListener, Coordination
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()


class PeerMessages(Struct, eq=False):
    """Receives the messages of other processes. *commands* get the notifications about commands and sub-workflows."""

    _coordination: Coordination
    _claims: ClaimRequests
    _limits: LimitDivider
    _queue: WorkflowQueue
    _breakers: BreakerMessages
    _commands: Sequence[CommandListener]

    async def run(self) -> None:
        """Receive until cancelled, once there can be other processes."""
        presence = (await self._coordination.other_processes()).presence
        while True:
            try:
                async with presence.watch(self._others_changed, self._commands, self._received) as subscription:
                    self._others_changed()  # notifications sent before this moment were missed
                    self._breakers.request()
                    for listener in self._commands:
                        listener.resubscribed()
                    await subscription.until_disconnected()
            except Unavailable:
                pass
            except Exception as error:  # noqa: BLE001 - a database that knows no LISTEN must not end the service
                log.warning("peers.not_listening", action="listen", error=repr(error))
            await asyncio.sleep(OUTAGE_RETRY_S)

    def _others_changed(self) -> None:
        """Another process has come to life, has ended, or has announced something."""
        self._claims.woken.set()
        self._limits.wake()
        self._queue.others_changed()

    def _received(self, kind: str, body: str) -> None:
        if kind == LIMITS_CHANGED:
            self._limits.wake()
        elif kind == BREAKERS:
            self._breakers.received(body)
