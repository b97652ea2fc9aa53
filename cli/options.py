"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_MODEL = "darkroom/shapes"
DEFAULT_URL = "http://127.0.0.1:8000"

ModelOption = Annotated[
    str, typer.Option("--model", "-m", metavar="OWNER/NAME", help="A model of the server.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="DARKROOM_API_KEY",
        show_envvar=True,
        help="Your API key, where the server asks for one.",
    ),
]
UrlOption = Annotated[
    str, typer.Option("--url", envvar="DARKROOM_URL", help="Where the server is.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]
