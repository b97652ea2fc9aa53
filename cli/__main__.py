"""The `darkroom` command."""

from __future__ import annotations

import typer

from cli import dead_letters, keys, predictions, webhooks
from cli.batch import batch
from cli.doctor import doctor
from cli.repair import repair
from cli.up import up
from cli.watch import watch
from cli.webhook_listen import webhook_listen

app = typer.Typer(
    name="darkroom", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.command()(up)
app.command()(batch)
app.command()(predictions.get)
app.command(name="list")(predictions.list_predictions)
app.command()(predictions.cancel)
app.command()(predictions.retry)
app.command()(predictions.delete)
app.command()(watch)
app.command()(doctor)
app.command()(repair)
app.add_typer(keys.app, name="keys")
app.add_typer(dead_letters.app, name="dead-letters")
app.command(name="webhook-listen")(webhook_listen)
app.add_typer(webhooks.app, name="webhooks")


@app.callback()
def darkroom() -> None:
    """Darkroom: image models behind a queue."""


def main() -> None:
    """The console script's entry."""
    app()


if __name__ == "__main__":
    main()
