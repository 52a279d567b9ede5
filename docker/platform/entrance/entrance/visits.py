"""Decides what a request may do to an environment that sleeps. No I/O.

The same rule says who counts as a visitor of one that is awake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit


class Manner(Enum):
    """How a request is met that finds nobody."""

    NEVER = "it wakes nothing"
    PAGE = "it wakes, and is shown how far that is"
    HOLD = "it wakes, and waits for the answer"


@dataclass(frozen=True)
class Visit:
    """What a request tells of whoever makes it.

    Attributes:
        target: path and query.
        accept: the header ``Accept``.
        agent: the header ``User-Agent``.
        purpose: the headers ``Sec-Purpose`` and ``Purpose``: what browsers fetch in advance.
    """

    method: str
    target: str
    accept: str = ""
    agent: str = ""
    purpose: str = ""


# Mautic's app/bundles/*/Config/config.php, "public" routes: what mails and other people's pages
# load by themselves. A link that somebody follows (/r/…, /email/view/…) is a visit.
_BY_ITSELF = re.compile(
    r"/mtc(\.js|/event)?|/mtracking\.gif|/email/[^/]+\.gif|/mailer/callback|/dwc(/.*)?|"
    r"/focus/[^/]+\.(js|gif)|/focus/.+/viewpixel\.gif|/form/generate\.js|"
    r"/(media/js/mautic-form(-src)?\.js)|/favicon\.ico|/apple-touch-icon[^/]*\.png|/robots\.txt|"
    r"/sitemap[^/]*\.xml|/ads\.txt|/\.well-known/.*|/(s?healthz?|livez|readyz|status|ping)"
)
"""Paths that nobody asks for by hand."""
_BOTS = re.compile(
    # What most of them call themselves
    r"(?<!cu)bot(\b|_)|crawl|spider|slurp|archiver|scrap(y|er)|fetcher|"
    # Previews of links in chats, mails and networks
    r"facebookexternalhit|facebookcatalog|meta-externalagent|whatsapp|skypeuripreview|"
    r"preview|embedly|iframely|vkshare|google-read-aloud|mediapartners-google|"
    r"google-inspectiontool|googleother|googleimageproxy|yahoomailproxy|bingpreview|"
    r"microsoft office|msoffice|outlook|thunderbird|barracuda|proofpoint|mimecast|"
    # Monitors, probes and scanners
    r"kube-probe|elb-healthchecker|googlehc|health.?check|uptime|pingdom|statuscake|site24x7|"
    r"monitor|nagios|check_http|icinga|zabbix|prometheus|blackbox|datadog|newrelic|"
    r"lighthouse|pagespeed|gtmetrix|nmap|nikto|masscan|zgrab|censys|shodan|nuclei|sqlmap|"
    r"expanse|internet-?measurement|dataprovider|headlesschrome|phantomjs",
    re.IGNORECASE,
)
"""What programs call themselves that visit sites on nobody's behalf."""


def manner_of(visit: Visit) -> Manner:
    """Return how a request is met that finds nobody."""
    # As old mails and pages name them, of a Mautic without rewritten paths.
    path = urlsplit(visit.target).path.removeprefix("/index.php")
    if (
        visit.method != "GET"
        or not visit.agent.strip()
        or _BOTS.search(visit.agent)
        or re.search("prefetch|preview|prerender", visit.purpose, re.IGNORECASE)
        or _BY_ITSELF.fullmatch(path)
    ):
        return Manner.NEVER
    return Manner.PAGE if "text/html" in visit.accept.lower() else Manner.HOLD
