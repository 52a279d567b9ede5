"""Asking GitLab's API, played by a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tasks.adapters.gitlab_project import gitlab_facts
from tasks.core.doctor.gitlab import FORKS, GitlabFacts

ANSWERS: dict[str, Any] = {
    "/api/v4/version": {"version": "18.3.0-ee"},
    "/api/v4/projects/7": {FORKS: False},
    "/api/v4/projects/7/runners?tag_list=safe+one&per_page=100&page=1": [
        {"id": 1, "description": "mine"},
        {"id": 2, "description": ""},
    ],
    "/api/v4/runners/1": {"access_level": "ref_protected"},
    "/api/v4/runners/2": {"access_level": "not_protected"},
}


@pytest.fixture
def job() -> Iterator[dict[str, str]]:
    """The variables of a job beside a GitLab that answers as in ``ANSWERS``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["PRIVATE-TOKEN"] == "s3cret" and self.path in ANSWERS
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(json.dumps(ANSWERS[self.path] if known else {}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield {
        "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
        "CI_PROJECT_ID": "7",
        "CI_SERVER_VERSION": "18.1.0",
        "GITLAB_TOKEN": "s3cret",
    }
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_token_opens_everything(job: dict[str, str]) -> None:
    found = gitlab_facts(job, "git@example.org:a/b.git", "safe one")
    assert found == GitlabFacts("18.3.0-ee", forks=False, runners={"mine": True, "2": False})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"GITLAB_TOKEN": ""}, "there is no GITLAB_TOKEN"),
        ({"GITLAB_TOKEN": "wrong"}, "401"),
        ({"CI_PROJECT_ID": "8"}, "401"),
        ({"CI_API_V4_URL": "http://127.0.0.1:1/api/v4"}, "127.0.0.1"),
        ({"CI_API_V4_URL": ""}, "/srv/repository is no address of GitLab"),
    ],
)
def test_what_cannot_be_asked_is_unknown_with_the_reason(
    job: dict[str, str], changes: dict[str, str], why: str
) -> None:
    found = gitlab_facts({**job, **changes}, "/srv/repository", "safe one")
    assert (found.forks, found.runners) == (None, None)
    assert why in found.unknown
    assert "s3cret" not in found.unknown
