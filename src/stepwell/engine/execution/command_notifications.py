"""Passes the notifications about commands on to the sender and the receiver of this process."""

from uuid import UUID

from stepwell.engine.execution.command_receiver import CommandReceiver
from stepwell.engine.execution.command_sender import CommandSender


class CommandNotifications:
    """`ports.peer_commands.CommandListener` for the two sides of this process."""

    def __init__(self, sender: CommandSender, receiver: CommandReceiver) -> None:
        self._sender, self._receiver = sender, receiver

    def command_sent(self) -> None:
        self._receiver.command_sent()

    def command_answered(self, command_id: UUID) -> None:
        self._sender.command_answered(command_id)

    def resubscribed(self) -> None:
        self._sender.poll_all()
        if self._receiver.may_have_commands:
            self._receiver.command_sent()
