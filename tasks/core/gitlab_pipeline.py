"""Evaluates .gitlab-ci.yml like GitLab: which jobs an event creates, and what they run.

It supports what this project's file uses: workflow and job rules, `extends`, `default`, variables.
An unknown keyword in `rules` is an error, so that the result is never a guess.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import InputError

EVENTS = ("push", "merge_request", "tag", "schedule", "stop")
"""What starts a pipeline; `stop` is the stop job that GitLab runs when a branch is deleted."""

_GLOBAL = {"default", "include", "stages", "variables", "workflow"}
_INHERITED = (
    *("after_script", "artifacts", "before_script", "cache", "id_tokens", "image"),
    *("interruptible", "retry", "services", "tags", "timeout"),
)
"""The keywords that jobs inherit from `default` (https://docs.gitlab.com/ci/yaml/#default)."""

_RULE = {"allow_failure", "if", "variables", "when"}
_TOKEN = re.compile(
    r"\s*(?:(?P<op>==|!=|=~|!~|&&|\|\||\(|\))"
    r"|\$(?P<name>\w+)|(?P<null>null)\b"
    r"|\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'"
    r"|/(?P<regex>(?:[^/\\]|\\.)+)/(?P<flags>[ismU]*))"
)
_PATTERN = re.compile(r"/((?:[^/\\]|\\.)+)/([ismU]*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_SLUG_MAX = 63


@dataclass(frozen=True)
class PipelineJob:
    """One job of a pipeline.

    Attributes:
        when: ``on_success``, ``manual``, ``always``, …
        allow_failure: whether the pipeline passes if it fails, or the exit codes that allow that.
        commands: its script, with variables expanded.
        environment: GitLab's name of the environment, or empty.
        action: ``start``, ``stop``, …; empty without an environment.
        resource_group: jobs of one group run one after the other; or empty.
        needs: the jobs that it waits for.
        interruptible: whether a newer pipeline may cancel it.
        variables: the variables from the file and the event.
    """

    name: str
    stage: str
    when: str
    allow_failure: bool | tuple[int, ...]
    commands: tuple[str, ...]
    environment: str
    action: str
    resource_group: str
    needs: tuple[str, ...]
    interruptible: bool
    variables: Mapping[str, str]

    @property
    def here(self) -> tuple[str, ...]:
        """The same commands for a user's machine."""
        return tuple(
            f"./{command}" if command.startswith("inv ") else command for command in self.commands
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the job as JSON-ready data."""
        allowed = self.allow_failure
        return {
            "job": self.name,
            "stage": self.stage,
            "when": self.when,
            "allow_failure": allowed if isinstance(allowed, bool) else list(allowed),
            "environment": self.environment,
            "action": self.action,
            "resource_group": self.resource_group,
            "needs": list(self.needs),
            "interruptible": self.interruptible,
            "commands": list(self.here),
        }


class Pipeline:
    """A parsed .gitlab-ci.yml.

    Args:
        document: the file's content.

    Raises:
        InputError: a job extends one that does not exist.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._workflow: Mapping[str, Any] = document.get("workflow") or {}
        self._variables = _plain(document.get("variables") or {})
        inherited = document.get("default") or {}
        given = {key: inherited[key] for key in _INHERITED if key in inherited}
        self.stages: tuple[str, ...] = tuple(document.get("stages") or ())
        self.definitions: dict[str, Mapping[str, Any]] = {
            name: {**given, **_extended(name, document)}
            for name in document
            if name not in _GLOBAL and not name.startswith(".")
        }

    def jobs(self, event: Mapping[str, str]) -> tuple[PipelineJob, ...]:
        """Return the jobs that an event creates, by stage; none means that there is no pipeline.

        Args:
            event: the event's variables, including those of the project and of a schedule; they
                override those of the file.

        Raises:
            InputError: a rule uses an unknown keyword.
        """
        variables = _known({**self._variables, **event}, event)
        rules = self._workflow.get("rules")
        chosen = _first(rules, variables) if rules else {}
        if chosen is None or chosen.get("when") == "never":
            return ()
        made = []
        for name, definition in self.definitions.items():
            job = self._job(name, definition, variables, event)
            if job:
                made.append(job)
        return tuple(sorted(made, key=lambda job: self.stages.index(job.stage)))

    def _job(
        self,
        name: str,
        definition: Mapping[str, Any],
        variables: Mapping[str, str],
        event: Mapping[str, str],
    ) -> PipelineJob | None:
        rules = definition.get("rules")
        rule = _first(rules, variables) if rules else {}
        when = "never" if rule is None else rule.get("when", definition.get("when", "on_success"))
        if rule is None or when == "never":
            return None
        # https://docs.gitlab.com/ci/variables/#cicd-variable-precedence
        own = {
            **self._variables,
            **_plain(definition.get("variables") or {}),
            **_plain(rule.get("variables") or {}),
            **event,
            "CI_JOB_NAME": name,
        }
        known = _known(own, event)
        place = definition.get("environment") or {}
        place = {"name": place} if isinstance(place, str) else place
        return PipelineJob(
            name=name,
            stage=definition.get("stage", "test"),
            when=when,
            allow_failure=_allowed(rule.get("allow_failure", definition.get("allow_failure"))),
            commands=tuple(_filled(line, known) for line in _lines(definition["script"])),
            environment=expand(place.get("name", ""), known, depth=0),
            action=place.get("action", "start") if place else "",
            resource_group=expand(definition.get("resource_group", ""), known, depth=0),
            needs=tuple(
                need if isinstance(need, str) else need["job"]
                for need in definition.get("needs") or ()
            ),
            interruptible=bool(definition.get("interruptible", False)),
            variables=known,
        )


def event_variables(
    event: str, branch: str, *, default_branch: str, tag: str = ""
) -> dict[str, str]:
    """Return the predefined variables of a pipeline that rules may use.

    Args:
        event: one of ``EVENTS``.
        branch: full name of the branch; of a merge request, its source.
        default_branch: the project's default branch.
        tag: the tag's name, for the event ``tag``.

    Raises:
        InputError: no such event.
    """
    if event not in EVENTS:
        raise InputError(f"--event {event!r}: must be one of {', '.join(EVENTS)}")
    name = tag or branch
    found = {
        "CI_PIPELINE_SOURCE": {"merge_request": "merge_request_event", "schedule": "schedule"}.get(
            event, "push"
        ),
        "CI_DEFAULT_BRANCH": default_branch,
        "CI_COMMIT_REF_NAME": name,
        "CI_COMMIT_REF_SLUG": ref_slug(name),
    }
    if event == "merge_request":
        # A merge request's pipeline has no CI_COMMIT_BRANCH.
        own = {"CI_MERGE_REQUEST_PROJECT_ID": "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1"}
        return {
            **found,
            **own,
            "CI_MERGE_REQUEST_IID": "1",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": branch,
        }
    return {**found, **({"CI_COMMIT_TAG": tag} if tag else {"CI_COMMIT_BRANCH": branch})}


def ref_slug(name: str) -> str:
    """Return GitLab's CI_COMMIT_REF_SLUG, which is not unique; only for GitLab's own pages."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())[:_SLUG_MAX].strip("-")


def expand(text: str, variables: Mapping[str, str], depth: int = 8) -> str:
    """Return a text with its variables expanded; unset ones are empty.

    Args:
        text: e.g. ``review/$CI_COMMIT_REF_SLUG``.
        variables: values, which may contain variables themselves.
        depth: how deeply values are expanded; 0 if they are expanded already.
    """

    def value(match: re.Match[str]) -> str:
        dollar, braced, bare = match.groups()
        found = "$" if dollar else variables.get(braced or bare, "")
        return found if dollar or depth == 0 else expand(found, variables, depth - 1)

    return _VARIABLE.sub(value, text)


def holds(expression: str, variables: Mapping[str, str]) -> bool:
    """Return True if an ``if`` of `rules` holds.

    Args:
        expression: with variables, strings, ``null``, regular expressions, ``== != =~ !~ && ||``
            and parentheses
            (https://docs.gitlab.com/ci/jobs/job_rules/#cicd-variable-expressions).
        variables: values of variables.

    Raises:
        InputError: it cannot be parsed.
    """
    return bool(_Expression(expression, variables).value())


# -- the file -------------------------------------------------------------------------------------


def _extended(name: str, document: Mapping[str, Any], seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a job with everything it extends merged in: mappings key by key, the rest replaced."""
    if name not in document or name in seen:
        raise InputError(f"{' extends '.join((*seen, name))}: there is no such job")
    own = dict(document[name])
    parents = own.pop("extends", [])
    merged: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        merged = _merged(merged, _extended(parent, document, (*seen, name)))
    return _merged(merged, own)


def with_included(
    document: Mapping[str, Any], read: Callable[[str], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return a pipeline with the files that it includes merged in; what it says itself counts.

    Args:
        document: the pipeline.
        read: returns the content of a file of the project.

    Raises:
        InputError: it includes something from elsewhere.
    """
    included = document.get("include") or []
    merged: dict[str, Any] = {}
    for one in included if isinstance(included, list) else [included]:
        path = one if isinstance(one, str) else one.get("local", "")
        if not path or "://" in path:
            raise InputError(f"what the pipeline includes from elsewhere cannot be read: {one}")
        name = path.lstrip("/")
        merged = _merged(merged, with_included(read(name), read))
    return _merged(merged, {key: value for key, value in document.items() if key != "include"})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        before = result.get(key)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        result[key] = _merged(before or {}, value) if both else value
    return result


def _plain(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return variables as strings; one may be a mapping with a value and a description."""
    return {
        name: str(value.get("value", "") if isinstance(value, Mapping) else value)
        for name, value in variables.items()
    }


def _lines(script: str | Sequence[str]) -> list[str]:
    return [script] if isinstance(script, str) else list(script)


def _filled(line: str, variables: Mapping[str, str]) -> str:
    """Return a script line with variables expanded and words quoted for a shell."""
    return shlex.join(expand(word, variables, depth=0) for word in shlex.split(line))


def _known(variables: Mapping[str, str], event: Mapping[str, str]) -> dict[str, str]:
    """Return variables with their values expanded, except those of predefined ones."""
    predefined = {name: value for name, value in event.items() if name.startswith("CI_")}
    written = {**variables, **{name: text.replace("$", "$$") for name, text in predefined.items()}}
    return {name: expand(text, written) for name, text in written.items()}


def _allowed(value: bool | Mapping[str, Any] | None) -> bool | tuple[int, ...]:
    if isinstance(value, Mapping):
        codes = value["exit_codes"]
        return (codes,) if isinstance(codes, int) else tuple(codes)
    return bool(value)


def _first(rules: Sequence[Mapping[str, Any]], variables: Mapping[str, str]) -> Any:
    """Return the first rule that holds, or None."""
    for rule in rules:
        unknown = sorted(set(rule) - _RULE)
        if unknown:
            raise InputError(f"a rule of .gitlab-ci.yml uses {unknown[0]!r}, unknown to ci.explain")
        if "if" not in rule or holds(rule["if"], variables):
            return rule
    return None


# -- the expressions ------------------------------------------------------------------------------


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each token; a regular expression keeps its slashes and flags."""
    position = 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise _unreadable(expression)
        kind = str(match.lastgroup)
        yield ("regex", match[0].strip()) if kind == "flags" else (kind, match[kind])
        position = match.end()


def _unreadable(expression: str) -> InputError:
    return InputError(f"a rule of .gitlab-ci.yml cannot be read: {expression}")


class _Expression:
    """Evaluates an expression by precedence climbing."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._variables = variables
        self._tokens = [*_tokens(text), ("end", "")]

    def value(self, end: tuple[str, str] = ("end", "")) -> Any:
        """Return the value of the expression up to a token."""
        result = self._combined(loosest=0)
        if self._tokens.pop(0) != end:
            raise _unreadable(self._text)
        return result

    def _combined(self, loosest: int) -> Any:
        left = self._operand()
        while (operator := _OPERATORS.get(self._tokens[0][1])) and self._tokens[0][0] == "op":
            binding, apply = operator
            if binding < loosest:
                break
            self._tokens.pop(0)
            left = apply(left, self._combined(binding + 1))
        return left

    def _operand(self) -> Any:
        kind, text = self._tokens.pop(0)
        if (kind, text) == ("op", "("):
            return self.value(end=("op", ")"))
        if kind in {"op", "end"}:
            raise _unreadable(self._text)
        return self._variables.get(text) if kind == "name" else None if kind == "null" else text


def _matches(left: str | None, right: str | None) -> bool:
    """Return True if a text matches a regular expression, which may be a variable's value."""
    if right is None:
        return False
    text, pattern = left or "", _PATTERN.fullmatch(right)
    if not pattern:
        # As GitLab has it: https://gitlab.com/gitlab-org/gitlab/-/issues/426313
        return text in right
    flags = re.IGNORECASE if "i" in pattern[2] else 0
    return re.search(pattern[1].replace(r"\/", "/"), text, flags) is not None


_OPERATORS: Mapping[str, tuple[int, Callable[[Any, Any], bool]]] = {
    "||": (0, lambda left, right: bool(left) or bool(right)),
    "&&": (1, lambda left, right: bool(left) and bool(right)),
    "==": (2, lambda left, right: bool(left == right)),
    "!=": (2, lambda left, right: bool(left != right)),
    "=~": (2, _matches),
    "!~": (2, lambda left, right: not _matches(left, right)),
}
"""Precedence and function of each operator."""
