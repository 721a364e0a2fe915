"""The small HTTP client against a raw server: bounded, verified, and silent about secrets."""

import logging
import subprocess
import sys

import pytest
import trio
import trio.testing
import trustme

from actors.errors import BACKOFF, QUARANTINE, Advice, ConnectorError, Reason, after
from actors.exchange import Http
from actors.transport import HttpClient, SystemNetwork
from actors.transport import http as http_module
from tests.hostile import Script, answering, descriptors, hostile, nothing_left, request, server_context, wall

CA = trustme.CA()
SERVER = server_context(CA, "localhost")


def said(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_token() -> None:
    """A POST over verified TLS, as KuCoin's token wants it; the request is plain and asks for no compression."""
    network = SystemNetwork(ca_pem=CA.cert_pem.bytes())
    seen: list[str] = []

    async def script(stream: trio.abc.Stream) -> None:
        got = await request(stream)
        while got.startswith(b"POST") and not got.endswith(b"}"):
            got += await stream.receive_some()
        seen.append(got.decode())
        await stream.send_all(said("200 OK", b'{"data": {"token": "abc"}}'))

    async with nothing_left(), hostile(script, tls=SERVER) as port, HttpClient(network, wall=wall) as client:
        http: Http = client
        assert await http.post_json(f"https://localhost:{port}/bullet-public", {"a": 1}) == {"data": {"token": "abc"}}
        assert await http.get_json(f"https://localhost:{port}/x?y=1") == {"data": {"token": "abc"}}
    posted, got = seen
    assert posted.startswith("POST /bullet-public HTTP/1.1\r\n")
    assert posted.endswith('{"a":1}')
    assert "Accept-Encoding: identity\r\n" in posted
    assert got.startswith("GET /x?y=1 HTTP/1.1\r\n")


FAILURES: list[tuple[Script, str, Advice]] = [
    (answering(said("429 No", b"", "Retry-After: 7")), "answered 429", after(7)),
    (answering(said("418 No")), "answered 418", after(60)),
    (answering(said("503 No", b"", "Retry-After: Fri, 15 Jan 2027 08:00:09 GMT")), "answered 503", after(9)),
    (answering(said("500 No")), "answered 500", BACKOFF),
    (answering(said("403 No")), "answered 403", QUARANTINE),
    (answering(said("302 No", b"", "Location: https://elsewhere/?s3cret")), "answered 302", QUARANTINE),
    (answering(said("200 OK", b"<html>")), "not JSON", BACKOFF),
    (answering(said("200 OK", b"[" * 100_000)), "not JSON", BACKOFF),
    (answering(said("200 OK", b"\xff\xfe{")), "not JSON", BACKOFF),
    (answering(said("200 OK", b" " * ((1 << 20) + 1))), "more than 1048576 bytes", BACKOFF),
    (answering(b"SSH-2.0\r\n\r\n"), "could not be reached", BACKOFF),
    (answering(b"", stay=False), "could not be reached", BACKOFF),
    (answering(b""), "did not answer in 0.3 s", BACKOFF),
    (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "did not answer in 0.3 s", BACKOFF),
]


@pytest.mark.parametrize(("script", "text", "advice"), FAILURES)
async def test_failures(
    script: Script, text: str, advice: Advice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong is one error with reason ``endpoint``; the query is in no text and no log record."""
    monkeypatch.setattr(http_module, "CALL_TIMEOUT", 0.3)
    caplog.set_level(logging.INFO)
    async with nothing_left(), hostile(script) as port, HttpClient(SystemNetwork(), wall=wall) as client:
        with pytest.raises(ConnectorError, match=text) as caught:
            await client.get_json(f"http://127.0.0.1:{port}/x?key=s3cret")
    error = caught.value
    assert (error.reason, error.advice) == (Reason.ENDPOINT, advice)
    assert f"127.0.0.1:{port}" in error.detail
    assert "s3cret" not in error.detail + str(error.__cause__) + caplog.text


async def test_untrusted() -> None:
    """A server without a trusted certificate is named as such, though the client library's error is empty."""
    async with (
        nothing_left(),
        hostile(answering(b""), tls=SERVER) as port,
        HttpClient(SystemNetwork(), wall=wall) as client,
    ):
        with pytest.raises(ConnectorError, match="unable to get local issuer certificate"):
            await client.get_json(f"https://localhost:{port}/")


async def test_cancelled_call() -> None:
    """A cancelled call leaves no connection behind, and the client can be used again."""
    scripts = iter([answering(b""), answering(said("200 OK", b"1"), stay=False)])

    async def script(stream: trio.abc.Stream) -> None:
        await next(scripts)(stream)

    async with nothing_left(), hostile(script) as port, HttpClient(SystemNetwork(), wall=wall) as client:
        with trio.move_on_after(0.1) as scope:
            await client.get_json(f"http://127.0.0.1:{port}/")
        assert scope.cancelled_caught
        assert await client.get_json(f"http://127.0.0.1:{port}/") == 1


async def test_refusal_keeps_no_connection() -> None:
    """An answer that is not read to its end does not keep its connection."""
    async with (
        nothing_left(),
        hostile(answering(said("500 No", b"x" * 1000), stay=False)) as port,
        HttpClient(SystemNetwork(), wall=wall) as client,
    ):
        before = descriptors()
        with pytest.raises(ConnectorError, match="answered 500"):
            await client.get_json(f"http://127.0.0.1:{port}/")
        await trio.testing.wait_all_tasks_blocked()
        assert descriptors() == before


@pytest.mark.parametrize(
    "url",
    [
        "http://api.kucoin.com/?s3cret",
        "ftp://localhost/?s3cret",
        "https:///?s3cret",
        "https://u:p@h/?s3cret",
        "https://localhost/시세?s3cret",
    ],
)
async def test_bad_url(url: str) -> None:
    """Only verified TLS, or this machine, is asked."""
    async with HttpClient(SystemNetwork(), wall=wall) as client:
        with pytest.raises(ValueError, match="looks like https://host/path") as caught:
            await client.get_json(url)
    assert "s3cret" not in str(caught.value)


async def test_not_open() -> None:
    """A client that is not open says how to open it."""
    with pytest.raises(RuntimeError, match="async with"):
        await HttpClient(SystemNetwork(), wall=wall).get_json("https://localhost/")


def test_lazy_import() -> None:
    """Importing the transport imports no HTTP client."""
    code = "import actors.transport, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert "actors.transport.http" in loaded
    assert not {"httpx2", "httpcore2"} & set(loaded)
