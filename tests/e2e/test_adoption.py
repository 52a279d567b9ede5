"""The first day: from a wheel, and an empty repository or a Mautic project, to a branch online."""

from __future__ import annotations

from subprocess import CompletedProcess

from tests.support.local import World
from tests.support.package import STANDINS, Adopt, Installed, commit

PLUGIN = "plugins/AcmeBundle"
STYLE = "a { color: #acacac; }\n"
THEME = "themes/acme/css/acme.css"
THEIRS = {
    f"{PLUGIN}/AcmeBundle.php": "<?php\n",
    f"{PLUGIN}/Assets/acme.css": STYLE,
    "plugins/OtherBundle/OtherBundle.php": "<?php\n",
    "plugins/OtherBundle/Assets/other.css": "b {}\n",
    THEME: STYLE,
}
"""Two plugins and a theme, as they lie in Mautic before 5, and from 5 on below docroot/."""
PIPELINE = {".gitlab-ci.yml": "deploy:\n  script: [./deploy.sh]\n"}
"""What such a project has of its own."""


def served(world: World, path: str) -> str:
    """Return a page of the default branch."""
    answer = world.get("main", path)
    assert answer.status_code == 200, path
    return answer.text


def test_projects_in_either_layout_are_online_side_by_side(
    adopt: Adopt, installed: Installed
) -> None:
    flat, nested = (
        adopt({f"{folder}{name}": text for name, text in THEIRS.items()} | PIPELINE)
        for folder in ("", "docroot/")
    )

    def run(world: World, *args: str) -> None:
        done = installed.run(world.checkout, *args, env=STANDINS)
        assert done.returncode == 0, f"{args}: {done.stdout}\n{done.stderr}"

    def is_served(world: World) -> None:
        for name, text in THEIRS.items():
            if name.endswith(".css"):
                assert served(world, f"/{name}") == text
        assert "<html" in served(world, "/s/login")

    for world in (flat, nested):
        commit(world.checkout)
        assert PIPELINE[".gitlab-ci.yml"] in (world.checkout / ".gitlab-ci.yml").read_text()
        run(world, "deploy")
    is_served(flat)
    is_served(nested)
    run(flat, "cleanup", "--branch", "main")
    assert flat.objects("main") == []
    is_served(nested)


def test_from_an_empty_repository_to_a_branch_online(adopt: Adopt, installed: Installed) -> None:
    world = adopt({})
    where = world.checkout

    def inv(*args: str) -> CompletedProcess[str]:
        """Run the project's own ./inv, which has made its .venv from the lock."""
        done = installed.run(where, *args, program=where / "inv", env=STANDINS)
        assert done.returncode == 0, f"inv {' '.join(args)}: {done.stdout}\n{done.stderr}"
        return done

    for name, text in {
        f"{PLUGIN}/AcmeBundle.php": "<?php\n",
        f"{PLUGIN}/Assets/acme.css": STYLE,
        f"{PLUGIN}/debug.log": "nobody's business\n",
        THEME: STYLE,
        "config/parameters_local.php": "<?php $parameters = ['locale' => 'de'];\n",
    }.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    with (where / ".gitignore").open("a") as ignore:
        ignore.write("*.log\n")
    commit(where)

    assert "making .venv from requirements.lock" in inv("--version").stderr
    inv("build")
    url = inv("deploy").stdout.splitlines()[-1]
    assert url == f"http://main.{world.project}.localhost:{world.http_port}"

    assert served(world, f"/{PLUGIN}/Assets/acme.css") == STYLE
    assert served(world, f"/{THEME}") == STYLE
    assert "<html" in served(world, "/s/login")
    fpm = world.containers("main")["fpm"]
    held = fpm.exec_run(["ls", f"/var/www/html/docroot/{PLUGIN}"]).output.decode().split()
    assert held == ["AcmeBundle.php", "Assets"]

    # What git ignores is in no image, and what is not committed gives another tag.
    again = inv("build", "--dry-run").stdout
    assert "-dirty-" not in again
    assert "keep" in again
    (where / PLUGIN / "Assets" / "acme.css").write_text(f"{STYLE}b {{}}\n")
    (where / THEME).unlink()
    changed = inv("build", "--dry-run").stdout
    assert "-dirty-" in changed.splitlines()[0]
    assert "its content is new" in changed

    inv("cleanup", "--branch", "main")
    assert world.objects("main") == []
