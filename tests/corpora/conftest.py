import csv
from pathlib import Path

import pytest

from stores.root import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def write_csv(tmp_path: Path):
    """Write lines of cells as a CSV below tmp_path and return its name."""

    def write(*lines: tuple[str, ...], name: str = "samples.csv") -> str:
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)
        return name

    return write
