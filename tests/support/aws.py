"""A fake AWS: moto's server, in its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

REGION = "eu-central-1"
ACCOUNT = "123456789012"
"""The account that moto gives to credentials it does not know."""
START_SECONDS = 60.0


@dataclass
class Moto:
    """A moto server on a free port.

    Attributes:
        folder: where its log goes.
        environ: further variables of the server.
        url: its address, once it has been started.
    """

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def __enter__(self) -> Self:
        log = self.folder / "moto.log"
        with log.open("w") as out:
            self._server = subprocess.Popen(
                [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", "0"],
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environ},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"Running on (http://\S+)", log.read_text())):
            assert self._server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"moto did not start:\n{log.read_text()}"
            time.sleep(0.1)
        self.url = found[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.terminate()
        self._server.wait(timeout=60)

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def variables(self, url: str | None = None) -> dict[str, str]:
        """Return what makes boto3 and Terraform speak to it, with credentials of its account.

        Args:
            url: the address of something that stands before it.
        """
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str, region: str = REGION) -> Any:
        """Return boto3's client of a service, for what a test sets up and looks at."""
        import boto3

        session = boto3.Session("testing", "testing", region_name=region)
        return session.client(service, endpoint_url=self.url)

    def publish(self, stack: str, values: dict[str, str]) -> None:
        """Put a stack's parameters where its Terraform would."""
        ssm = self.client("ssm")
        for name, value in values.items():
            ssm.put_parameter(
                Name=f"/mautic-multidev/{stack}/{name}", Value=value, Type="String", Overwrite=True
            )
