"""File systems of EFS: how many access points they have."""

from __future__ import annotations

from tasks.adapters.aws.session import Aws

PAGE = 1000


class FileSystems:
    """The file systems of a region.

    Args:
        aws: credentials that may describe access points.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def access_points(self, file_system: str) -> int:
        """Return how many access points a file system has.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        pages = self._aws.client("efs").get_paginator("describe_access_points")
        with self._aws.calling():
            found = pages.paginate(FileSystemId=file_system, PaginationConfig={"PageSize": PAGE})
            return sum(len(page["AccessPoints"]) for page in found)
