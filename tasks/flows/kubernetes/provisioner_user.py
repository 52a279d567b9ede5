"""Makes the database user of the platform's provisioner, by a Job that is its administrator.

It is the only thing that the administrator is ever asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.terminal.console import Work
from tasks.core.kubernetes.manifests import decoded
from tasks.core.kubernetes.platform import PlatformInputs
from tasks.core.kubernetes.provisioner import (
    NAME,
    is_made_for,
    login_secret,
    provisioner_user,
    setup_job,
)
from tasks.core.plan import Step
from tasks.flows.kubernetes.database import wait_for_job

START_SECONDS = 120
"""How long the Job's pod may take to start: its node has to pull the image."""
HINT = (
    "check `database` of the environment, and its administrator's Secret; then run the same again"
)


class ProvisionerUser:
    """The provisioner's database user, and the Secret with its password.

    Args:
        inputs: the facts about the cluster.
        work: shows a piece of work.
    """

    def __init__(self, cluster: Cluster, inputs: PlatformInputs, work: Work) -> None:
        self._cluster = cluster
        self._inputs = inputs
        self._work = work
        self._name = provisioner_user(inputs.project)

    def steps(self) -> Iterator[Step]:
        """Yield the step that makes it, unless it is there."""
        server = self._inputs.server
        if not self._inputs.provisioner or server is None:
            return
        login = self._cluster.get("Secret", NAME, server.namespace)
        if not is_made_for(login, server):
            why = f"limited to {server.prefix}*, on {server.host}"
            yield Step("set up", f"database user {self._name}", why)

    def prepare(self) -> None:
        """Write its Secret, which the provisioner's pod mounts, unless there is one."""
        server = self._inputs.server
        if not self._inputs.provisioner or server is None:
            return
        if self._cluster.get("Secret", NAME, server.namespace) is None:
            password = secrets.token_urlsafe(32)
            self._cluster.apply(login_secret(server, self._name, password, made=False))

    def make(self) -> None:
        """Make it; a password that is there stays, and so does the provisioner's way in.

        Raises:
            SuiteError: the Job failed; the message names the cause.
        """
        server = self._inputs.server
        if server is None:
            return
        cluster, where = self._cluster, server.namespace
        with self._work(f"set up database user {self._name}") as activity:
            there = decoded(cluster.get("Secret", NAME, where))
            password = there.get("password") or secrets.token_urlsafe(32)
            cluster.apply(login_secret(server, self._name, password, made=False))
            job = setup_job(server, self._inputs.provisioner, self._inputs.ca_file, START_SECONDS)
            name = job["metadata"]["name"]
            # An earlier run's Job cannot be changed, only replaced.
            if cluster.delete("Job", name, where):
                wait_gone(cluster, "Job", name, where, say=activity.say)
            try:
                cluster.create(job)
                wait_for_job(cluster, job, START_SECONDS, activity.note, HINT)
            finally:
                cluster.delete("Job", name, where)
            cluster.apply(login_secret(server, self._name, password, made=True))
