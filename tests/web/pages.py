"""A small server of pages on this machine, for what gets them."""

from __future__ import annotations

import gzip
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

PAGES: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/hello": (200, {"Content-Type": "text/plain; charset=utf-8"}, "你好".encode()),
    "/latin": (200, {"Content-Type": "text/plain; charset=latin-1"}, "né".encode("latin-1")),
    "/wrong": (200, {"Content-Type": "text/plain"}, b"\xff\xfe"),
    "/data": (200, {"Content-Type": "application/geo+json"}, b"{}"),
    "/picture": (200, {"Content-Type": "image/png"}, b"\x89PNG"),
    "/long": (200, {"Content-Type": "text/plain"}, b"x" * 5000),
    "/bomb": (200, {"Content-Type": "text/plain", "Content-Encoding": "gzip"}, gzip.compress(b"x" * 50_000_000)),
    "/moved": (302, {"Location": "/hello"}, b""),
    "/round": (302, {"Location": "/round"}, b""),
    "/away": (301, {"Location": "http://169.254.169.254/latest/meta-data"}, b""),
    "/file": (301, {"Location": "file:///etc/passwd"}, b""),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        if self.path == "/slow":
            time.sleep(1.0)
        status, headers, body = PAGES.get(self.path.partition("?")[0], (404, {}, b"nothing"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # the other side may have read enough
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    asked: list[tuple[str, str]]

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    """certificate: a PEM file with key and certificate; without one, no TLS."""
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
