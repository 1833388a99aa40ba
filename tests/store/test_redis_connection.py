"""How the client is set, for each form of URL; and that the ways by TLS and by sentinels lead to a server."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from bridge.errors import ConfigError
from bridge.server.store.claims import Process, Status, StoreError
from bridge.server.store.redis_claims import RedisClaims
from bridge.server.store.redis_connection import connect, kind_of
from tests.store.redis_server import BINARY, RedisServer, free_port, needed

A = Process("a", "a1")


def options(url: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = connect(url, **more).connection_pool.connection_kwargs
    return found


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@store.example.com:6380/2",
        "rediss://:secret@store.example.com:6380/2",
        "unix:///run/redis.sock?db=2&password=secret",
        "redis+sentinel://:secret@one.example.com,two.example.com:26380/mymaster?db=2",
    ],
)
def test_a_command_is_tried_once_and_a_slow_store_is_an_absent_one(url: str) -> None:
    found = options(url)
    assert (found["socket_timeout"], found["socket_connect_timeout"]) == (0.25, 0.25)
    assert found["retry"].get_retries() == 0
    assert found["protocol"] == 2
    assert found["health_check_interval"] == 0
    assert found["decode_responses"] is False
    assert found["password"] == "secret"
    assert int(found["db"]) == 2


def test_the_pool_is_bounded() -> None:
    pool: Any = connect("redis://127.0.0.1/0").connection_pool
    assert (pool.max_connections, pool.timeout) == (16, 0.1)


async def _first_word() -> bytes:
    """What a new connection says before it has got any answer."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read(4_096))
        writer.write(b"+PONG\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        assert await client.ping()
        await client.aclose()
    return await heard


def test_a_new_connection_asks_nothing_before_the_command() -> None:
    """With 100 ms there and back it was too late for what a caller waits for."""
    assert asyncio.run(_first_word()) == b"*1\r\n$4\r\nPING\r\n"


def test_sentinels_are_asked_for_the_master() -> None:
    pool: Any = connect("redis+sentinel://one.example.com,two.example.com:26380/mymaster").connection_pool
    assert pool.service_name == "mymaster"
    asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"]) for one in asked] == [
        ("one.example.com", 26379),
        ("two.example.com", 26380),
    ]
    assert all(one["socket_timeout"] == 0.25 for one in asked)


def test_certificates_of_ones_own(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    assert options("rediss://store.example.com", ca=ca)["ssl_ca_certs"] == str(ca)
    assert options("rediss://store.example.com?ssl_cert_reqs=none", ca=ca)["ssl_cert_reqs"] == "none"
    assert "ssl_ca_certs" not in options("redis://store.example.com", ca=ca)


def test_a_blocking_read_has_a_socket_that_waits_longer() -> None:
    assert options("redis://127.0.0.1", socket_s=7.0)["socket_timeout"] == 7.0


def test_what_the_client_refuses_is_a_mistake_of_settings_without_the_password() -> None:
    with pytest.raises(ConfigError, match="BRIDGE_STORE") as told:
        options("redis://:hunter2@127.0.0.1:notaport/0")
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.TimeoutError("Timeout reading"), "timeout"),
        (exceptions.ConnectionError("Connection refused"), "connection"),
        (ConnectionResetError(), "connection"),
        (exceptions.AuthenticationError("invalid username-password pair"), "auth"),
        (exceptions.NoPermissionError("this user has no permissions"), "auth"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "readonly"),
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "oom"),
        (exceptions.ResponseError("Error running script: @user_script: 12: -OOM command not allowed"), "oom"),
        (exceptions.ResponseError("@user_script: 3: -READONLY You can't write"), "readonly"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), "busy"),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "busy"),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), "other"),
    ],
)
def test_each_error_of_the_client_has_a_kind(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Signed by itself, for 127.0.0.1; and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "store.pem", tmp_path / "store.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


async def patiently(step: Callable[[], Awaitable[object]]) -> None:
    """On a machine that others use too a handshake may take longer than a quarter of a second."""
    for _ in range(20):
        try:
            await step()
        except StoreError as error:
            if error.kind != "timeout":
                raise
        else:
            return
    pytest.fail("the store is silent")


@pytest.mark.redis
async def test_a_certificate_of_ones_own_is_checked(certificate: tuple[Path, Path]) -> None:
    needed()
    if BINARY is None:
        pytest.skip("a server of the test's own is needed, and no redis-server is here")
    port, (pem, key) = free_port(), certificate
    tls = ["--tls-port", str(port), "--tls-cert-file", str(pem), "--tls-key-file", str(key)]
    try:
        server = RedisServer(*tls, "--tls-auth-clients", "no", "--tls-ca-cert-file", str(pem)).start()
    except AssertionError:
        pytest.skip("this redis-server was built without TLS")
    try:
        url = f"rediss://127.0.0.1:{port}/0"
        for way, ca, fits in (
            (url, pem, True),
            (url, None, False),
            (f"{url}?ssl_cert_reqs=none", None, True),
        ):
            claims = RedisClaims(connect(way, ca, 5.0))
            if fits:
                await patiently(claims.ping)
                await patiently(partial(claims.beat, A, Status()))
            else:
                with pytest.raises(StoreError) as told:
                    await patiently(claims.ping)
                assert told.value.kind == "connection"
            await claims.close()
    finally:
        server.remove()


@pytest.fixture
def sentinel() -> Iterator[tuple[RedisServer, int]]:
    """A server, and the port of a sentinel that watches it."""
    needed()
    if BINARY is None:
        pytest.skip("a server of the test's own is needed, and no redis-server is here")
    server, port = RedisServer(port=free_port()).start(), free_port()
    config = server.folder / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {server.port} 1\n")
    process = subprocess.Popen(
        [BINARY, str(config), "--sentinel", "--dir", str(server.folder)], stdout=subprocess.DEVNULL
    )
    yield server, port
    process.kill()
    process.wait()
    server.remove()


@pytest.mark.redis
async def test_a_sentinel_leads_to_the_master(sentinel: tuple[RedisServer, int]) -> None:
    server, port = sentinel
    claims = RedisClaims(connect(f"redis+sentinel://127.0.0.1:{port}/mymaster", socket_s=5.0))
    async with asyncio.timeout(20):
        while True:
            try:
                await claims.beat(A, Status(calls=3))
                break
            except StoreError:
                await asyncio.sleep(0.1)
    await claims.close()
    direct = RedisClaims(connect(server.url, socket_s=5.0))
    assert [one.status.calls for one in await direct.machines()] == [3]
    await direct.close()
