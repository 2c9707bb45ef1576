"""Eq. 11 of the reference paper, `weighted_modality_recall`: a figure of single modalities, no measure of fusion."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.case import Case
from reports.chapters.weights import Weights
from reports.evidence import Model
from reports.findings.votes import single_heads
from reports.metrics import weighted_modality_recall

EVERY = "all emotions"


@dataclass(frozen=True, kw_only=True)
class ModalityRecall:
    """Eq. 11 of the reference paper on an emotion, or on EVERY: it never looks at a fused prediction.

    `value` weighs the `recalls` of `modalities` alone by the fitted `weights`; `fused` is the recall of the fusion
    `model` that has these weights. None where a class is absent.
    """

    model: str
    label: str
    modalities: tuple[str, ...]
    weights: tuple[float, ...]
    recalls: tuple[float, ...] | None
    value: float | None
    fused: float | None

    def row(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        recalls = self.recalls or (None,) * len(self.modalities)
        return {
            "model": self.model,
            "label": self.label,
            **{f"weight_{m}": weight for m, weight in zip(self.modalities, self.weights, strict=True)},
            **{f"recall_{m}": recall for m, recall in zip(self.modalities, recalls, strict=True)},
            "weighted_modality_recall": self.value,
            "recall_of_fusion": self.fused,
        }


def modality_recalls(case: Case) -> tuple[ModalityRecall, ...]:
    """Return Eq. 11 by emotion and over all, for the widest fusion that fits one weight a modality; () if none does.

    Weights are means over repeats, recalls those of counts summed over repeats.
    """
    singles = single_heads(case.evidence.models, "")
    fitted = _fitted(case)
    fusions = [m for m in case.evidence.models if m.name in fitted and set(m.modalities) <= set(singles)]
    if not fusions:
        return ()
    fusion = max(fusions, key=lambda m: (m.name == case.reference.name, len(m.modalities)))
    return tuple(_by_emotion(case, fusion, singles, fitted[fusion.name]))


def _fitted(case: Case) -> dict[str, dict[str, float]]:
    """Return the fitted weights by modality of every fusion that weighs all samples alike."""
    weights, found = case.value(Weights), dict[str, dict[str, float]]()
    fused = {m.name for m in case.evidence.models if m.fused and not m.variant}
    for own in weights.fitted if weights else ():
        if own.label is None and not own.given and own.model in fused:
            found.setdefault(own.model, {})[own.modality] = own.mean
    return found


def _by_emotion(
    case: Case, fusion: Model, singles: dict[str, str], fitted: dict[str, float]
) -> Iterable[ModalityRecall]:
    modalities, counts = tuple(sorted(fitted)), case.measures.confusions
    weights = tuple(fitted[m] for m in modalities)
    matrices = np.stack([*(counts[singles[m]] for m in modalities), counts[fusion.name]])
    hits, support = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(axis=2)  # (M + 1, K), the fusion last
    for k, label in enumerate((*case.evidence.classes, EVERY)):
        own = slice(None) if label == EVERY else slice(k, k + 1)
        tp, n = hits[:, own].sum(axis=1), support[:, own].sum(axis=1)
        recalls = (tp / n).tolist() if n.all() else None
        yield ModalityRecall(
            model=fusion.name,
            label=label,
            modalities=modalities,
            weights=weights,
            recalls=tuple(recalls[:-1]) if recalls else None,
            value=float(weighted_modality_recall(np.array(weights), tp[:-1], (n - tp)[:-1])) if recalls else None,
            fused=recalls[-1] if recalls else None,
        )
