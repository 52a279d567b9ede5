"""The chart helm/platform: its values for one cluster, and a check that they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError, SettingsError
from tasks.core.kubernetes.entrance import site
from tasks.core.kubernetes.network import network_rules
from tasks.core.kubernetes.platform import (
    CONTROLLER,
    MAUTIC_CONFIG,
    RELEASE,
    PlatformInputs,
    UpstreamFile,
    controller_values,
    upstream,
    values,
)
from tasks.flows.kubernetes.values import fingerprint_of, merge_values, overlay, read_values

FOLDER = Path("helm", "platform")


class PlatformChart:
    """The chart of a cluster's platform, with its values.

    Args:
        inputs: the facts about the cluster.
        files: values files; the later ones win.
    """

    def __init__(self, root: Path, inputs: PlatformInputs, files: Sequence[Path]) -> None:
        self._root = root
        self.folder = root / FOLDER
        self._inputs = inputs
        self._files = tuple(files)

    @cached_property
    def own(self) -> dict[str, Any]:
        """The chart's values that are not its defaults."""
        result: dict[str, Any] = values(self._inputs)
        result["network"] = {"environments": self._networks()}
        if self._inputs.provisioner:
            result["provisioner"]["tlsCa"] = self._authority()
        if self._inputs.entrance:
            result["entrance"] = {"image": self._inputs.entrance, "sites": self._sites()}
        for path in self._files:
            if not path.is_file():
                raise InputError(f"there is no values file {path}")
            result = overlay(result, read_values(path))
        return result

    def _networks(self) -> dict[str, Any]:
        """Return what the NetworkPolicies of each environment may open."""
        return {
            name: network_rules(merge_values(self._root, chart.files, chart.values))
            for name, chart in self._inputs.charts.items()
        }

    def _sites(self) -> dict[str, Any]:
        """Return what the entrance is told of each environment that it leads to."""
        return {
            name: site(
                self._inputs.names[name],
                merge_values(self._root, self._inputs.charts[name].files, {}),
                self._inputs.prices[name],
            )
            for name in self._inputs.led
        }

    def _authority(self) -> str:
        """Return the certificates of the database's authorities: in PEM, or a file's path.

        What is a file of the project in the mautic image is taken from the project. Any other file
        must be in the provisioner's image as well.
        """
        path = self._inputs.database_ca
        if not path.startswith(MAUTIC_CONFIG):
            return path
        file = self._root / "docker" / "mautic" / "config" / path.removeprefix(MAUTIC_CONFIG)
        try:
            return file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"database.tls_ca: {file.relative_to(self._root)} cannot be read",
                hint="it holds the certificates of the authorities that signed the database's own",
            ) from error

    @cached_property
    def merged(self) -> dict[str, Any]:
        """The chart's values, all of them."""
        return overlay(read_values(self.folder / "values.yaml"), self.own)

    @cached_property
    def upstream(self) -> dict[str, UpstreamFile]:
        """The third parties' files that are installed with it, by name."""
        return upstream(read_values(self.folder / "upstream.yaml"))

    @cached_property
    def controller(self) -> dict[str, Any]:
        """The load balancer controller's values that are not its own defaults."""
        return overlay(
            read_values(self.folder / "controller.yaml"), controller_values(self._inputs)
        )

    @property
    def installs_gateway_api(self) -> bool:
        """Whether the suite installs the Gateway API."""
        return bool(self.merged["gatewayApi"]["install"])

    @property
    def installs_controller(self) -> bool:
        """Whether the suite installs the load balancer controller."""
        return bool(self.merged["loadBalancerController"]["install"])

    def check(self) -> None:
        """Check that the stack has published all required values.

        Raises:
            SettingsError: one is missing; the error names it.
        """
        installs, aws = self.installs_controller, self.merged["gateway"]["aws"]
        for value, is_needed, what in (
            (self._inputs.cluster, installs, "cluster/name"),
            (self._inputs.region, installs, "region"),
            (self._inputs.vpc_id, installs, "network/vpc-id"),
            (aws["certificateArn"], aws["enabled"], "dns/certificate-arn"),
        ):
            if is_needed and not value:
                raise SettingsError(
                    f"the stack has published no {what}, which the load balancer needs",
                    hint="make it with `inv infra.apply`, or switch the part off with --values",
                )

    def prints(self) -> dict[str, str]:
        """Return the fingerprint of each release that is installed."""
        found = {RELEASE: fingerprint_of(self.own, _contents(self.folder))}
        if self.installs_controller:
            pin = self.upstream["loadBalancerController"]
            packed = [(pin.url, pin.sha256.encode())]
            found[CONTROLLER] = fingerprint_of(self.controller, packed)
        return found


def _contents(chart: Path) -> list[tuple[str, bytes]]:
    """Return the files of helm/platform that are the chart's, by name."""
    beside = {chart / "controller.yaml", chart / "upstream.yaml"}
    return sorted(
        (str(path.relative_to(chart)), path.read_bytes())
        for path in chart.rglob("*")
        if path.is_file() and path not in beside
    )
