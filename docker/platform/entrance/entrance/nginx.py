"""Writes nginx' configuration. No I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from entrance.rules import Rules, Site

PORT, HEALTH_PORT, WAKER_PORT, USE_PORT = 8080, 8081, 8082, 8083
"""Of sites and of probes; on loopback, of the waker and of what it is told of visits."""

_HTTP = """\
worker_processes 2;
pid /tmp/nginx.pid;
error_log /dev/stderr crit;
worker_shutdown_timeout 30s;

events {
  worker_connections 4096;
}

http {
  server_tokens off;
  access_log off;
  keepalive_timeout 75s;
  server_names_hash_bucket_size 256;
  large_client_header_buffers 4 16k;
  client_body_temp_path /tmp/client_body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;

  # Services come and go; their addresses stay.
  resolver RESOLVERS valid=5sFAMILY;
  resolver_timeout 3s;

  log_format use escape=json '{"host":"$host","status":$status,"method":"$request_method",'
    '"target":"$request_uri","accept":"$http_accept","agent":"$http_user_agent",'
    '"purpose":"$http_sec_purpose $http_purpose"}';

  map $http_upgrade $connection_upgrade {
    default upgrade;
    ''      '';
  }
  # The load balancer says how a visitor came to it.
  map $http_x_forwarded_proto $told_scheme {
    default $http_x_forwarded_proto;
    ''      $scheme;
  }

  # A site's own nginx sets the limits of uploads and the deadlines; these only have to be wider.
  client_max_body_size 0;
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  proxy_buffer_size 32k;
  proxy_buffers 16 32k;
  proxy_busy_buffers_size 64k;
  proxy_connect_timeout 2s;
  proxy_send_timeout 620s;
  proxy_read_timeout 620s;
  send_timeout 620s;
  proxy_http_version 1.1;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Proto $told_scheme;
  proxy_set_header X-Real-IP "";
  proxy_set_header Forwarded "";

  server {
    listen PORT default_server;
    LISTEN_SIX[::]:PORT default_server;
    location / {
      default_type text/plain;
      return 404 "No environment has this name.\\n";
    }
  }

  server {
    listen HEALTH_PORT;
    LISTEN_SIX[::]:HEALTH_PORT;
    location = /healthz {
      default_type text/plain;
      return 200 "ok\\n";
    }
    location = /waker {
      proxy_set_header Host waker;
      proxy_pass http://127.0.0.1:WAKER_PORT/healthz;
    }
    location / {
      return 404;
    }
  }
SERVERS}
"""
_SERVER = """
  server {
    listen PORT;
    LISTEN_SIX[::]:PORT;
    server_name "~PATTERN";
    recursive_error_pages on;
    set $site "ADDRESS";

    location / {
      access_log syslog:server=127.0.0.1:USE_PORT,nohostname,tag=use use;
      # Only failures to reach the site come here; its own error pages pass through.
      error_page 502 504 = @waker;
      # The waker may say where a request goes on, a site not.
      proxy_ignore_headers X-Accel-Redirect;
      proxy_pass http://$site;
    }
    location @waker {
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_read_timeout 60s;
      error_page 502 504 = @late;
      proxy_pass http://127.0.0.1:WAKER_PORT;
    }
    # Where the waker sends a request that it has held (X-Accel-Redirect).
    location @site {
      error_page 502 504 = @late;
      proxy_ignore_headers X-Accel-Redirect;
      proxy_pass http://$site;
    }
    location @late {
      default_type text/plain;
      add_header Retry-After 5 always;
      add_header Cache-Control no-store always;
      return 503 "This environment does not answer yet.\\n";
    }
  }
"""
_PAGE = """
  server {
    listen PORT;
    LISTEN_SIX[::]:PORT;
    server_name "HOST";
    location / {
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_read_timeout 60s;
      error_page 502 504 = @late;
      proxy_pass http://127.0.0.1:WAKER_PORT;
    }
    location @late {
      default_type text/plain;
      add_header Retry-After 5 always;
      add_header Cache-Control no-store always;
      return 503 "The page of all environments does not answer yet.\\n";
    }
  }
"""


def configuration(rules: Rules, resolvers: list[str], *, ipv6: bool) -> str:
    """Return the configuration.

    Args:
        resolvers: addresses of the cluster's name servers.
        ipv6: whether the pod has IPv6.
    """
    servers = "".join(_server(site, rules.address) for site in rules.sites)
    named = " ".join(f"[{one}]" if ":" in one else one for one in resolvers)
    text = _ported(_HTTP).replace("SERVERS", servers).replace("RESOLVERS", named)
    text = text.replace("FAMILY", "" if ipv6 else " ipv6=off")
    return (
        re.sub(r" *LISTEN_SIX.*\n", "", text) if not ipv6 else text.replace("LISTEN_SIX", "listen ")
    )


def _server(site: Site, address: str) -> str:
    namespace = site.namespace.replace("{slug}", "${slug}")
    text = _ported(_SERVER).replace("PATTERN", site.pattern)
    text = text.replace("ADDRESS", address.replace("{namespace}", namespace))
    # A whole name is found before a pattern.
    return text + _ported(_PAGE).replace("HOST", site.page)


def _ported(text: str) -> str:
    ports = {
        "HEALTH_PORT": HEALTH_PORT,
        "WAKER_PORT": WAKER_PORT,
        "USE_PORT": USE_PORT,
        "PORT": PORT,
    }
    for name, port in ports.items():
        text = text.replace(name, str(port))
    return text


def resolvers_in(text: str) -> list[str]:
    """Return the name servers that a resolv.conf names.

    Raises:
        ValueError: it names none.
    """
    found = list(_resolvers(text))
    if not found:
        raise ValueError("resolv.conf names no name server")
    return found


def _resolvers(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if found := re.match(r"nameserver\s+(\S+)", line):
            yield str(ipaddress.ip_address(found[1]))
