"""All tasks by the job they are for, with an example each; names and options near a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

VERSION = "0.1.0"
"""The suite's version, as pyproject.toml has it."""

JOBS = {
    "Begin": {
        "demo": ("inv demo", "try everything on this machine"),
        "init": ("inv init --project acme --dry-run", "the suite in your own repository"),
        "upgrade": ("inv upgrade --wheel FILE --dry-run", "another version of the suite"),
        "doctor": ("inv doctor --fix", "install what is missing"),
        "test": ("inv test --only unit", "lint, types and tests"),
        "completion": ("inv completion bash", "the Tab key for inv"),
    },
    "A branch's environment": {
        "build": ("inv build --env dev", "build, push and tag both images"),
        "plan": ("inv plan --env dev --out plan.json", "what a deploy would change"),
        "deploy": ("inv deploy --data seed", "create or update it"),
        "dev": ("inv dev --xdebug", "see what is saved, as it is saved"),
        "url": ("inv url --login", "its URL, and the login"),
        "status": ("inv status --branch feature/x", "its services"),
        "list": ("inv list --env dev", "all environments"),
        "page": ("inv page --env dev --serve", "all of them, in a browser"),
        "cost": ("inv cost --env dev --owners", "what they request, and its price"),
        "drift": ("inv drift --env dev", "what others have changed since"),
        "logs": ("inv logs --service worker --follow", "what its services write"),
        "queue": ("inv queue --retry all", "messages that wait or have failed"),
        "console": ("inv console -- cache:clear", "a command of Mautic's"),
        "shell": ("inv shell --service web", "a shell in a container"),
        "sleep": ("inv sleep --branch feature/x", "stop it; nothing is lost"),
        "wake": ("inv wake --branch feature/x", "start it again"),
        "pin": ("inv pin --branch feature/x --for 14d", "it neither sleeps nor expires"),
        "releases": ("inv releases --env dev", "what was deployed, and what runs"),
        "rollback": ("inv rollback --to 1a2b3c4d", "go back to a release"),
        "cleanup": ("inv cleanup --branch feature/x", "remove all of it"),
        "names": ("inv names --branch feature/x", "what it is called everywhere"),
    },
    "Its data": {
        "db.seed": ("inv db.seed --env prod --branch main", "make a masked copy"),
        "db.dump": ("inv db.dump before.zip", "into a file"),
        "db.load": ("inv db.load before.zip --replace", "from a file, or seed:ID"),
        "db.copy": ("inv db.copy --from main --branch fix", "from another branch"),
        "db.reset": ("inv db.reset --replace", "a fresh installation"),
        "db.snapshots": ("inv db.snapshots --format json", "list points in time"),
        "db.snapshot": ('inv db.snapshot --why "before the import"', "take one now"),
        "db.restore": ("inv db.restore --name 1 --dry-run", "go back to one"),
        "rehearse": ("inv rehearse --mautic 7.2 --out report.md", "try an upgrade out"),
    },
    "Images and registry": {
        "scan": ("inv scan --env prod", "look for known vulnerabilities"),
        "images.pin": ("inv images.pin --dry-run", "pin base images by digest"),
        "gc": ("inv gc --yes", "remove what no branch needs"),
    },
    "A cluster": {
        "platform.status": ("inv platform.status --env dev", "which of its parts are there"),
        "platform.apply": ("inv platform.apply --env dev --dry-run", "install what branches share"),
        "platform.image": ("inv platform.image --env dev", "build what the platform runs"),
        "adopt": ("inv adopt --env prod --dry-run", "take an environment over"),
    },
    "AWS": {
        "infra.bootstrap": ("inv infra.bootstrap --stack dev", "where Terraform's state goes"),
        "infra.plan": ("inv infra.plan --stack dev", "what would change"),
        "infra.apply": ("inv infra.apply --stack dev", "change it"),
        "infra.output": ("inv infra.output --stack dev", "what a stack has published"),
        "infra.drift": ("inv infra.drift --stack dev", "what others have changed"),
        "infra.destroy": ("inv infra.destroy --stack dev", "take a stack down"),
        "infra.unlock": ("inv infra.unlock --stack dev", "free a lock that was left"),
    },
    "GitLab CI": {
        "ci.explain": ("inv ci.explain --branch feature/x", "which jobs run, and why"),
        "ci.local": ("inv ci.local --job dev-build", "run the pipeline here"),
        "ci.image": ("inv ci.image --latest", "build the image of the jobs"),
    },
}
"""The tasks of each job: an example that shows what one mostly does, and what for."""

EXAMPLES = {task: example for tasks in JOBS.values() for task, (example, _) in tasks.items()}


ONLY_HERE = {"test", "ci.local"}
"""The tasks that a checkout of the suite has a use for, and its package only refuses."""
ONLY_ELSEWHERE = {"init", "upgrade"}
"""Those that the package alone has a use for."""


def refused(*, is_package: bool) -> set[str]:
    """Return the tasks that a package, or a checkout, only refuses."""
    return ONLY_HERE if is_package else ONLY_ELSEWHERE


def overview(*, is_package: bool = False) -> str:
    """Return what `inv` alone prints: the tasks of each job, with an example each.

    Args:
        is_package: whether the suite is installed as a package.
    """
    width = max(map(len, EXAMPLES.values()))
    lines = ["Every git branch of a Mautic project with an environment of its own."]
    for job, tasks in JOBS.items():
        lines += ["", f"{job}:"]
        lines += [
            f"  {example:<{width}}  {what}"
            for name, (example, what) in tasks.items()
            if name not in refused(is_package=is_package)
        ]
    return "\n".join([*lines, "", "inv TASK --help explains one; inv --list shows all in a row."])


def nearest(wrong: str, known: Iterable[str]) -> str:
    """Return the known name that a wrong one was probably meant to be, or an empty string."""
    names = list(known)
    last = {name.rpartition(".")[2]: name for name in names}
    found = difflib.get_close_matches(wrong, [*names, *last], n=1)
    return last.get(found[0], found[0]) if found else ""
