"""The S3 bucket of Terraform's states: created, configured, and read for locks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.adapters.aws.session import Aws
from tasks.adapters.terraform import StateLock, read_lock
from tasks.core.errors import AwsError, InputError

OLD_VERSIONS_DAYS = 90
"""How long a replaced state can be restored."""

_ABSENT = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NoSuchKey",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
_PRIVATE = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)
_ENCRYPTED = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
_EXPIRY = {
    "ID": "old-states",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_VERSIONS_DAYS},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


@dataclass(frozen=True)
class BucketProperty:
    """One property that the bucket must have.

    Attributes:
        name: what a user is shown.
        reason: why the bucket must have it, in a few words.
        holds: returns whether the bucket has it.
        put: sets it, and keeps existing settings of the same kind.
    """

    name: str
    reason: str
    holds: Callable[[], bool]
    put: Callable[[], None]


class StateBucket:
    """The bucket of one account's states in one region.

    Args:
        aws: the account and region.
        name: the bucket's name.
        tags: tags it must have; others are left alone.
    """

    def __init__(self, aws: Aws, name: str, tags: Mapping[str, str]) -> None:
        self._aws = aws
        self.name = name
        self._tags = tags

    def exists(self) -> bool:
        """Return whether there is such a bucket in this account and region.

        Raises:
            InputError: it belongs to another account, or is in another region.
            AwsError: S3 refused, or could not be reached.
        """
        try:
            answer = self._call("head_bucket")
        except AwsError as error:
            if error.code in {"403", "AccessDenied"}:
                raise InputError(
                    f"the bucket {self.name} is not for account {self._aws.identity.account}",
                    hint="it is another account's, or your credentials lack s3:ListBucket on it; "
                    "`state_bucket` of the stack names another one",
                ) from error
            if error.code in {"301", "PermanentRedirect"}:
                raise self._elsewhere("another region") from error
            raise
        if answer is None:
            return False
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        region = answer.get("BucketRegion") or headers.get("x-amz-bucket-region")
        if region and region != self._aws.region:
            raise self._elsewhere(region)
        return True

    def create(self) -> None:
        """Make the bucket.

        Raises:
            InputError: the name is taken, or not valid for S3.
            AwsError: S3 refused, or could not be reached.
        """
        s3 = self._aws.client("s3")
        # us-east-1 is S3's default, and must not be named.
        where = {"LocationConstraint": self._aws.region}
        options = {} if self._aws.region == "us-east-1" else {"CreateBucketConfiguration": where}
        try:
            with self._aws.calling():
                s3.create_bucket(Bucket=self.name, **options)
        except AwsError as error:
            if error.code in {"BucketAlreadyExists", "InvalidBucketName"}:
                raise InputError(
                    f"S3 does not take the bucket name {self.name}: {error}",
                    hint="set `state_bucket` of the stack to another one; names are shared by all "
                    "of AWS",
                ) from error
            if error.code != "BucketAlreadyOwnedByYou":  # made meanwhile, by another run
                raise

    @property
    def aspects(self) -> tuple[BucketProperty, ...]:
        """Every property that the bucket must have; their functions raise AwsError."""
        return (
            BucketProperty(
                "public access blocked",
                "a state holds secrets",
                lambda: (
                    self._of("public_access_block", "PublicAccessBlockConfiguration") == _PRIVATE
                ),
                lambda: self._put("public_access_block", PublicAccessBlockConfiguration=_PRIVATE),
            ),
            BucketProperty(
                "encryption",
                "a state holds secrets",
                lambda: bool(self._of("bucket_encryption", "ServerSideEncryptionConfiguration")),
                lambda: self._put(
                    "bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [_ENCRYPTED]}
                ),
            ),
            BucketProperty(
                "versioning",
                "a lost state can be restored",
                lambda: self._of("bucket_versioning", "Status") == "Enabled",
                lambda: self._put(
                    "bucket_versioning", VersioningConfiguration={"Status": "Enabled"}
                ),
            ),
            BucketProperty(
                "TLS only",
                "nothing of it crosses a network in clear",
                lambda: any(map(_denies_plain, self._statements())),
                lambda: self._put("bucket_policy", Policy=json.dumps(self._policy())),
            ),
            BucketProperty(
                f"old versions kept {OLD_VERSIONS_DAYS} days",
                "every run writes a new one",
                lambda: any("NoncurrentVersionExpiration" in rule for rule in self._rules()),
                lambda: self._put(
                    "bucket_lifecycle_configuration",
                    LifecycleConfiguration={"Rules": [*self._rules(), _EXPIRY]},
                ),
            ),
            BucketProperty(
                "tags",
                "they say whose it is",
                lambda: self._tags.items() <= self._tagged().items(),
                lambda: self._put(
                    "bucket_tagging",
                    Tagging={
                        "TagSet": [
                            {"Key": key, "Value": value}
                            for key, value in {**self._tagged(), **self._tags}.items()
                        ]
                    },
                ),
            ),
        )

    def lock(self, key: str) -> StateLock | None:
        """Return the lock on a state, or None.

        Args:
            key: the state's key in the bucket.

        Raises:
            AwsError: S3 refused, or could not be reached.
        """
        # https://developer.hashicorp.com/terraform/language/backend/s3#state-locking
        answer = self._call("get_object", Key=f"{key}.tflock")
        return read_lock(answer["Body"].read().decode()) if answer else None

    def _call(self, name: str, **options: Any) -> Any:
        """Return S3's answer about the bucket, or None where it has no such thing.

        Every call names the account, so that another account's bucket is never touched.
        """
        s3 = self._aws.client("s3")
        account = self._aws.identity.account
        try:
            with self._aws.calling():
                return getattr(s3, name)(Bucket=self.name, ExpectedBucketOwner=account, **options)
        except AwsError as error:
            if error.code in _ABSENT:
                return None
            raise

    def _of(self, kind: str, key: str) -> Any:
        return (self._call(f"get_{kind}") or {}).get(key)

    def _put(self, kind: str, **options: Any) -> None:
        self._call(f"put_{kind}", **options)

    def _statements(self) -> list[dict[str, Any]]:
        policy = self._of("bucket_policy", "Policy")
        statements: list[dict[str, Any]] = json.loads(policy)["Statement"] if policy else []
        return statements

    def _rules(self) -> list[dict[str, Any]]:
        return self._of("bucket_lifecycle_configuration", "Rules") or []

    def _tagged(self) -> dict[str, str]:
        tags = self._of("bucket_tagging", "TagSet") or ()
        return {one["Key"]: one["Value"] for one in tags}

    def _policy(self) -> dict[str, Any]:
        partition = self._aws.identity.arn.split(":")[1]
        bucket = f"arn:{partition}:s3:::{self.name}"
        tls = {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket, f"{bucket}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        return {"Version": "2012-10-17", "Statement": [*self._statements(), tls]}

    def _elsewhere(self, region: str) -> InputError:
        return InputError(
            f"the bucket {self.name} is in {region}, not in {self._aws.region}",
            hint="set `region` of the stack, or its `state_bucket`",
        )


def _denies_plain(statement: Mapping[str, Any]) -> bool:
    condition: dict[str, str] = statement.get("Condition", {}).get("Bool", {})
    denied: bool = statement["Effect"] == "Deny"
    return denied and condition.get("aws:SecureTransport") == "false"
