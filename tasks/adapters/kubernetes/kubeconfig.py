"""Creates clients from a kubeconfig, and refuses one without credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.adapters.library_warnings import captured_errors
from tasks.core.errors import ClusterError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


def client_from_kubeconfig(context: str | None, kubeconfig: str | None) -> ApiClient:
    """Return a client for a context of a kubeconfig.

    Args:
        context: the context's name; None takes the current one.
        kubeconfig: path of the kubeconfig; None takes KUBECONFIG or the user's own.

    Raises:
        ClusterError: the kubeconfig cannot be read, does not hold the context, or gives it no
            credentials.
    """
    from kubernetes.config.kube_config import new_client_from_config

    try:
        with captured_errors() as heard:
            client: ApiClient = new_client_from_config(  # type: ignore[no-untyped-call]
                kubeconfig, context, persist_config=False
            )
    except Exception as error:
        # The library raises all kinds of errors for a damaged file.
        raise ClusterError(
            f"the kubeconfig cannot be used: {' '.join(str(error).split())}",
            hint="name a context that `kubectl config get-contexts` lists as `cluster` in "
            "invoke.yaml, and set KUBECONFIG if the file is not ~/.kube/config",
        ) from error
    own = client.configuration
    if own.host.startswith("https:") and not (own.api_key or own.cert_file or own.username):
        # The library only logs that an exec plugin failed, and goes on as nobody.
        said = f": {heard[-1]}" if heard else ""
        raise ClusterError(
            f"the kubeconfig gives no credentials for {context or 'the current context'}{said}",
            hint="log in again; where the context's user has neither a token nor a certificate "
            "nor an `exec` plugin, that is to be set up first",
        )
    return client
