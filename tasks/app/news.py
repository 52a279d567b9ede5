"""Tells people what has become of an environment: merge request, summary, chat.

Nothing of it fails a run: what cannot be told there is a warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from tasks.adapters import webhook
from tasks.adapters.gitlab import is_job
from tasks.adapters.gitlab_api import AUTHORITIES, GitlabProject
from tasks.app import environments
from tasks.app.out import named_file
from tasks.app.session import Session
from tasks.core.errors import HeldError, SuiteError, reason_of
from tasks.core.names import Names
from tasks.core.news import News, chat, is_for_chat, markdown, note
from tasks.flows.deploy import DeployResult
from tasks.flows.news import of_deploy, of_failure, of_removal
from tasks.flows.notes import keep_note
from tasks.flows.target import Request

NOTE_TOKEN = "GITLAB_NOTE_TOKEN"  # noqa: S105 - the variable's name
"""A job's own CI_JOB_TOKEN may not write notes (https://docs.gitlab.com/ci/jobs/ci_job_token/)."""


def deploy(
    session: Session, request: Request, run: Callable[[], DeployResult], summary: str = ""
) -> DeployResult:
    """Deploy what a request asks for, tell what came of it, and return the result.

    Args:
        session: the run.
        request: what is wanted.
        run: deploys it.
        summary: a file that the news are appended to; empty for that of the settings.
    """
    teller = Teller(session, summary)
    try:
        done = run()
    except HeldError:
        raise  # whoever holds it, or has superseded this one, tells
    except SuiteError as error:
        teller.tell(of_failure(request, error, _now(), teller.job))
        raise
    own = session.settings.environment(request.names.environment)
    teller.tell(of_deploy(done, _now(), has_door=own.has_door, job=teller.job))
    return done


def cleanup(
    session: Session, removal: environments.BranchCleanup, names: Names, summary: str = ""
) -> int:
    """Remove an environment, tell that it is gone, and return the number of removed objects.

    Arguments as for ``deploy``.
    """
    teller = Teller(session, summary)
    removed = removal.run()
    if removed:
        teller.tell(of_removal(names, _now(), teller.job))
    return removed


class Teller:
    """Tells news wherever this run's settings and variables say.

    Args:
        session: the run; its redactor gets the secrets of the ways.
        summary: a file that the news are appended to; empty for that of the settings.
        environ: this process's environment.

    Attributes:
        job: the URL of the pipeline's job, or an empty string.
    """

    def __init__(
        self, session: Session, summary: str = "", environ: Mapping[str, str] = os.environ
    ) -> None:
        own = session.settings.news
        self.job = environ.get("CI_JOB_URL", "")
        self._console, self._redactor = session.console, session.redactor
        self._environ = environ
        named = summary or own.summary
        self._summary = named_file("news.summary", named) if named else None
        self._webhook, self._named = environ.get(own.webhook or "", ""), own.webhook
        for secret in (environ.get(NOTE_TOKEN, ""), *webhook.secret_parts(self._webhook)):
            self._redactor.add(secret)

    def tell(self, news: News) -> None:
        """Tell news; warn of each way on which that failed."""
        self._try("the summary", lambda: self._append(news))
        self._try("the merge request's note", lambda: self._note(news))
        self._try("the chat", lambda: self._chat(news))

    def _try(self, what: str, way: Callable[[], None]) -> None:
        try:
            way()
        except (SuiteError, OSError) as error:
            self._console.warn(f"{what} was not written: {error}")

    def _append(self, news: News) -> None:
        if self._summary:
            try:
                with self._summary.open("a", encoding="utf-8") as file:
                    file.write(f"{self._redactor(markdown(news))}\n")
            except OSError as error:
                raise SuiteError(f"{self._summary}: {reason_of(error)}") from error

    def _note(self, news: News) -> None:
        known = self._environ.get
        merge_request = open_merge_request(self._environ) if is_job(dict(self._environ)) else 0
        api = known("CI_API_V4_URL", "")
        project = known("CI_MERGE_REQUEST_PROJECT_ID") or known("CI_PROJECT_ID")
        if not (merge_request and api and project):
            return
        token = known(NOTE_TOKEN, "")
        if not token:
            self._console.say(f"no note in the merge request: there is no {NOTE_TOKEN}")
            return
        notes = GitlabProject(api, f"/projects/{project}", token, known(AUTHORITIES, ""))
        keep_note(notes, merge_request, news, self._redactor(note(news)))

    def _chat(self, news: News) -> None:
        if not self._named or not is_for_chat(news):
            return
        if not self._webhook:
            self._console.say(f"nothing is told to the chat: there is no {self._named}")
            return
        webhook.send(self._webhook, self._redactor(chat(news)))


def open_merge_request(environ: Mapping[str, str]) -> int:
    """Return the number of a job's open merge request in its project; 0 if there is none.

    A branch's pipeline names all of its requests, with their projects: ``team/mautic!7,…``.
    """
    if number := environ.get("CI_MERGE_REQUEST_IID", ""):
        return int(number) if number.isdecimal() else 0
    own = re.escape(environ.get("CI_PROJECT_PATH", ""))
    found = re.search(rf"(?:^|,){own}!([0-9]+)(?:,|$)", environ.get("CI_OPEN_MERGE_REQUESTS", ""))
    return int(found[1]) if found else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
