"""The guarded GET: what it gets, and everything it refuses."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.pages import Server, serving
from vllm_flow import web
from vllm_flow.core.errors import ConfigError, WebError
from vllm_flow.core.pages import Page, Web
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.spec import RunSpec
from vllm_flow.web import Http, is_public


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def get(url: str, options: Http) -> Page:
    return asyncio.run(options.open().get(url))


def here(server: Server, **changes: object) -> Http:
    given: dict[str, object] = {"hosts": (f"http://localhost:{server.port}",), "private": True, **changes}
    return Http(**given)  # type: ignore[arg-type]


def test_a_page_comes_as_the_text_it_is(server: Server) -> None:
    base, options = f"http://localhost:{server.port}", here(server)
    assert isinstance(options.open(), Web)
    assert get(f"{base}/hello", options) == Page(f"{base}/hello", "text/plain", "你好")
    assert get(f"{base}/latin", options).text == "né"
    assert get(f"{base}/data", options).media_type == "application/geo+json"
    assert get(f"{base}/hello?q=东京 a#top", options).text == "你好"
    assert server.asked[-1] == ("/hello?q=%E4%B8%9C%E4%BA%AC%20a", f"localhost:{server.port}")


def test_a_redirect_is_followed_through_the_same_gate(server: Server) -> None:
    base, options = f"http://localhost:{server.port}", here(server)
    assert get(f"{base}/moved", options).url == f"{base}/hello"
    with pytest.raises(WebError) as told:
        get(f"{base}/away", options)
    assert str(told.value) == (
        "http://169.254.169.254/latest/meta-data: http://169.254.169.254 is not allowed."
        f" Add it to resources.web.hosts, which has: http://localhost:{server.port}."
    )
    with pytest.raises(WebError, match=r"^file:///etc/passwd: it is no address of the web\. Write one such as "):
        get(f"{base}/file", options)
    with pytest.raises(WebError) as told:
        get(f"{base}/round", options)
    assert str(told.value) == (
        f"{base}/round: it redirects more than 3 times. Give the address it leads to: {base}/round."
    )
    assert [path for path, _ in server.asked].count("/round") == 4


def test_a_listed_name_that_is_this_machine_is_refused_before_anything_is_sent(server: Server) -> None:
    url = f"http://localhost:{server.port}/hello"
    with pytest.raises(WebError, match=r"localhost is (127\.0\.0\.1|::1), on this machine or in the local network\. "):
        get(url, here(server, private=False))
    odd = f"http://2130706433:{server.port}/hello"  # 127.0.0.1 as one number, which resolvers understand
    with pytest.raises(WebError, match=r"2130706433 is 127\.0\.0\.1, on this machine"):
        get(odd, Http((f"http://2130706433:{server.port}",)))
    assert server.asked == []


def test_one_address_in_the_local_network_among_those_of_a_name_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("8.8.8.8", "10.0.0.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(WebError, match=r"^https://example\.org/: example\.org is 10\.0\.0\.7, on this machine or in "):
        get("https://example.org/", Http(("example.org",)))


def test_no_proxy_of_the_environment_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get(f"http://localhost:{server.port}/hello", here(server)).text == "你好"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://other.org/x", "https://other.org is not allowed. Add it to resources.web.hosts, which has: "),
        ("http://example.org/x", "http://example.org is not allowed."),
        ("http://example.org:443/", "http://example.org:443 is not allowed."),
        ("https://example.org:444/", "https://example.org:444 is not allowed."),
        ("https://example.org.evil.com/", "https://example.org.evil.com is not allowed."),
        ("https://evil.com/example.org", "https://evil.com is not allowed."),
        ("https://sub.org/", "https://sub.org is not allowed."),
        ("https://notsub.org/", "https://notsub.org is not allowed."),
        ("https://example.org@evil.com/", "it holds a user's name. Write one such as https://example.org/page."),
        ("ftp://example.org/", "it is no address of the web. Write one such as https://example.org/page."),
        ("https://example..org/", "its host is no name. Write one such as https://example.org/page."),
    ],
)
def test_nothing_but_a_listed_origin_may_be_asked(url: str, problem: str) -> None:
    assert Http(("example.org", "*.sub.org")).refusal(url).startswith(problem)


def test_names_are_compared_as_the_web_compares_them() -> None:
    options = Http(("Example.ORG", "*.sub.org", "bücher.de", "http://[::1]:80"))
    for url in ("https://EXAMPLE.org/x", "https://example.org./", "https://example.org:443/", "https://a.b.sub.org/",
                "https://xn--bcher-kva.de/", "http://[::1]/"):  # fmt: skip
        assert options.refusal(url) == "", url


def test_addresses_of_this_machine_and_of_local_networks_are_not_public() -> None:
    closed = """127.0.0.1 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1 255.255.255.255
        ::1 :: fe80::1%eth0 fd00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8%1 2002:7f00:1:: 64:ff9b::7f00:1"""
    assert [one for one in closed.split() if is_public(one)] == ["::ffff:8.8.8.8%1"]
    assert all(map(is_public, ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::")))


@pytest.mark.parametrize(
    ("path", "changes", "problem"),
    [
        ("/none", {}, "the server answered 404 Not Found. Look there."),
        ("/picture", {}, "it is image/png, and only texts are read. Give the address of a text."),
        ("/wrong", {}, "its text is not utf-8, as it says. Give another address."),
        ("/long", {"max_bytes": 4999}, "it is longer than 4999 bytes. Raise resources.web.max_bytes."),
        ("/bomb", {}, "it is longer than 1000000 bytes. Raise resources.web.max_bytes."),
        ("/slow", {"timeout_s": 0.2}, "no whole page came within 0.2 s. Raise resources.web.timeout_s."),
    ],
)
def test_what_is_no_page_is_said(server: Server, path: str, changes: dict[str, object], problem: str) -> None:
    url = f"http://localhost:{server.port}{path}"
    with pytest.raises(WebError, match=f"^{re.escape(f'{url}: {problem}')}$"):
        get(url, here(server, **changes))


def test_a_server_that_is_not_there_is_said() -> None:
    with serving() as server:
        url = f"http://localhost:{server.port}/hello"
        options = here(server)
    with pytest.raises(
        WebError, match=rf"^{re.escape(url)}: no page could be had: ConnectError: .*\. Look at the address"
    ):
        get(url, options)
    with pytest.raises(
        WebError, match=r"^https://no\.invalid/: no\.invalid has no address \(.*\)\. Look at the name\.$"
    ):
        get("https://no.invalid/", Http(("no.invalid",)))


def test_tls_is_asked_for_the_name_and_not_for_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate, both = (tmp_path / name for name in ("key.pem", "cert.pem", "both.pem"))
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    web._trusted.cache_clear()
    try:
        with serving(both) as server:
            options = Http((f"localhost:{server.port}", f"127.0.0.1:{server.port}"), private=True)
            assert get(f"https://localhost:{server.port}/hello", options).text == "你好"
            with pytest.raises(WebError, match="certificate"):  # which is not made out to this name
                get(f"https://127.0.0.1:{server.port}/hello", options)
    finally:
        web._trusted.cache_clear()


def test_what_is_no_host_is_refused_before_anything_runs() -> None:
    hosts = ["example.org", "*", "a.*.org", "https://example.org/path", "me@example.org", "ftp://example.org"]
    resources = {"web": {"use": "web/http", "hosts": hosts}}
    spec = RunSpec("web", {"reply": {"use": "infer/generate"}}, "reply", resources=resources)
    with pytest.raises(ConfigError) as told:
        Pipeline.build(spec)
    right = "Write example.org, *.example.org or http://localhost:8080."
    found = [line for line in str(told.value).splitlines() if line.startswith("resources.web")]
    assert found == [f"resources.web.hosts.{n}: {hosts[n]!r} is no host. {right}" for n in range(1, 6)]
