"""The errors by which tools fail, beside those of the client. A service imports them, but not the client."""


class ToolFailed(Exception):
    """A tool has failed, and its message says why and what to do."""


class ResponseTooLarge(ToolFailed):
    """The service's response is too large. `location` is the URL of what the request has created, if any."""

    def __init__(self, message: str, location: str | None) -> None:
        super().__init__(message)
        self.location = location
