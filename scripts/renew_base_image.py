"""Pin the base image of deploy/Dockerfile to what its tag names today.

`python scripts/renew_base_image.py` asks the registry for the tag's manifest (the list of all platforms),
checks the digest against its bytes and writes it into every FROM. Where no registry can be asked it says so,
exits 1, and the Dockerfile stays as it is.

OCI distribution specification, "Pulling manifests"; Docker, "Token authentication specification".
"""

import argparse
import hashlib
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DOCKERFILE = Path(__file__).resolve().parent.parent / "deploy" / "Dockerfile"
REGISTRY = "https://registry-1.docker.io"
REPOSITORY = "library/python"
BASE = re.compile(r"^(FROM python:(?P<tag>[\w.-]+))(?:@sha256:[0-9a-f]{64})?", re.MULTILINE)
LISTS = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"


def get(url: str, headers: dict[str, str]) -> bytes:
    """The body of the answer. Raises OSError for any other than 200."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  https, or a registry that was named
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  as above
        return bytes(answer.read())


def token(challenge: str) -> str:
    """The bearer token that a registry's 401 asks for."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urllib.parse.urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
    answer = json.loads(get(f"{asked['realm']}?{query}", {}))
    return str(answer.get("token") or answer["access_token"])


def digest(tag: str, registry: str = REGISTRY) -> str:
    """The digest of the tag's manifest. Raises OSError, KeyError or ValueError where it cannot be known."""
    url, headers = f"{registry}/v2/{REPOSITORY}/manifests/{tag}", {"Accept": LISTS}
    try:
        manifest = get(url, headers)
    except urllib.error.HTTPError as refused:
        if refused.code != 401:
            raise
        bearer = token(refused.headers.get("WWW-Authenticate", ""))
        manifest = get(url, {**headers, "Authorization": f"Bearer {bearer}"})
    if "manifests" not in json.loads(manifest):
        raise ValueError("the tag names one platform's image, not the list of all")
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def pinned(text: str, to: str) -> str:
    """The Dockerfile with every base image at that digest."""
    return BASE.sub(rf"\1@{to}", text)


def main() -> int:
    """Look up, write, say what changed."""
    arguments = argparse.ArgumentParser(description="Pin the base image to what its tag names today.")
    arguments.add_argument("--registry", default=REGISTRY)
    arguments.add_argument("--dockerfile", type=Path, default=DOCKERFILE)
    given = arguments.parse_args()
    before = given.dockerfile.read_text(encoding="utf-8")
    tags = {found["tag"] for found in BASE.finditer(before)}
    if len(tags) != 1:
        print(f"{given.dockerfile} has not one base image but {len(tags)}: {', '.join(sorted(tags))}")
        return 1
    [tag] = tags
    try:
        now = digest(tag, given.registry)
    except (OSError, KeyError, ValueError) as error:
        print(f"python:{tag} could not be looked up, and stays as it is: {error}")
        return 1
    after = pinned(before, now)
    given.dockerfile.write_text(after, encoding="utf-8")
    print(f"python:{tag} is {now}" + (", as before" if after == before else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
