"""A stack, and the world around it, in which every secret is a canary."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.abuse import breaking_model
from tests.abuse.canaries import Secret, outside
from tests.abuse.canary_journey import ABSENT, BREAKS, ECHO, Journey
from tests.abuse.secured import Secured
from tests.e2e.stack import SERVERS, Stack
from tests.pictures import plain_png


@contextmanager
def on(servers: Secured, folder: Path) -> Iterator[Journey]:
    """A journey on a stack that runs meanwhile. At the end its log and its letters are heard."""
    held = [Secret(f"the password of {name}", word) for name, word in servers.passwords.items()]
    held.append(Secret("the name of the store's key", servers.minio.access_key))
    environment = {name: f"canary{secrets.token_hex(12)}" for name in ("HF_TOKEN", "PGPASSWORD")}
    held += [Secret(name, value) for name, value in environment.items()]
    moved = Secret("where an image moved to", f"canary{secrets.token_hex(12)}")
    held.append(moved)

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        match path.partition("?")[0]:
            case "/wide.png":
                return 200, {}, plain_png(40)
            case "/tall.png":
                return 200, {}, plain_png(16, 40)
            case "/text.png":
                return 200, {}, b"no picture"
            case "/moved.png" | "/moves":
                return 302, {"Location": f"/gone.png?token={moved.value}"}, b""
            case "/takes":
                return 204, {}, b""
            case "/refuses":
                return 500, {}, b"not now"
        return 404, {}, b""

    names = folder / "model_names.txt"
    names.write_text(
        f"{ECHO} task=echo\n"
        f"{BREAKS} task=custom path={breaking_model.__file__} makes=text\n"
        f"{ABSENT} task=image_to_text\n"
    )
    with outside(answer) as world:
        settings = {
            **servers.settings,
            **environment,
            "DARKROOM_MODEL_NAMES": str(names),
            "DARKROOM_AUTH": "on",
            "DARKROOM_URL_ALLOWLIST": "127.0.0.1",
            "DARKROOM_LOG_LEVEL": "debug",
            "DARKROOM_GRACE_SECONDS": "5",
            "HF_ENDPOINT": world.url,
            "HF_HOME": str(folder / "hub"),
        }
        stack = Stack(folder, SERVERS, settings)
        journey = Journey(stack, servers, world, held)
        stack.start()
        try:
            yield journey
        finally:
            stack.kill()
        journey.heard.hear("log", stack.output.read_text())
        for line, headers, body in world.requests:
            if line.startswith("POST"):
                journey.heard.hear(f"letter {line.split(' ')[1].partition('?')[0]}", headers + body)
