"""Images without layers, which a registry can still tag, find and remove."""

from __future__ import annotations

import hashlib
import json

import requests

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


LONG_AGO = "2020-01-01T00:00:00Z"


def push(repository: str, tag: str, *, created: str = LONG_AGO) -> str:
    """Push an image that differs from those of other tags; return its digest.

    Args:
        repository: its registry, served over plain HTTP, and its name.
        tag: its tag.
        created: when it says that it was made.
    """
    host, _, path = repository.partition("/")
    base = f"http://{host}/v2/{path}"
    known = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"tag": tag}}}
    config = json.dumps({**known, "created": created}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    begun = requests.post(f"{base}/blobs/uploads/", timeout=60)
    begun.raise_for_status()
    separator = "&" if "?" in begun.headers["Location"] else "?"
    url = f"{begun.headers['Location']}{separator}digest={digest}"
    requests.put(url, data=config, timeout=60).raise_for_status()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest, "size": len(config)},
        "layers": [],
    }
    put = requests.put(
        f"{base}/manifests/{tag}",
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST},
        timeout=60,
    )
    put.raise_for_status()
    return str(put.headers["Docker-Content-Digest"])


def tags_of(repository: str) -> set[str]:
    """Return the tags of an image; arguments as for ``push``."""
    host, _, path = repository.partition("/")
    answer = requests.get(f"http://{host}/v2/{path}/tags/list", timeout=60)
    return set(answer.json().get("tags") or ()) if answer.ok else set()
