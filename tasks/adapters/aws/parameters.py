"""The Parameter Store of AWS Systems Manager (SSM)."""

from __future__ import annotations

from tasks.adapters.aws.session import Aws


class Parameters:
    """Reads parameters of one region and account."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def read(self, path: str) -> dict[str, str]:
        """Return all parameters below a path, by their names below it.

        One paginated call; SSM returns ten parameters per page at most.

        Args:
            path: e.g. ``/mautic-multidev/dev``.

        Raises:
            AwsError: AWS refused, or cannot be reached.
            SettingsError: region or profile are wrong.
        """
        pages = self._aws.client("ssm").get_paginator("get_parameters_by_path")
        with self._aws.calling():
            return {
                one["Name"].removeprefix(f"{path}/"): one["Value"]
                for page in pages.paginate(Path=path, Recursive=True)
                for one in page["Parameters"]
            }
