"""The reference paper's scores as printed, for display only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from reports.case import Case
from reports.chapters._chapter import Chapter


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the paper prints: scores by model, and where they contradict each other."""

    title: str
    unit: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    tests: str
    contradictions: tuple[str, ...]


class Paper(Chapter[Published]):
    """Published figures; never a target."""

    title = "The reference paper"

    def compute(self, case: Case) -> Published:
        printed: Any = json.loads(files("reports.chapters").joinpath("paper.json").read_text(encoding="utf-8"))
        printed = {name: tuple(it) if isinstance(it, list) else it for name, it in printed.items()}
        return Published(**printed)
