"""Access to a kubeconfig's cluster by a token, in place of the kubeconfig's own credentials.

The token is one that an identity provider has signed, such as GitLab's ID token of a job.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.files.private import write_private
from tasks.adapters.kubernetes.kubeconfig import client_from_kubeconfig
from tasks.core.errors import ClusterError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


class TokenAccess:
    """Access to the cluster of one context; the token is kept in a private file of this run.

    Args:
        context: the context's name; of the kubeconfig only its cluster is used.
        secret: called with the token, so that it is masked.
    """

    def __init__(self, context: str, token: str, *, secret: Callable[[str], None]) -> None:
        self.context = context
        self._token = token
        secret(token)

    def log_in(self) -> ApiClient:
        """Return a client of the cluster's API.

        Raises:
            ClusterError: the kubeconfig cannot be read, or does not hold the context.
        """
        self.write_kubeconfig()
        return client_from_kubeconfig(self.context, str(self.kubeconfig))

    @property
    def kubeconfig(self) -> Path:
        """Where the private kubeconfig is, once it has been written."""
        return Path(self._folder.name) / "kubeconfig"

    def write_kubeconfig(self) -> None:
        """Write a kubeconfig with this token for the context; errors as for ``log_in``."""
        name, token = self.context, Path(self._folder.name) / "token"
        write_private(token, self._token.encode())
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": _cluster_of(name)}],
            "users": [{"name": name, "user": {"tokenFile": str(token)}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        write_private(self.kubeconfig, json.dumps(config).encode())

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        """A private folder of this run, mode 0700; removed when the run ends."""
        return tempfile.TemporaryDirectory(prefix="inv-token-")


def _cluster_of(context: str) -> dict[str, Any]:
    """Return the cluster of a context, with the full path of its certificate authority."""
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

    files = os.environ.get("KUBECONFIG") or KUBE_CONFIG_DEFAULT_LOCATION
    try:
        merged = KubeConfigMerger(files).config  # type: ignore[no-untyped-call]
        name = merged["contexts"].get_with_name(context)["context"]["cluster"]
        found = merged["clusters"].get_with_name(name)
        cluster: dict[str, Any] = dict(found["cluster"].value)
    except Exception as error:
        # The library raises all kinds of errors for a damaged file.
        raise ClusterError(
            f"the kubeconfig cannot be used: {' '.join(str(error).split())}",
            hint=f"it must hold the context {context} with its cluster; a user is not needed",
        ) from error
    if authority := cluster.get("certificate-authority"):
        # Relative to its own file, which need not be where the private one is.
        cluster["certificate-authority"] = str(Path(found.path).parent.absolute() / authority)
    return cluster
