"""The labels and annotations by which the suite knows its objects in a cluster.

The platform's entrance (docker/platform/entrance) takes them from here.
"""

from __future__ import annotations

PREFIX = "mautic-multidev.io/"
MANAGED = {"app.kubernetes.io/managed-by": "mautic-multidev"}
"""The labels of objects that the suite created itself; the chart's are managed by Helm."""
INSTANCE = "app.kubernetes.io/instance"
"""The label of a release's objects: the release."""
COMPONENT = "app.kubernetes.io/component"
"""The label of a release's objects: its component."""
ASLEEP = f"{PREFIX}asleep"
PIN = f"{PREFIX}pin"
USED_AT = f"{PREFIX}used-at"
"""Annotations of a namespace: a ``Sleep`` and a ``Pinned`` as JSON, and a time."""
WAKING = f"{PREFIX}waking"
"""The annotation of a namespace that the entrance wakes: since when."""
NOT_ASLEEP = {ASLEEP: None, WAKING: None}
"""What a patch says of a namespace whose environment is awake."""
AWAKE = f"{PREFIX}awake"
"""The annotation of a workload that sleeps: its number of pods while it is awake, or ``suspend`` of
a CronJob."""
