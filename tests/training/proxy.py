"""Something between a trainer and MLflow that dies in the middle of a conversation, and can come back."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy(ThreadingHTTPServer):
    """Hands every request on.

    Args:
        target: `http://host:port` of the real server.

    Attributes:
        dies_at: a part of a path: the first request to it is the last one that arrives.
        dead: nothing is answered any more.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.dies_at: str | None = None
        self.dead = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is no news."""


# What each of the two connections says for itself.
_OWN = {"host", "connection", "transfer-encoding", "content-length", "date", "server"}


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def _pass_on(self) -> None:
        proxy = self.server
        self.close_connection = True
        if proxy.dead:
            return
        last = proxy.dies_at is not None and proxy.dies_at in self.path
        body = self._body()
        connection = http.client.HTTPConnection(proxy.target.hostname or "", proxy.target.port or 80, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if last:  # it was done, and nobody hears of it
            proxy.dead = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OWN:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        """Empty files come in chunks: none, and the end."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """One that listens until it is left."""
    server = Proxy(target)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
