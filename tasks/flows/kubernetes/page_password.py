"""The password of the page of all environments, which the platform's entrance serves."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import InputError
from tasks.core.kubernetes.entrance import PAGE_SECRET, PASSWORD, page_secret
from tasks.core.kubernetes.manifests import decoded
from tasks.core.kubernetes.platform import PlatformInputs
from tasks.core.plan import Step

_STEP = Step("generate", f"secret {PAGE_SECRET}", "password of the page of all environments")


class PagePassword:
    """The Secret with the page's password; a new one is made where there is none.

    Args:
        inputs: the facts about the cluster.
    """

    def __init__(self, cluster: Cluster, inputs: PlatformInputs) -> None:
        self._cluster = cluster
        self._inputs = inputs

    def steps(self) -> Iterator[Step]:
        """Yield the step that makes it, unless it is there."""
        if self._inputs.entrance and not self._find():
            yield _STEP

    def make(self) -> None:
        """Make it, before the pods that mount it."""
        self._cluster.apply(page_secret(self._inputs.namespace, secrets.token_urlsafe(24)))

    def read(self) -> str:
        """Return the password.

        Raises:
            InputError: there is none yet.
        """
        found = self._find()
        if not found:
            raise InputError("the page has no password yet", hint="inv platform.apply")
        return found

    def _find(self) -> str:
        found = self._cluster.get("Secret", PAGE_SECRET, self._inputs.namespace)
        return decoded(found).get(PASSWORD, "").strip()
