from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.catalogue import Catalogue, read_catalogue


@pytest.fixture
def catalogue(tmp_path: Path) -> Callable[..., Catalogue]:
    """The catalogue of these lines."""

    def read(*lines: str) -> Catalogue:
        file = tmp_path / "model_names.txt"
        file.write_text("\n".join(lines))
        return read_catalogue(file)

    return read
