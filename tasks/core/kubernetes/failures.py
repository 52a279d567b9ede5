"""The failure table: what the API reports of a failing rollout, and what to do about it.

One row per failure: its name, the reasons the API gives, how much patience it deserves and what to
do about it. A symptom that has no row is benign.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Patience(Enum):
    """How long a symptom may last before it is a failure."""

    NONE = "at once"
    CRASHES = "after some crashes"
    GRACE = "after a grace period"
    DEADLINE = "at the deadline"


@dataclass(frozen=True)
class Rule:
    """One row of the failure table.

    Attributes:
        cause: the failure in a few words, as it is told.
        reasons: the API's reasons that show it.
        patience: how long it may last.
        advice: what to do about it.
        message: if given, must be found in the symptom's message.
    """

    cause: str
    reasons: frozenset[str]
    patience: Patience
    advice: str
    message: re.Pattern[str] | None = None


def _rule(cause: str, reasons: str, patience: Patience, advice: str, message: str = "") -> Rule:
    pattern = re.compile(message, re.IGNORECASE) if message else None
    return Rule(cause, frozenset(reasons.split()), patience, advice, pattern)


_PASSING_PULL = "|".join(
    (
        # Time: of Go's net package, of contexts, of gateways
        r"time(d )?-?out|deadline exceeded|context canceled",
        # The network between a node and the registry, or the resolver it asks. Go names every
        # dialled, read and written connection; what comes after it passes.
        r"\b(dial|read|write) (tcp|udp|unix)|\blookup \S+|no such host|name resolution|"
        r"server misbehaving|try again|temporarily|unreachable|no route to host|host is down",
        # A connection that ended in the middle, and what it had brought by then
        r"connection (re|lost|closed|aborted|broken|timed|error)|connection force closed|"
        r"closed (the |idle |network )?connection|broken pipe|\bEOF\b|http2:|GOAWAY|stream error|"
        r"transport connection|TLS handshake|failed size validation|unexpected commit digest",
        # An overloaded registry or proxy. Not every 5xx has a phrase:
        # Cloudflare's 520 to 530 have none (containerd, core/remotes/docker; CRI-O; dockerd).
        r"too ?many ?requests|QPS exceeded|\bunavailable\b|bad gateway|internal server error|"
        r"status ?(code)?( \S+://\S+| \[[^\]]*\]| from (\w+ request to \S+|registry))?:? 5\d\d\b",
        # A node whose disk is full deletes images that nobody uses.
        r"no space left",
        # A kubelet before 1.32 does not repeat the reason while it waits for its next attempt.
        r"^Back-off pulling image \"[^\"]*\"$",
    )
)
"""Pull errors of kubelets and container runtimes that a retry may not meet."""

_UNCOUNTED = (
    "status unknown for quota|quota evaluation timed out|cannot be fulfilled on resourcequotas"
)
_UNFURNISHED = "this namespace is not furnished yet"
"""helm/platform, floor.yaml: an API server may see a label a moment after it was set."""
_UNANSWERED = "fail(ed|ure) (calling|to call) webhook|no endpoints available for service"

# Reasons: kubelet's container states (pkg/kubelet/images/types.go, container/sync_result.go,
# kuberuntime) and events (pkg/kubelet/events/event.go), the scheduler's PodScheduled condition,
# the controllers' conditions and events, and the codes of the images' own messages
# (core.images.wait_messages).
# Order matters: the first rule that fits a symptom is its rule, and of several failures the one
# highest up is told.
RULES: tuple[Rule, ...] = (
    _rule(
        "the image name is invalid",
        "InvalidImageName",
        Patience.NONE,
        "check `registry` in invoke.yaml",
    ),
    _rule(
        "the registry is busy or out of reach",
        "ErrImagePull ImagePullBackOff ImageInspectError RegistryUnavailable",
        Patience.GRACE,
        "look at the registry and at the nodes' network, then deploy again",
        _PASSING_PULL,
    ),
    _rule(
        "the image cannot be pulled",
        "ErrImagePull ImagePullBackOff ErrImageNeverPull ImageInspectError RegistryUnavailable "
        "SignatureValidationFailed",
        Patience.NONE,
        "run `inv build`, and check that the nodes may pull from the registry",
    ),
    _rule(
        "a Secret, a ConfigMap or one of its keys is missing",
        "CreateContainerConfigError",
        Patience.NONE,
        "create it, or correct its name in the values",
        r"(secret|configmap) \S+ not found|couldn't find key",
    ),
    _rule(
        "a Secret or a ConfigMap to be mounted is missing",
        "FailedMount",
        Patience.NONE,
        "create it, or correct its name in the values",
        # Every namespace gets kube-root-ca.crt by itself, a moment after it was made.
        r"(secret|configmap) (?!\"kube-root-ca\.crt\")\S+ not found|"
        r"references non-existent (secret|config) key",
    ),
    _rule(
        "the image would run as root",
        "CreateContainerConfigError",
        Patience.NONE,
        "give the image a numeric user other than 0",
        r"runAsNonRoot",
    ),
    _rule(
        "the container cannot be configured",
        "CreateContainerConfigError",
        Patience.GRACE,
        "read the message: the node could not put the container's settings together",
    ),
    _rule(
        "the command cannot be started",
        "RunContainerError CreateContainerError StartError ContainerCannotRun",
        Patience.NONE,
        "check command and arguments against the image",
        r"executable file not found|no such file or directory|permission denied|exec format",
    ),
    _rule(
        "the container cannot be created",
        "RunContainerError CreateContainerError StartError ContainerCannotRun",
        Patience.GRACE,
        "look at the node's container runtime",
    ),
    _rule(
        "refused by a quota",
        "FailedCreate ReplicaSetCreateError",
        Patience.NONE,
        "raise the namespace's quota or lower replicas and resources",
        r"exceeded quota|failed quota|insufficient quota|maximum .* usage per|minimum .* usage per",
    ),
    # k8s.io/apiserver, pkg/admission/plugin/resourcequota/controller.go
    _rule(
        "a quota's use is not known yet",
        "FailedCreate ReplicaSetCreateError",
        Patience.GRACE,
        "look at the controller manager, which counts it, and at the quota (`kubectl describe "
        "quota`)",
        _UNCOUNTED,
    ),
    # k8s.io/apiserver, pkg/admission/plugin/webhook/errors and pkg/util/webhook: one that has
    # refused "denied the request".
    _rule(
        "an admission webhook does not answer",
        "FailedCreate ReplicaSetCreateError",
        Patience.GRACE,
        "look at the pods of the webhook that the message names, and at its certificate",
        _UNANSWERED,
    ),
    _rule(
        "its service account is missing",
        "FailedCreate",
        Patience.GRACE,
        "create it, or correct its name in the values",
        r"serviceaccount \S+ not found",
    ),
    # For a moment after its start an API server knows neither its own roles nor its objects.
    _rule(
        "the API server is not ready for its own controllers",
        "FailedCreate ReplicaSetCreateError",
        Patience.GRACE,
        "look at the control plane and at its bootstrap roles (`kubectl get --raw /readyz`)",
        r'User "system:(serviceaccount:kube-system:\S+-controller|kube-controller-manager)" cannot|'
        r"not yet ready to handle request",
    ),
    _rule(
        "refused by admission",
        "FailedCreate ReplicaSetCreateError",
        Patience.NONE,
        "make the pod comply, or ask who set the policy",
        r"forbidden|denied the request|violates|is invalid",
    ),
    _rule(
        "the database denies access",
        "database-access-denied",
        Patience.NONE,
        "check the user, and the password in the Secret",
    ),
    _rule(
        "there is no such database",
        "database-unknown",
        Patience.NONE,
        "create it, or correct its name in the values",
    ),
    _rule(
        "no secure connection to the database",
        "database-tls",
        Patience.NONE,
        "set `database.tls_ca` where the server wants TLS; it must hold the authority that "
        "signed the server's certificate, and that be for the database's host",
    ),
    _rule(
        "the database's host name is unknown",
        "database-unknown-host",
        Patience.GRACE,
        "check the database's host in invoke.yaml or the values, and the cluster's DNS",
    ),
    _rule(
        "the database refuses the connection",
        "database-refused",
        Patience.GRACE,
        "check its host and port, and whether it runs",
    ),
    _rule(
        "the database cannot be reached",
        "database-unreachable",
        Patience.GRACE,
        "check its address, the route to it, security groups and NetworkPolicies",
    ),
    _rule(
        "the database has no connection left",
        "database-too-many-connections",
        Patience.GRACE,
        "end what holds its connections, or raise its limits",
    ),
    _rule(
        "the database is not ready",
        "database-starting",
        Patience.GRACE,
        "read the database's own log",
    ),
    _rule(
        "there is no such seed",
        "seed-missing",
        Patience.NONE,
        "run the deploy again, which loads it, or deploy with other data",
    ),
    _rule(
        "another migration holds the lock",
        "migration-lock",
        Patience.DEADLINE,
        "wait for it, or end the database connection that the line names",
    ),
    _rule(
        "the migration has not run",
        "migration",
        Patience.DEADLINE,
        "read the migrate Job's log among the evidence",
    ),
    _rule(
        "the Job took too long",
        "DeadlineExceeded",
        Patience.NONE,
        "read its log among the evidence; raise `activeDeadlineSeconds` if it is only slow",
    ),
    _rule(
        "the Job failed",
        "BackoffLimitExceeded PodFailurePolicy FailedIndexes MaxFailedIndexesExceeded",
        Patience.NONE,
        "read the Job's logs among the evidence",
    ),
    _rule(
        "the container ran out of memory",
        "OOMKilled",
        Patience.CRASHES,
        "raise its memory limit",
    ),
    _rule(
        "its probe fails, and it is restarted for that",
        "Killing",
        Patience.CRASHES,
        "read its previous logs among the evidence; give the probe more time if it is only slow",
    ),
    _rule(
        "the container keeps crashing",
        "Error Completed ContainerStatusUnknown",
        Patience.CRASHES,
        "read its previous logs among the evidence",
    ),
    _rule(
        "a volume is not bound",
        "Unschedulable",
        Patience.GRACE,
        "check the storage class and the claims",
        r"persistentvolumeclaim",
    ),
    _rule(
        "the nodes are under pressure or not ready",
        "Unschedulable",
        Patience.GRACE,
        "look at the nodes' memory, disk and conditions, or add nodes",
        r"node\.kubernetes\.io/(memory|disk|pid)-pressure|node\.kubernetes\.io/(not-ready|unreachable)",
    ),
    _rule(
        "no node can take the pod",
        "Unschedulable",
        Patience.GRACE,
        "add nodes, or lower the resources it asks for",
    ),
    _rule(
        "a volume cannot be provided",
        "ProvisioningFailed FailedMount FailedAttachVolume FailedMapVolume",
        Patience.GRACE,
        "check the storage class and its driver",
    ),
    # The kubelet tries again for ever: a network plugin may come up, an address become free.
    _rule(
        "the pod cannot be set up on its node",
        "FailedCreatePodSandBox FailedPodSandBoxStatus FailedCreatePodContainer NetworkNotReady",
        Patience.GRACE,
        "look at the node's network plugin, its free addresses and its container runtime",
    ),
    _rule(
        "the pod was evicted or killed",
        "Evicted NodeLost Preempting Terminated NodeAffinity UnexpectedAdmissionError OutOfcpu "
        "OutOfmemory OutOfpods",
        Patience.GRACE,
        "look at the node's health",
    ),
    _rule(
        "objects cannot be created",
        "FailedCreate ReplicaSetCreateError",
        Patience.GRACE,
        "read the controller's message",
    ),
    _rule(
        "it does not become ready",
        "Unhealthy",
        Patience.DEADLINE,
        "read among the evidence the logs of what answers the probe",
    ),
    _rule(
        "an init container does not end",
        "ContainersNotInitialized",
        Patience.DEADLINE,
        "read its log among the evidence",
    ),
    _rule(
        "the rollout made no progress",
        "ProgressDeadlineExceeded",
        Patience.NONE,
        "read the events among the evidence",
    ),
)


@dataclass(frozen=True)
class Symptom:
    """Something the API reports that may have a rule.

    Attributes:
        reason: the API's reason.
        subject: the object, and the container if it is one, e.g. ``pod/web-1 container fpm``.
        message: the API's message.
        since: when it began, by the cluster's clock, or None when that is not reported.
        crashes: how often the container has ended since the rollout began.
        final: whether its reporter has given up, so that no patience is left.
    """

    reason: str
    subject: str
    message: str = ""
    since: datetime | None = None
    crashes: int = 0
    final: bool = False


@dataclass(frozen=True)
class Cause:
    """Why a rollout is doomed."""

    rule: Rule
    symptom: Symptom

    def line(self) -> str:
        """Return the cause in one line: what failed, on which object, in whose words."""
        message = " ".join(self.symptom.message.split())
        words = f": {message}" if message else ""
        return f"{self.symptom.subject}: {self.rule.cause} ({self.symptom.reason}{words})"


def is_passing_refusal(words: str) -> bool:
    """Return True if the API rejected an object for a transient reason.

    Args:
        words: the API's message, or the output of a program that repeats it.
    """
    return bool(re.search(f"{_UNCOUNTED}|{_UNANSWERED}|{_UNFURNISHED}", words))


def rule_for(symptom: Symptom) -> Rule | None:
    """Return the first rule of the table that fits a symptom, or None when it is benign."""
    for rule in RULES:
        if symptom.reason in rule.reasons and (
            rule.message is None or rule.message.search(symptom.message)
        ):
            return rule
    return None
