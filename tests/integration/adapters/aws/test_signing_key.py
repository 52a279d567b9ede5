"""Keys of KMS that sign: moto's."""

from __future__ import annotations

import os

import pytest

from tasks.adapters.aws.session import Aws
from tasks.adapters.aws.signing_key import SigningKey
from tasks.core.errors import AwsError
from tests.support.aws import ACCOUNT, REGION, Moto


@pytest.fixture(autouse=True)
def credentials(aws: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws.variables().items():
        monkeypatch.setenv(name, value)


def make(aws: Moto) -> SigningKey:
    made = aws.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    return SigningKey(Aws(REGION), made["KeyMetadata"]["Arn"])


def test_a_key_knows_what_it_has_signed(aws: Moto) -> None:
    key, other = make(aws), make(aws)
    long = b"x" * 100_000
    signature = key.sign(long)
    assert key.verifies(long, signature)
    assert not key.verifies(long + b"y", signature)
    assert not key.verifies(long, b"nonsense")
    assert not other.verifies(long, signature)


def test_a_key_that_is_not_there_is_told(aws: Moto) -> None:
    absent = SigningKey(Aws(REGION), f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/absent")
    with pytest.raises(AwsError):
        absent.sign(b"x")
    with pytest.raises(AwsError):
        absent.verifies(b"x", b"y")
