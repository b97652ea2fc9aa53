"""The catalogue, and the files of its models as far as they are on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cli.diagnosis.finding import Finding, fail, note, ok
from common.catalogue import Catalogue, ModelSpec, Task, read_catalogue
from common.errors import CatalogueInvalid, ModelUnavailable


def catalogue_of(file: Path) -> tuple[Catalogue | None, Finding]:
    """The catalogue, or None where it cannot be read."""
    try:
        catalogue = read_catalogue(file)
    except CatalogueInvalid as error:
        return None, fail("catalogue", str(error), "correct that line; docs/models.md has them all")
    except OSError as error:
        says = f"{file}: {error.strerror}"
        return None, fail("catalogue", says, "set DARKROOM_MODEL_NAMES to the file")
    return catalogue, ok("catalogue", f"{len(list(catalogue))} models in {file}")


def model_files(catalogue: Catalogue) -> Iterator[Finding]:
    """Whether each model's files are here, and whole. Blocks: it reads their headers."""
    for model in catalogue:
        if model.task is not Task.ECHO:
            yield _files_of(model)


def _files_of(model: ModelSpec) -> Finding:
    part = f"model {model.name}"
    if model.path is not None and model.path.suffix == ".py":
        if model.path.is_file():
            return ok(part, str(model.path))
        return fail(part, f"{model.path} is not there", "correct path= on its line")
    try:
        from consumers.engines.weights import broken_weights, folder_here
    except ImportError as error:
        return note(part, f"not looked at: {error}", "install what consumers need, to run it here")
    try:
        folder = folder_here(model)
    except ModelUnavailable as error:
        return fail(part, str(error), "correct path= on its line, or put the files there")
    if folder is None:
        return note(part, "not on this machine yet: its first consumer downloads it")
    if broken := broken_weights(folder):
        return fail(part, broken, "download or copy that file again")
    return ok(part, str(folder))
