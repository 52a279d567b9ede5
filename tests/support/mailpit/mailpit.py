#!/usr/bin/python3
"""Stands in for Mailpit: takes mail by real SMTP, and shows it by HTTP below MP_WEBROOT.

It reads the variables that Mailpit reads, and answers at the paths that Mailpit has. Like the
Mailpit of platform.mail_image it obeys requests and WebSockets from pages of any origin.
`/mailpit readyz` asks whether it is ready.
"""

import base64
import email.policy
import hashlib
import itertools
import json
import os
import sys
import threading
import urllib.request
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

ROOT = f"/{os.environ.get('MP_WEBROOT', '').strip('/')}/".replace("//", "/")
MOST = int(os.environ.get("MP_MAX_MESSAGES", "500"))
ANY_LOGIN = os.environ.get("MP_SMTP_AUTH_ACCEPT_ANY") == "true"
PLAIN_LOGIN = os.environ.get("MP_SMTP_AUTH_ALLOW_INSECURE") == "true"
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
CAUGHT = OrderedDict()
NEWS = threading.Condition()
NUMBER = itertools.count(1)


class Catcher:
    async def handle_DATA(self, server, session, envelope):
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with NEWS:
            CAUGHT[f"{next(NUMBER):022d}"] = (list(envelope.rcpt_tos), parsed)
            while len(CAUGHT) > MOST:
                CAUGHT.popitem(last=False)
            NEWS.notify_all()
        return "250 2.0.0 Ok"


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        words = path.removeprefix(ROOT).split("/") if path.startswith(ROOT) else []
        match words:
            case ["livez" | "readyz"]:
                self.answer(200, "ok")
            case [""]:
                self.answer(200, "<title>Mailpit</title>", "text/html")
            case ["api", "events"]:
                self.events()
            case ["api", "v1", "messages"]:
                found = [self.summary(key) for key in reversed(list(CAUGHT))]
                self.json({"total": len(found), "messages": found})
            case ["api", "v1", "message", key] if key in CAUGHT:
                self.json({**self.summary(key), "HTML": self.html(key)})
            case ["view", name] if name.removesuffix(".html") in CAUGHT:
                self.answer(200, self.html(name.removesuffix(".html")), "text/html")
            case ["api", "v1", "seen"]:
                # Not Mailpit's: what nginx has passed on.
                self.json(dict(self.headers))
            case _:
                self.answer(404, "not found")

    def do_DELETE(self):
        with NEWS:
            CAUGHT.clear()
        self.answer(200, "ok")

    def summary(self, key):
        recipients, mail = CAUGHT[key]
        return {"ID": key, "Subject": mail["subject"], "From": mail["from"], "To": recipients}

    def html(self, key):
        body = CAUGHT[key][1].get_body(("html", "plain"))
        return body.get_content() if body else ""

    def events(self):
        """Tell of each mail by a WebSocket."""
        key = self.headers.get("Sec-WebSocket-Key", "")
        if (
            self.headers.get("Upgrade") != "websocket"
            or self.headers.get("Connection") != "upgrade"
        ):
            return self.answer(400, "not a WebSocket")
        accept = base64.b64encode(
            hashlib.sha1((key + MAGIC).encode(), usedforsecurity=False).digest()
        ).decode()
        last = max(CAUGHT, default="")
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while True:
            with NEWS:
                NEWS.wait_for(lambda: max(CAUGHT, default="") > last)  # noqa: B023 - called here
                last = max(CAUGHT)
            self.wfile.write(b"\x81\x03new")

    def json(self, what):
        self.answer(200, json.dumps(what), "application/json")

    def answer(self, status, text, kind="text/plain"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)


def main():
    if sys.argv[1:] == ["readyz"]:
        urllib.request.urlopen(f"http://127.0.0.1:8025{ROOT}readyz", timeout=5)
        return
    login = (lambda *_: AuthResult(success=True)) if ANY_LOGIN else None
    smtp = Controller(
        Catcher(),
        hostname="0.0.0.0",  # noqa: S104 - a container's own
        port=1025,
        authenticator=login,
        auth_require_tls=not PLAIN_LOGIN,
    )
    smtp.start()
    ThreadingHTTPServer(("", 8025), Pages).serve_forever()


main()
