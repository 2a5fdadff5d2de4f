"""The exceptions whose message is shown to the user."""


class SessionbaseError(Exception):
    """A refusal or failure, printed as one line. The exit code is 1.

    `message` says what is wrong, `hint` (optional) what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(SessionbaseError):
    """An invalid argument. The exit code is 2, as for an unknown option."""

    exit_code = 2


class InterruptError(SessionbaseError):
    """A signal ended the command. The exit code is 130 for Ctrl-C (SIGINT), 143 for SIGTERM."""
