"""The verbs of bin/console that the project uses, found where they stand, and those Mautic has."""

from __future__ import annotations

import json
import re

from tests.support.suite import ROOT, git

DATA = ROOT / "tests" / "data" / "console_verbs.json"
VERB = re.compile(
    r"(?<![\w/.:-])(?:mautic|doctrine|messenger|cache|social):[a-z][a-z_]*(?:[:-][a-z][a-z_]*)*"
)
IN_TEXT = (".py", ".php", ".sh", ".tpl", ".yaml", ".yml", ".json", ".md", ".hcl", "Dockerfile")
STANDIN_ONLY = {"mautic:user:password"}
"""The stand-in has it for tests alone, and says so."""
NO_VERBS = {
    *("mautic:latest", "mautic:x"),  # images
    *("mautic:no-such-command", "mautic:emails:send"),  # what the console must refuse
    "social:monitoring",  # the end of mautic:social:monitoring
}


def by_line() -> dict[str, set[str]]:
    """Return the verbs of each line of Mautic."""
    return {line: set(verbs) for line, verbs in json.loads(DATA.read_text())["verbs"].items()}


def used() -> dict[str, list[str]]:
    """Return each verb that a file of the project names, with the files.

    The stand-in's own files do not count: it may know more than is used.
    """
    found: dict[str, list[str]] = {}
    own = (str(DATA.relative_to(ROOT)), "tests/support/verbs.py", "docker/standins/")
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        path = ROOT / name
        if name.startswith(own) or not name.endswith(IN_TEXT) or not path.is_file():
            continue
        for verb in sorted(set(VERB.findall(path.read_text())) - NO_VERBS):
            found.setdefault(verb, []).append(name)
    return found
