"""Which environment a host name leads to, and how nginx says the same."""

from __future__ import annotations

import json
import re

import pytest

from entrance.nginx import configuration, resolvers_in
from entrance.pages import Progress, Row, Stage, asleep_text, progress_page, unknown_page
from entrance.rules import Place, Rules, is_of, sleeps
from tasks.core.kubernetes.failures import RULES as FAILURES
from tasks.core.kubernetes.labels import ASLEEP, MANAGED, PREFIX, WAKING

PRICES = {"cpu_hour": 0.04, "memory_hour": 0.0045, "storage_month": 0.1, "currency": "EUR"}
RULES = Rules.from_json(
    json.dumps(
        {
            "sites": [
                {
                    "environment": "dev",
                    "host": "{slug}.dev.example.com",
                    "namespace": "mautic-{slug}",
                    "page": "environments.dev.example.com",
                    "prices": PRICES,
                },
                {
                    "environment": "shared",
                    "host": "x-{slug}.shared.example.com",
                    "namespace": "mautic-shared-{slug}",
                    "page": "environments.shared.example.com",
                    "prices": PRICES,
                },
            ],
            "address": "entrance.{namespace}.svc.cluster.local:80",
            "project": "mautic",
        }
    )
)
PLACE = Place("dev", "a-b", "mautic-a-b", "entrance.mautic-a-b.svc.cluster.local:80")
LABELS = {**MANAGED, f"{PREFIX}environment": "dev", f"{PREFIX}slug": "a-b"}


def test_a_host_name_leads_to_its_namespace() -> None:
    assert RULES.place_of("a-b.dev.example.com") == PLACE
    assert RULES.place_of("A-b.dev.example.com.:8080") == PLACE
    shared = RULES.place_of("x-a.shared.example.com")
    assert shared
    assert shared.namespace == "mautic-shared-a"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "dev.example.com",
        ".dev.example.com",
        "a.b.dev.example.com",
        "-a.dev.example.com",
        "a-.dev.example.com",
        "a/../b.dev.example.com",
        "a_b.dev.example.com",
        "a.devxexample.com",
        "a.dev.example.com.evil.com",
        "a.shared.example.com",
        "a\n.dev.example.com",
        "a.dev.example.com\n",
    ],
)
def test_no_other_name_leads_anywhere(host: str) -> None:
    assert RULES.place_of(host) is None


def test_the_page_of_all_has_a_whole_name() -> None:
    for host in ("environments.dev.example.com", "Environments.dev.example.com.:443"):
        site = RULES.page_of(host)
        assert site
        assert site.environment == "dev"
    for host in ("", "a.dev.example.com", "environments.example.com"):
        assert RULES.page_of(host) is None


def test_only_what_bears_the_suite_s_labels_is_an_environment() -> None:
    assert is_of({"metadata": {"labels": LABELS}}, PLACE)
    assert not is_of({"metadata": {}}, PLACE)
    for key in LABELS:
        assert not is_of({"metadata": {"labels": {**LABELS, key: "other"}}}, PLACE)


def test_what_is_marked_sleeps_until_it_is_woken_wholly() -> None:
    assert not sleeps({"metadata": {}})
    for mark in (ASLEEP, WAKING):
        assert sleeps({"metadata": {"annotations": {mark: "x"}}})


def test_nginx_knows_the_same_names_and_no_branch() -> None:
    text = configuration(RULES, ["10.0.0.10", "fd00::a"], ipv6=True)
    assert "resolver 10.0.0.10 [fd00::a] valid=5s;" in text
    assert text.count("listen [::]:8080") == text.count("listen 8080") == 5
    four = configuration(RULES, ["10.0.0.10"], ipv6=False)
    assert "resolver 10.0.0.10 valid=5s ipv6=off;" in four
    assert "[::]" not in four
    patterns = re.findall(r'server_name "~(.+)";', text)
    assert len(patterns) == 2
    for pattern, host in zip(
        patterns, ("a-b.dev.example.com", "x-a.shared.example.com"), strict=True
    ):
        assert re.match(pattern.replace("(?<", "(?P<"), host)
    # A whole name is found before a pattern, which fits it as well.
    assert text.count('server_name "environments.dev.example.com";') == 1
    assert 'set $site "entrance.mautic-${slug}.svc.cluster.local:80";' in text
    assert not re.search("PORT|LISTEN|FAMILY|SERVERS|RESOLVERS", text + four)


def test_the_cluster_s_name_servers_are_asked() -> None:
    assert resolvers_in("search x\nnameserver 10.0.0.10\nnameserver fd00::a\n") == [
        "10.0.0.10",
        "fd00::a",
    ]
    for text in ("", "nameserver x;y\n"):
        with pytest.raises(ValueError, match=r"name server|address"):
            resolvers_in(text)


def test_a_page_shows_how_far_it_is_and_goes_on_by_itself() -> None:
    rows = (Row("mysql", 1, 1), Row("web", 0, 2))
    page = progress_page("a<b", Progress(Stage.ASKED, rows))
    assert 'http-equiv="refresh" content="1"' in page
    assert '<li class="done">mysql: 1 of 1 ready</li>\n<li>web: 0 of 2 ready</li>' in page
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert "refresh" not in unknown_page()
    assert asleep_text("a").count("\n") == 1


def test_a_page_names_each_cause_of_the_failure_table_and_its_remedy() -> None:
    for rule in FAILURES:
        progress = Progress(Stage.FAILED, (), rule.cause, rule.advice)
        page = progress_page("a", progress)
        assert f"<strong>{rule.cause.replace(chr(39), '&#x27;')}</strong>" in page
        assert "`" not in page
        assert 'content="5"' in page
