"""Completes command lines: what the last word may be, and the scripts by which shells ask."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

BRANCHES = "branches"
ENVIRONMENTS = "environments"
STACKS = "stacks"
COMMITS = "commits"
RELEASES = "releases"

SCRIPTS = {
    "bash": """\
_inv() {
  local found line typed=${COMP_LINE:0:COMP_POINT}
  local word=${typed##*[[:space:]]}
  COMPREPLY=()
  found=$("$1" --complete -- "${typed#*[[:space:]]}" 2>/dev/null)
  while IFS= read -r line; do
    # bash takes words apart at colons and equals signs, too, and replaces the last part alone.
    [ -z "$line" ] || COMPREPLY+=("${line#"${word%"$2"}"}")
  done <<<"$found"
}
# By its name alone, bash passes ./inv over in the Tab by which bash-completion reads this file.
complete -o default -F _inv inv ./inv
""",
    "zsh": """\
#compdef inv
_inv() {
  local -a found
  found=(${(f)"$("$words[1]" --complete -- "${(j: :)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -- $found; else _files; fi
}
# zsh reads this file when _inv is first called, by a Tab that wants its answer.
if [[ $funcstack[1] == _inv ]]; then _inv "$@"; else compdef _inv inv; fi
""",
    "fish": """\
function __inv_words
    set -l typed (commandline -opc)
    set -l word (commandline -ct)
    $typed[1] --complete -- (string join " " -- $typed[2..-1] $word) 2>/dev/null
end
complete -c inv -a '(__inv_words)'
""",
}
"""What makes a shell ask: each hands over all words up to the cursor as one argument."""

PLACES = {
    "bash": "~/.local/share/bash-completion/completions/inv",
    "zsh": "~/.local/share/zsh/site-functions/_inv",
    "fish": "~/.config/fish/conf.d/inv.fish",
}
"""Where each shell looks for it by itself, bash by bash-completion. What is in fish's folder of
completions counts for commands on PATH alone, and ./inv is none."""

ADVICE = {
    "bash": "unless bash-completion is loaded, ~/.bashrc has to say: . {place}",
    "zsh": "~/.zshrc has to say, before compinit: fpath+={place.parent}",
}
"""What else a shell may need."""

LOOKED_UP = {
    "branch": BRANCHES,
    "db.copy from": BRANCHES,
    "env": ENVIRONMENTS,
    "stack": STACKS,
    "deploy tag": COMMITS,
    "plan tag": COMMITS,
    "scan tag": COMMITS,
    "to": RELEASES,
}
"""The options whose values have to be looked up, and where; with a task, that one's alone."""

FIXED = {
    "service": ("web", "fpm", "worker", "cron", "database"),
    "format": ("text", "json"),
    "severity": ("critical", "high", "medium", "low", "none"),
    "shell": tuple(SCRIPTS),
    "data": ("empty", "seed"),
    "retry": ("all",),
    "remove": ("all",),
    "part": ("provisioner", "entrance"),
    "build only": ("mautic", "nginx"),
}
"""The values of options that have but a few, or one that can be known."""


def candidates(
    words: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    core: Sequence[str],
    look_up: Callable[[str, Mapping[str, str]], Sequence[str]],
) -> list[str]:
    """Return what may stand in the place of the last word, whatever of it has been typed.

    Args:
        words: the command line after the program's name; the last may be empty.
        options: for each task its options as they are typed, and each one's name; those that take
            no value have an empty one.
        core: the program's own options.
        look_up: returns what there is of ``BRANCHES`` and the like, by the options given before.
    """
    *before, word = [part for each in words for part in _parts(each)]
    # It is what the shell takes the last word for.
    whole = words[-1].removesuffix(word)
    task = next((each for each in before if each in options), "")
    known = options.get(task, {})
    name = known.get(before[-1], "") if before else ""
    if name:
        given = {known[flag]: value for flag, value in itertools.pairwise(before) if flag in known}
        own = next((each for each in (f"{task} {name}", name) if each in {*LOOKED_UP, *FIXED}), "")
        found = list(look_up(LOOKED_UP[own], given) if own in LOOKED_UP else FIXED.get(own, ()))
    elif whole:
        found = []
    elif word.startswith("-"):
        found = [each for each in (known or core) if each.startswith("--")]
    elif task:
        found = list(FIXED["shell"]) if before[-1] == "completion" else []
    else:
        found = list(options)
    return [whole + each for each in found if each.startswith(word)]


def _parts(word: str) -> list[str]:
    """Return an option and its value where one word is both, as in ``--env=dev``."""
    return word.split("=", 1) if word.startswith("-") else [word]
