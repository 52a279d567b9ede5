"""The expected errors, with their exit codes.

An error says what failed and on which object, the redacted command and the end of its output if a
program was run, and what to do next. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import re

TAIL_LINES = 20
"""How much of a failed program's output an error repeats."""


class SuiteError(Exception):
    """An expected failure, shown to the user without a traceback.

    Attributes:
        message: what failed and on which object, one sentence.
        command: the command line that failed, already redacted, or None.
        output: the program's output, already redacted; only its end is shown.
        hint: what to do next, or None.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        command: str | None = None,
        output: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.command = command
        self.output = output
        self.hint = hint

    def lines(self) -> list[str]:
        """Return the error as lines of plain text, the message first."""
        lines = [self.message]
        if self.command:
            lines.append(f"  command: {self.command}")
        if self.output and self.output.strip():
            lines += [f"  | {line}" for line in self.output.rstrip().splitlines()[-TAIL_LINES:]]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return lines


class InputError(SuiteError):
    """Bad input: an argument, a branch name, the state of the checkout."""

    exit_code = 2


class SettingsError(InputError):
    """invoke.yaml, an INVOKE_ variable or a file given with -f is wrong."""


class UnreadableError(SuiteError):
    """What is stored of an environment (record, Lease, labels) is damaged or foreign."""


class RefusedError(SuiteError):
    """A guard refused: the request is valid, but must not be carried out."""

    exit_code = 3


class HeldError(SuiteError):
    """Another run holds the environment, or a newer commit has superseded this one."""

    exit_code = 4


class VulnerableError(SuiteError):
    """A scanner has found something in an image that holds up its deploy."""

    exit_code = 5


class UnfitError(SuiteError):
    """A rehearsed upgrade has failures."""

    exit_code = 6


class DriftedError(SuiteError):
    """What is there differs from what was deployed, or from what Terraform has left."""

    exit_code = 7


class VanishedError(HeldError):
    """Another run has removed the environment and its lock while this run waited."""


class CommandError(SuiteError):
    """A program that the suite ran has failed."""


class RevisionExistsError(CommandError):
    """Helm was about to create a revision that exists already."""


class MissingToolError(SuiteError):
    """A program or service that the suite needs is missing."""


class DeadlineError(SuiteError):
    """A wait reached its deadline; the message names the object and why it is not ready."""


class RegistryError(SuiteError):
    """The image registry refused, failed or could not be reached."""


class NoImageError(RegistryError):
    """There is no image of a tag."""


class EngineError(SuiteError):
    """The Docker Engine refused, failed or could not be reached."""


class ClusterError(SuiteError):
    """The Kubernetes API refused, failed or could not be reached.

    Attributes:
        status: the API's HTTP status, or 0 when there was no answer.
        reason: the API's reason, e.g. ``Forbidden``, or an empty string.
    """

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason


class ConflictError(ClusterError):
    """The object was changed or created by another client in the meantime.

    Attributes:
        repeated: True if an earlier attempt got no clear answer and may have succeeded: then the
            conflict may be with this request itself.
    """

    repeated = False


class AwsError(SuiteError):
    """AWS refused, failed, throttled or could not be reached.

    Attributes:
        code: the service's own error code, e.g. ``RepositoryNotFoundException``, or an empty
            string when there was no answer.
    """

    def __init__(self, message: str, *, code: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def reason_of(error: Exception) -> str:
    """Return the innermost reason of an error, without the libraries' wrapping exceptions."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    words = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    # Remove OpenSSL's code at the start, and the line in Python's source at the end.
    return re.sub(r"^\[[A-Z0-9_: ]+\] | \(_ssl\.c:\d+\)$", "", words)
