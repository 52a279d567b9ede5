"""AWS: one session of a region and a profile, and its errors turned into ours.

Credentials are whatever boto3 finds: profiles, single sign-on, assumed roles, a web identity
(``AWS_WEB_IDENTITY_TOKEN_FILE`` and ``AWS_ROLE_ARN``, as in GitLab), an instance's role. None of
them is ever shown, or handed to a program by its command line.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tasks.adapters.connection_errors import is_permanent
from tasks.core.errors import AwsError, SettingsError, SuiteError

if TYPE_CHECKING:
    import boto3

ATTEMPTS = 5
"""Attempts per call. boto3's standard mode retries throttled calls (429), server errors (5xx) and
broken connections, after up to 1, 2, 4, 8 s."""
CONNECT_SECONDS = 5
READ_SECONDS = 30

EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
WRONG = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DENIED = frozenset(
    {
        "403",  # of answers without a body, as to S3's HeadBucket
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "UnauthorizedException",
        "UnauthorizedOperation",
    }
)
THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""The services' error codes, by what they mean here."""

_NOT_LOGGED_IN = frozenset(
    {
        "CredentialRetrievalError",
        "InvalidConfigError",
        "LoginError",
        "LoginTokenLoadError",
        "MetadataRetrievalError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "SSOError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
"""botocore's errors for missing or expired credentials, raised before anything is sent."""

_REFUSED = re.compile(
    r"User: (?P<who>\S+) is not authorized to perform: (?P<action>[\w:*-]+)"
    r"(?: on resource: (?P<resource>\S+))?"
)
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""


@dataclass(frozen=True)
class Identity:
    """Who the credentials belong to.

    Attributes:
        account: the account's twelve digits.
        arn: the user or assumed role.
    """

    account: str
    arn: str


class Aws:
    """One region, seen with the credentials of one profile.

    Args:
        region: None takes the one of the profile or the environment.
        profile: a profile of the AWS configuration; None leaves the search to boto3.
    """

    def __init__(self, region: str | None, profile: str | None = None) -> None:
        self.profile = profile
        self._region = region
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()

    @property
    def region(self) -> str:
        """The region.

        Raises:
            SettingsError: none is set anywhere.
        """
        region = self._region or self.session.region_name
        if not region:
            raise SettingsError(
                "no AWS region is set", hint="set `region` of the stack in invoke.yaml"
            )
        return str(region)

    @property
    def environ(self) -> dict[str, str]:
        """The variables that give a program the same region and profile; no credentials."""
        place = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return {**place, "AWS_PROFILE": self.profile} if self.profile else place

    def client(self, service: str) -> Any:
        """Return boto3's client of a service, made once.

        Call it inside ``calling``, which converts botocore's errors.

        Args:
            service: the service as boto3 names it, e.g. ``ecr``.

        Raises:
            SettingsError: region or profile are wrong.
        """
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        with self._making:
            if service not in self._clients:
                config = Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                )
                try:
                    client = self.session.client(service, region_name=self.region, config=config)
                    client.meta.events.register_first("needs-retry", _give_up)
                    self._clients[service] = client
                except (BotoCoreError, ValueError) as error:  # ValueError: not a URL
                    raise self.to_suite_error(error) from error
            return self._clients[service]

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Convert botocore's errors to those of the suite.

        Raises:
            AwsError: the call was refused, or failed.
            SettingsError: region or profile are wrong.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise self.to_suite_error(error) from error

    @cached_property
    def identity(self) -> Identity:
        """Who the credentials belong to; asked of STS once.

        Raises:
            AwsError: there are none, or they are refused.
        """
        client = self.client("sts")
        with self.calling():
            answer = client.get_caller_identity()
        return Identity(answer["Account"], answer["Arn"])

    @cached_property
    def session(self) -> boto3.Session:
        """boto3's session, for what its clients cannot do.

        Raises:
            SettingsError: region or profile are wrong.
        """
        import boto3
        from botocore.exceptions import BotoCoreError

        try:
            return boto3.Session(profile_name=self.profile, region_name=self._region)
        except BotoCoreError as error:
            raise self.to_suite_error(error) from error

    def to_suite_error(self, error: Exception) -> SuiteError:
        """Return the suite's error for one of botocore's.

        Args:
            error: a ``ClientError`` or ``BotoCoreError``.

        Returns:
            An AwsError, or a SettingsError where region or profile do not exist.
        """
        from botocore import exceptions

        if isinstance(error, exceptions.ClientError):
            return self._answered(error)
        kind = type(error).__name__
        if kind == "ProfileNotFound":
            return SettingsError(
                f"there is no AWS profile {self.profile!r}"
                if self.profile
                else f"AWS: {error}",  # of AWS_PROFILE
                hint="`profile` of the stack, or AWS_PROFILE, must be one that "
                "`aws configure list-profiles` shows",
            )
        if kind in {"InvalidRegionError", "NoRegionError", "UnknownRegionError"}:
            return SettingsError(
                f"{self._region!r} is no AWS region", hint="correct `region` of the stack"
            )
        if kind in _NOT_LOGGED_IN:
            return AwsError(
                f"there are no usable AWS credentials{self._as_profile()}: {_line(error)}",
                hint=_login(self.profile),
            )
        # Both carry the address asked, which names service and region.
        if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
            return AwsError(
                f"AWS cannot be reached: {_line(error)}",
                hint=f"is the network up, and is {self.region} the region's name? "
                "AWS_ENDPOINT_URL, if it is set, replaces AWS's own addresses",
            )
        return AwsError(f"AWS: {_line(error)}")

    def _answered(self, error: Any) -> SuiteError:
        code = error.response.get("Error", {}).get("Code", "")
        message = error.response.get("Error", {}).get("Message", "")
        call = _call(error)
        if code in EXPIRED or "Signature expired" in message:
            return AwsError(
                f"the AWS credentials{self._as_profile()} have expired ({call})",
                code=code,
                hint=_login(self.profile) + "; if they are new, is this machine's clock right?",
            )
        if code in WRONG:
            return AwsError(
                f"AWS does not accept the credentials{self._as_profile()} in {self.region} "
                f"({call}: {code})",
                code=code,
                hint=_login(self.profile) + "; a region may also have to be enabled first",
            )
        if code in DENIED:
            refused = _REFUSED.search(message)
            what = refused["action"] if refused else call
            on = f" on {refused['resource']}" if refused and refused["resource"] else ""
            who = refused["who"] if refused else "these credentials"
            return AwsError(
                f"{who} may not {what}{on}".rstrip("."),
                code=code,
                hint="ask whoever administers the account for that permission, or use the "
                "account and role of the stack: `profile`, AWS_PROFILE or AWS_ROLE_ARN",
            )
        if code in THROTTLED:
            return AwsError(
                f"AWS still throttles {call} after {ATTEMPTS} attempts",
                code=code,
                hint="try again in a while",
            )
        return AwsError(f"{call}: {code}: {message}".rstrip(": "), code=code)

    def _as_profile(self) -> str:
        return f" of profile {self.profile}" if self.profile else ""


def _give_up(caught_exception: Exception | None, **_: object) -> None:
    """Raise an error that boto3 is about to retry although a retry cannot help."""
    if caught_exception is not None and is_permanent(caught_exception):
        raise caught_exception


def _call(error: Any) -> str:
    """Return the name of the call that failed, and how often it was tried if more than once."""
    operation: str = error.operation_name
    retries = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    return f"{operation}, tried {retries + 1} times" if retries else operation


def _login(profile: str | None) -> str:
    """Return the hint on how to get credentials."""
    own = f" --profile {profile}" if profile else ""
    return (
        f"log in: aws sso login{own}, or name a profile by `profile` of the stack or AWS_PROFILE; "
        "in CI AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE must be set"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
