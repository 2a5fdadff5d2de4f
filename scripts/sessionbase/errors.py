"""The exceptions that a user is meant to see."""


class SessionbaseError(Exception):
    """A refusal or failure, told to the user in one line; the command exits with 1.

    `message` says what is wrong, `hint` (optional) what to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(SessionbaseError):
    """An argument that cannot mean anything; the command exits with 2, as for an unknown option."""


class InterruptError(SessionbaseError):
    """The user pressed Ctrl-C; the command exits with 130, as shells have it for SIGINT."""
