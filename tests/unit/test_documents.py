"""How the tests read the documents: which commands they find, and where these are run."""

from __future__ import annotations

import pytest

from tests.support.documents import ELSEWHERE, PAGES, Command, commands, documented

PAGE = """
# Page

`./inv inline` is prose.

```sh
./inv deploy --branch a   # a comment
./inv shell --command "echo 'a #b'"

aws one \\
  two
```

1. In a list:

   ```sh
   ./inv url
   ```

```yaml
key: value
```

```
$ ./inv list
branch  state
main    running
$ ./inv cleanup 2>&1 | tail -1
✓ gone (1.2 s)
```
"""


def test_commands_are_found_with_what_is_shown_of_their_output() -> None:
    found = [(each.line, each.output) for each in commands("a page", PAGE)]
    assert found == [
        ("./inv deploy --branch a", None),
        ("./inv shell --command \"echo 'a #b'\"", None),
        ("aws one   two", None),
        ("./inv url", None),
        ("./inv list", "branch  state\nmain    running\n"),
        ("./inv cleanup 2>&1 | tail -1", "✓ gone (1.2 s)\n"),
    ]


def test_an_output_without_its_command_is_no_document() -> None:
    with pytest.raises(ValueError, match="of which command is this the output"):
        list(commands("a page", "```\nmain  running\n```\n"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("./inv cleanup 2>&1 | tail -1", ["./inv", "cleanup"]),
        ("./inv plan 2>/dev/null", ["./inv", "plan"]),
        ("./inv shell --command 'a b'", ["./inv", "shell", "--command", "a b"]),
    ],
)
def test_what_shortens_an_output_is_not_run(line: str, words: list[str]) -> None:
    assert Command("a page", line).words == words


def test_outputs_are_the_same_but_for_what_differs_by_nature() -> None:
    shown = (
        "main  907ed2cb  5m  root@vm\nhttp://a.localhost:8080\n✓ done (0.0 s)\nwhy: … not found\n"
    )
    command = Command("a page", "./inv x", shown)
    same = (
        "main    1a2b3c4d   2h  ada@laptop\nhttp://a.localhost:41234\n✓ done (12.3 s)\n"
        "why: b: not found\n"
    )
    assert command.differs(same, "") == ""
    for word in ("main", "http", "a.localhost", "done", "found"):
        assert command.differs(same.replace(word, "other"), "") != "", word
    assert command.differs(f"{same}more\n", "") != ""


def test_only_what_is_shown_is_compared() -> None:
    assert Command("a page", "./inv x 2>/dev/null", "data\n").differs("data\n", "message\n") == ""
    assert Command("a page", "./inv x 2>&1 | tail -1", "data\n").differs("data\n", "told\n") == ""
    assert Command("a page", "./inv x", "told\ndata\n").differs("data\n", "told\n") == ""
    assert Command("a page", "./inv x", "data\n").differs("data\n", "told\n") != ""


def test_every_reason_to_run_a_command_elsewhere_is_one_of_a_command() -> None:
    lines = [each.line for found in documented("elsewhere").values() for each in found]
    assert [how for how in ELSEWHERE if not any(line.startswith(how) for line in lines)] == []


def test_whatever_else_the_pages_show_is_run() -> None:
    for place in ("machine", "cluster", "stack"):
        for page, found in documented(place).items():
            assert page in PAGES
            assert {each.words[0] for each in found} <= {"./inv", "git"}
