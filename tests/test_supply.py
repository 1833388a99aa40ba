"""What we are made of: a bill that says so and is up to date, a base image by digest, and an honest audit."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from packaging.markers import Marker, default_environment

ROOT = Path(__file__).resolve().parent.parent
BILL: dict[str, Any] = json.loads((ROOT / "sbom.cdx.json").read_text(encoding="utf-8"))
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; ([^\\\n]+))?", re.MULTILINE)


def plain(name: str) -> str:
    """PyPA, "Names and normalization"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """What the lock installs where the image runs: on Linux, with its Python."""
    version = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    there = {**default_environment(), "python_version": version, "python_full_version": f"{version}.0"}
    there |= {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"}
    there |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    found = PIN.findall((ROOT / lock).read_text(encoding="utf-8"))
    return {plain(name): pinned for name, pinned, when in found if not when or Marker(when).evaluate(there)}  # type: ignore[arg-type]


# --- the bill ----------------------------------------------------------------------------------------------


def test_the_bill_is_what_the_lock_installs_and_nothing_else() -> None:
    """Out of date: run `make sbom`."""
    assert {plain(one["name"]): one["version"] for one in BILL["components"]} == pins("requirements.txt")


def test_it_has_what_cyclonedx_demands() -> None:
    """CycloneDX 1.6, JSON reference: the required fields; references are unique, and lead somewhere."""
    assert (BILL["bomFormat"], BILL["specVersion"]) == ("CycloneDX", "1.6")
    assert BILL["version"] >= 1
    root = BILL["metadata"]["component"]
    assert (root["type"], root["name"]) == ("application", "phonebridge")
    assert f'\nversion = "{root["version"]}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for one in BILL["components"]:
        assert one["type"] == "library"
        assert one["purl"] == f"pkg:pypi/{plain(one['name'])}@{one['version']}"
        for told in one["licenses"]:
            assert told.get("expression") or told["license"].get("id") or told["license"].get("name")
    references = [root["bom-ref"], *(one["bom-ref"] for one in BILL["components"])]
    assert len(references) == len(set(references))
    assert {one["ref"] for one in BILL["dependencies"]} <= set(references)
    assert {ref for one in BILL["dependencies"] for ref in one.get("dependsOn", ())} <= set(references)
    [ours] = [one for one in BILL["dependencies"] if one["ref"] == root["bom-ref"]]
    assert {plain(ref.partition("==")[0]) for ref in ours["dependsOn"]} >= {
        "starlette",
        "websockets",
        "twilio",
    }


def test_it_tells_nothing_of_the_machine_that_made_it() -> None:
    text = (ROOT / "sbom.cdx.json").read_text(encoding="utf-8")
    assert "file:" not in text
    assert '"timestamp"' not in text


# --- the base image ----------------------------------------------------------------------------------------

INDEX = json.dumps({"schemaVersion": 2, "manifests": [{"digest": "sha256:1"}]}).encode()


class Registry(BaseHTTPRequestHandler):
    """Docker's, as it is documented: a token first, then the manifest."""

    manifest = INDEX

    def do_GET(self) -> None:
        here, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
        if here.path == "/token":
            assert query == {"service": ["registry"], "scope": ["repository:library/python:pull"]}
            self._answer(200, json.dumps({"token": "let-me-in"}).encode())
        elif self.headers.get("Authorization") != "Bearer let-me-in":
            realm = f"http://{self.headers['Host']}/token"
            asked = f'Bearer realm="{realm}",service="registry",scope="repository:library/python:pull"'
            self._answer(401, b"", {"WWW-Authenticate": asked})
        else:
            assert here.path == "/v2/library/python/manifests/3.13-slim-bookworm"
            assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
            self._answer(200, self.manifest)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def registry(manifest: bytes = INDEX) -> Iterator[str]:
    kind = type("Here", (Registry,), {"manifest": manifest})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def renewed(url: str, dockerfile: Path) -> tuple[int, str]:
    command = [
        sys.executable,
        ROOT / "scripts" / "renew_base_image.py",
        "--registry",
        url,
        "--dockerfile",
        dockerfile,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"no_proxy": "*"})  # type: ignore[arg-type]
    return done.returncode, done.stdout + done.stderr


def test_a_base_image_is_renewed_from_the_registry(tmp_path: Path) -> None:
    before = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copy = tmp_path / "Dockerfile"
    copy.write_text(before)
    now = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
    with registry() as url:
        assert renewed(url, copy) == (0, f"python:3.13-slim-bookworm is {now}\n")
        bases = [line for line in copy.read_text().splitlines() if line.startswith("FROM ")]
        assert bases == [
            f"FROM python:3.13-slim-bookworm@{now} AS build",
            f"FROM python:3.13-slim-bookworm@{now}",
        ]
        assert renewed(url, copy) == (0, f"python:3.13-slim-bookworm is {now}, as before\n")


def test_one_that_cannot_be_looked_up_stays_as_it_is(tmp_path: Path) -> None:
    copy = tmp_path / "Dockerfile"
    copy.write_text("FROM python:3.13-slim-bookworm\n")
    code, said = renewed("http://127.0.0.1:9", copy)
    assert (code, len(said.splitlines())) == (1, 1)
    assert "could not be looked up" in said
    with registry(b'{"schemaVersion": 2, "layers": []}') as url:
        assert renewed(url, copy)[0] == 1
    assert copy.read_text() == "FROM python:3.13-slim-bookworm\n"


# --- the audit ---------------------------------------------------------------------------------------------


def audited(tmp_path: Path, program: str) -> tuple[int, list[str]]:
    """What the audit says when pip-audit does this."""
    auditor = tmp_path / "pip-audit"
    auditor.write_text(f"#!{sys.executable}\nimport sys\n{program}\n")
    auditor.chmod(0o755)
    command = [sys.executable, ROOT / "scripts" / "audit.py", auditor]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # type: ignore[arg-type]
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_an_audit_without_a_database_says_that_nothing_was_audited(tmp_path: Path) -> None:
    code, said = audited(tmp_path, "raise ConnectionError('no such host')")
    assert (code, len(said)) == (3, 1)
    assert "nothing was audited" in said[0]
    assert "no such host" in said[0]


def test_an_audit_tells_of_each_hole_and_of_what_it_could_not_look_at(tmp_path: Path) -> None:
    found = {"name": "a", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    clean = {"name": "b", "version": "2.0", "vulns": []}
    unknown = {"name": "c", "skip_reason": "not on PyPI"}
    answer = json.dumps({"dependencies": [found, clean, unknown], "fixes": []})
    assert audited(tmp_path, f"print({answer!r}); sys.exit(1)") == (
        1,
        [
            "a 1.0: PYSEC-1, mended in 1.1",
            "c: not audited: not on PyPI",
            "2 packages audited, something is known of 1",
        ],
    )
    answer = json.dumps({"dependencies": [clean], "fixes": []})
    assert audited(tmp_path, f"print({answer!r})") == (0, ["1 packages audited, something is known of 0"])


def test_every_lock_is_audited() -> None:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    audit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(audit)
    assert set(audit.LOCKS) == {path.name for path in ROOT.glob("requirements*.txt")}
