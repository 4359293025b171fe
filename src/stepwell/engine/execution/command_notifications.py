"""Passes on the notifications for this process: about commands, and about ends of sub-workflows."""

from uuid import UUID

from stepwell.engine.execution.command_receiver import CommandReceiver
from stepwell.engine.execution.command_sender import CommandSender
from stepwell.engine.execution.scheduler import SubWorkflowFollower


class CommandNotifications:
    """`ports.processes.CommandListener` for those who send and carry out commands, and for parents."""

    def __init__(self, sender: CommandSender, receiver: CommandReceiver, sub_workflows: SubWorkflowFollower) -> None:
        self._sender, self._receiver, self._sub_workflows = sender, receiver, sub_workflows

    def command_sent(self) -> None:
        self._receiver.command_sent()

    def command_answered(self, command_id: UUID) -> None:
        self._sender.command_answered(command_id)

    def child_ended(self, parent_id: UUID) -> None:
        self._sub_workflows.child_ended(parent_id)

    def resubscribed(self) -> None:
        self._sender.poll_all()
        self._sub_workflows.check_all()
        if self._receiver.may_have_commands:
            self._receiver.command_sent()
