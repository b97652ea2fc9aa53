"""An image at a URL, from a server on the user's own network, on both stacks."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.stack import Stack
from tests.e2e.test_journey import picture
from tests.in_threads import in_threads

CANARY = "c4n4ry-of-a-signature"


@pytest.fixture
def image() -> Iterator[tuple[str, str]]:
    """The URL of a picture, and the picture's caption."""
    content, caption = picture(70)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/there.png?") else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with in_threads(server) as url:
        yield url, caption


def run(stack: Stack, url: str) -> dict[str, object]:
    body = {"model": "darkroom/shapes", "input": {"image": url}}
    with stack.client() as client:
        reply = client.post("/v1/predictions", json=body)
    assert reply.status_code == 202, reply.text
    return stack.ended(reply.json()["id"])


def test_an_image_at_a_url_is_captioned(stack: Stack, image: tuple[str, str]) -> None:
    server, caption = image
    url = f"{server}/there.png?signature={CANARY}"
    ended = run(stack, url)

    assert ended["output"] == caption
    assert ended["input"] == {"image": url}
    assert CANARY not in stack.output.read_text()


def test_a_url_without_an_image_fails_with_its_code(stack: Stack, image: tuple[str, str]) -> None:
    ended = run(stack, f"{image[0]}/gone.png?signature={CANARY}")

    assert (ended["status"], ended["error_code"]) == ("failed", "image_url_failed")
    assert "404" in str(ended["error"])
    assert CANARY not in str(ended["error"])
    assert CANARY not in stack.output.read_text()
