"""What the engines share that load their model with Hugging Face's libraries."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from common.catalogue import ModelSpec
from common.errors import BadInput, ModelUnavailable
from consumers.engines.devices import is_out_of_memory


@contextmanager
def load_explained(model: ModelSpec, kind: str) -> Iterator[None]:
    """Whatever a library raises while it loads becomes ModelUnavailable, with the fix."""
    try:
        yield
    except ModelUnavailable:
        raise
    except BadInput as wrong:
        raise ModelUnavailable(f"The line of {model.name} in model_names.txt: {wrong}") from wrong
    except Exception as error:  # any file of a stranger's model may be wrong in any way
        raise ModelUnavailable(_explanation(model, kind, error)) from error


def refuse_missing(model: ModelSpec, missing: Collection[str]) -> None:
    """Raises ModelUnavailable where weights are missing: the library filled them with noise."""
    if missing:
        raise ModelUnavailable(
            f"The weights of {model.name} lack {min(missing)} and {len(missing) - 1} others that "
            "its config.json asks for: choose another revision=, or download it again."
        )


def _explanation(model: ModelSpec, kind: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if is_out_of_memory(error):
        return (
            f"{model.name} does not fit into memory ({reason}): free some, choose a smaller "
            "model, or give device= or dtype=."
        )
    if "trust_remote_code" in str(error):
        return (
            f"{model.name} needs code from its own repository, which is never run: choose a "
            "model that transformers or diffusers know themselves."
        )
    if isinstance(error, ImportError):
        return f"{model.name} needs a library that is not installed ({reason}): install it."
    return f"{model.name} does not load as {kind} ({reason}): choose another model or task=."
