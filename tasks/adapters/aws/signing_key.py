"""A key of AWS KMS that signs: it never leaves KMS, and who may use it is said there."""

from __future__ import annotations

import hashlib
from typing import Any

from tasks.adapters.aws.session import Aws
from tasks.core.errors import AwsError

ALGORITHM = "ECDSA_SHA_256"
"""Of a key of the kind ECC_NIST_P256 with the usage SIGN_VERIFY; cosign's own kind, too."""

_WRONG = "KMSInvalidSignatureException"


class SigningKey:
    """One key of KMS.

    Args:
        aws: the key's region, and the credentials.
        name: the ARN of the key or of an alias of it.
    """

    def __init__(self, aws: Aws, name: str) -> None:
        self._aws = aws
        self.name = name

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        signature: bytes = self._call("sign", message)["Signature"]
        return signature

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return True if this key has made a signature of a message.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        try:
            return bool(self._call("verify", message, Signature=signature)["SignatureValid"])
        except AwsError as error:
            if error.code == _WRONG:
                return False
            raise

    def _call(self, operation: str, message: bytes, **options: Any) -> Any:
        client = self._aws.client("kms")
        with self._aws.calling():
            return getattr(client, operation)(
                KeyId=self.name,
                # Of the message itself KMS takes 4096 bytes.
                Message=hashlib.sha256(message).digest(),
                MessageType="DIGEST",
                SigningAlgorithm=ALGORITHM,
                **options,
            )
