"""What a cluster's platform is told of the environments that live in it."""

from __future__ import annotations

from tasks.core.kubernetes.platform import inputs_of
from tasks.core.settings import parse

DEV = {
    "target": "kubernetes",
    "branches": ["*"],
    "host": "{slug}.dev.example.org",
    "registry": {"url": "r.example.org/dev"},
    "cluster": {"name": "one"},
    "database": {"host": "db.example.org"},
}
PROD = {
    **DEV,
    "branches": ["main"],
    "namespace": "{project}-prod",
    "host": "www.example.org",
    "registry": {"url": "r.example.org/prod"},
    "protected": True,
}
ELSEWHERE = {
    **DEV,
    "cluster": {"name": "another"},
    "namespace": "e-{slug}",
    "database": {"host": "db.example.net"},
}


def test_branches_may_deploy_to_no_protected_environment_of_their_cluster() -> None:
    given = {"dev": DEV, "prod": PROD, "elsewhere": ELSEWHERE}
    settings = parse({"environments": given}, lambda _: "test")
    for name in ("dev", "prod"):
        found = inputs_of(settings, name, {})
        assert found.main_environments == ("dev", "prod")
        assert found.branch_environments == ("dev",)
    assert inputs_of(settings, "elsewhere", {}).main_environments == ("elsewhere",)
