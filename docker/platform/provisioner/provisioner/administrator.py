"""Where the database administrator's name and password come from: files, or AWS Secrets Manager."""

from __future__ import annotations

import json
import re
from pathlib import Path

from provisioner.server import Login, ServerError

_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:(?P<region>[a-z0-9-]+):[0-9]{12}:secret:\S+")


def login_in(folder: Path) -> Login:
    """Return the user that a mounted Secret holds, as ``username`` and ``password``.

    Raises:
        ServerError: one of the files is missing or empty.
    """
    values = []
    for name in ("username", "password"):
        try:
            values.append((folder / name).read_text().strip("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise ServerError(f"{folder / name} cannot be read") from error
        if not values[-1]:
            raise ServerError(f"{folder / name} is empty")
    return Login(*values)


def login_of(arn: str) -> Login:
    """Return the user that a secret of Secrets Manager holds, by this pod's own identity.

    Raises:
        ServerError: AWS refuses, or the secret has another form; the message repeats nothing of it.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import get_session

    parsed = _ARN.fullmatch(arn)
    if parsed is None:
        raise ServerError("the administrator's secret is named by no ARN of Secrets Manager")
    try:
        client = get_session().create_client("secretsmanager", region_name=parsed["region"])
        text = client.get_secret_value(SecretId=arn)["SecretString"]
        found = json.loads(text)
        return Login(str(found["username"]), str(found["password"]))
    except (BotoCoreError, ClientError) as error:
        raise ServerError(f"{arn}: {error}") from error
    except (ValueError, KeyError, TypeError):
        # The error would show the secret.
        raise ServerError(f"the secret {arn} lacks username or password") from None
