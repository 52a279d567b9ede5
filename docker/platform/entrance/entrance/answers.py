"""What the waker answers. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        retry_seconds: when to try again, or 0.
        site: whether nginx is to ask the site after all.
        policy: the content security policy.
        realm: what a login is asked for; empty if none is.
    """

    status: int
    body: str = ""
    kind: str = TEXT
    retry_seconds: int = 0
    site: bool = False
    policy: str = POLICY
    realm: str = ""

    def headers(self) -> dict[str, str]:
        """Return its headers."""
        body = self.body.encode()
        found = {
            "Content-Type": self.kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": self.policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex, nofollow",
        }
        if self.retry_seconds:
            found["Retry-After"] = str(self.retry_seconds)
        if self.site:
            found["X-Accel-Redirect"] = "@site"
        if self.realm:
            found["WWW-Authenticate"] = f'Basic realm="{self.realm}", charset="UTF-8"'
        return found
