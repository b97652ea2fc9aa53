"""`darkroom k8s`: manifests for a cluster, from the same settings and the same catalogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import CommandFailed, UsageWrong
from cli.exit_codes import ExitCode
from cli.kubernetes.choices import SECONDS_PER_JOB, Choices, Needs
from cli.kubernetes.text import text_of
from cli.whole_file import write_whole
from common.catalogue import Catalogue, Task, read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid, UnknownModel
from common.settings import Settings, read_settings

QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGT]|[KMGT]i)?")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DEFAULT = Choices()
console = Console(stderr=True)

_Cpu = typer.Option(metavar="500m|2", help="CPU that each pod of it asks for.")
_Memory = typer.Option(metavar="512Mi|8Gi", help="Memory that each pod of it gets.")


def k8s(
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write files, not to stdout.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    namespace: Annotated[str, typer.Option(help="Of all objects.")] = DEFAULT.namespace,
    secret: Annotated[
        str, typer.Option(help="The name of the Secret with the URLs and keys, which you make.")
    ] = DEFAULT.secret,
    image_api: Annotated[str, typer.Option(help="Of the API's processes.")] = DEFAULT.api_image,
    image_consumer: Annotated[str, typer.Option(help="Of consumers.")] = DEFAULT.consumer_image,
    project: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the images hold Darkroom.")
    ] = DEFAULT.project,
    replicas_api: Annotated[int, typer.Option(min=1, help="Pods of the API.")] = DEFAULT.replicas,
    cpu_api: Annotated[str, _Cpu] = DEFAULT.api_needs.cpu,
    memory_api: Annotated[str, _Memory] = DEFAULT.api_needs.memory,
    cpu_consumer: Annotated[str, _Cpu] = DEFAULT.consumer_needs.cpu,
    memory_consumer: Annotated[str, _Memory] = DEFAULT.consumer_needs.memory,
    gpu: Annotated[
        str, typer.Option(help="The resource that a model with device=cuda asks for one of.")
    ] = DEFAULT.gpu,
    weights_claim: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A PersistentVolumeClaim that keeps downloaded models; none: each pod loads anew.",
        ),
    ] = "",
    seconds_per_job: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[OWNER/NAME=]SECONDS",
            help="How long a job takes in one consumer, of all models or of one; may be repeated. "
            f"{SECONDS_PER_JOB:g} where nothing is said.",
        ),
    ] = None,
    poll_seconds: Annotated[
        int, typer.Option(min=1, max=3600, help="Between two looks of KEDA at a queue.")
    ] = DEFAULT.poll_seconds,
) -> None:
    """Write Kubernetes manifests: the API, the recorder, and consumers that KEDA scales."""
    try:
        of_all, of_models = _seconds(seconds_per_job or [])
        choices = Choices(
            namespace=_checked("--namespace", namespace, NAME),
            secret=_checked("--secret", secret, NAME),
            api_image=image_api,
            consumer_image=image_consumer,
            project=_absolute(project),
            replicas=replicas_api,
            api_needs=Needs(
                _checked("--cpu-api", cpu_api, QUANTITY),
                _checked("--memory-api", memory_api, QUANTITY),
            ),
            consumer_needs=Needs(
                _checked("--cpu-consumer", cpu_consumer, QUANTITY),
                _checked("--memory-consumer", memory_consumer, QUANTITY),
            ),
            gpu=gpu,
            weights_claim=weights_claim and _checked("--weights-claim", weights_claim, NAME),
            poll_seconds=poll_seconds,
            seconds_per_job=of_all,
            seconds_per_job_of=of_models,
        )
        _write(choices, out, overwrite=overwrite)
    except (CommandFailed, SettingsInvalid, CatalogueInvalid, UnknownModel, OSError) as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False, highlight=False)
        raise typer.Exit(ExitCode.USAGE) from error


def _write(choices: Choices, out: Path | None, *, overwrite: bool) -> None:
    from cli.kubernetes.manifests import manifests

    settings = read_settings()
    catalogue = read_catalogue(settings.catalogue_file)
    files = {
        name: text_of(objects) for name, objects in manifests(settings, catalogue, choices).items()
    }
    if out is None:
        print("".join(files.values()), end="")
    else:
        _write_files(out, files, overwrite=overwrite)
    for notice in notices(settings, catalogue, choices):
        _say(notice)


def _write_files(out: Path, files: dict[str, str], *, overwrite: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    there = [name for name in files if (out / name).exists()]
    if there and not overwrite:
        raise UsageWrong(f"{out} holds {', '.join(there)} already: --overwrite replaces them")
    for name, text in files.items():
        write_whole(out / name, text.encode())
    _say(f"{len(files)} files in {out}")
    if gone := sorted({file.name for file in out.glob("consumer-*.yaml")} - files.keys()):
        _say(
            f"{out} also holds {', '.join(gone)}, of models that the catalogue no longer has: "
            "`kubectl delete -f` each, then remove it"
        )


def notices(settings: Settings, catalogue: Catalogue, choices: Choices) -> list[str]:
    """What works, but perhaps not as meant."""
    from cli.kubernetes.models import device_of
    from cli.kubernetes.pods import API_SERVICE
    from cli.kubernetes.servers import servers_of

    found = [
        f"The Secret {choices.secret} has to hold: {', '.join(servers_of(settings).secret_keys)}"
    ]
    guessing = [
        model.name
        for model in catalogue
        if model.task is not Task.ECHO and device_of(model, settings) == "auto"
    ]
    if guessing:
        found.append(
            f"No GPU is asked for by {', '.join(guessing)}: device=cuda on a model's line asks "
            "for one, device=cpu ends this remark"
        )
    if untold := [model.name for model in catalogue if model.task is None]:
        found.append(
            f"The API will not know what {', '.join(untold)} make: they are not on this machine, "
            "so say task= on their lines"
        )
    if not settings.public_url:
        found.append(
            "DARKROOM_PUBLIC_URL is not set, so links in webhooks begin with "
            f"http://{API_SERVICE}.{choices.namespace}.svc, where only pods get to"
        )
    return found


def _seconds(given: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Of all models, and of those that are named."""
    of_all, of_models = SECONDS_PER_JOB, {}
    for word in given:
        model, _, text = word.rpartition("=")
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0.001 <= seconds <= 1e6:
            raise UsageWrong(
                f"--seconds-per-job {word}: use SECONDS or OWNER/NAME=SECONDS, such as 0.5 or "
                "darkroom/shapes=0.5"
            )
        if model:
            of_models[model] = seconds
        else:
            of_all = seconds
    return of_all, of_models


def _checked(option: str, value: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(value):
        return value
    form = "a quantity such as 500m, 2 or 8Gi" if pattern is QUANTITY else "a name of a-z, 0-9, -"
    raise UsageWrong(f"{option} {value}: it should be {form}")


def _absolute(project: str) -> str:
    if not project.startswith("/"):
        raise UsageWrong(f"--project {project}: the whole path, such as {DEFAULT.project}")
    return project


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
