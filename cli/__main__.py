"""The `darkroom` command."""

from __future__ import annotations

import typer

from cli import dead_letters, keys, predictions, scaler, webhooks
from cli.batch import batch
from cli.doctor import doctor
from cli.k8s import k8s
from cli.migrate import migrate
from cli.monitor import monitor
from cli.repair import repair
from cli.simulate import simulate
from cli.submit import submit
from cli.up import up
from cli.watch import watch
from cli.webhook_listen import webhook_listen
from common.processes import hide_secrets

app = typer.Typer(
    name="darkroom", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

_RUN, _LOOK = "Run", "Predictions"
_WEBHOOKS, _KEEP = "Webhooks", "Keep it running"
app.command(rich_help_panel=_RUN)(up)
app.command(rich_help_panel=_RUN)(submit)
app.command(rich_help_panel=_RUN)(batch)
app.command(rich_help_panel=_LOOK)(watch)
app.command(rich_help_panel=_LOOK)(predictions.get)
app.command(name="list", rich_help_panel=_LOOK)(predictions.list_predictions)
app.command(rich_help_panel=_LOOK)(predictions.cancel)
app.command(rich_help_panel=_LOOK)(predictions.retry)
app.command(rich_help_panel=_LOOK)(predictions.delete)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=_LOOK)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=_WEBHOOKS)
app.command(name="webhook-listen", rich_help_panel=_WEBHOOKS)(webhook_listen)
app.add_typer(keys.app, name="keys", rich_help_panel=_KEEP)
app.command(rich_help_panel=_KEEP)(monitor)
app.command(rich_help_panel=_KEEP)(doctor)
app.command(rich_help_panel=_KEEP)(repair)
app.command(rich_help_panel=_KEEP)(migrate)
app.add_typer(scaler.app, name="scaler", rich_help_panel=_KEEP)
app.command(rich_help_panel=_KEEP)(simulate)
app.command(rich_help_panel=_KEEP)(k8s)


@app.callback()
def darkroom() -> None:
    """Darkroom: image models behind a queue."""


def main() -> None:
    """The console script's entry."""
    hide_secrets()
    app()


if __name__ == "__main__":
    main()
