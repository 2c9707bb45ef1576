"""What the report knows of heads by their names; everything else it reads from what is stored."""

from collections.abc import Mapping

UNIMODAL, WEIGHTED, EARLY, LATE = "unimodal", "weighted", "concat", "vote"
OF_THE_PAPER = (WEIGHTED, EARLY, LATE)
WEIGHING = ("fixed", WEIGHTED, "class_weighted", "gated", "attention", "confidence")
GIVEN = ("fixed",)  # their weights are settings
BY_EMOTION = ("gated", "class_weighted", "confidence")  # their weights speak for H3: those of the first that was run
PLANTED_IN = (WEIGHTED, EARLY)  # planted effects are looked for in them
UNPROJECTED = {UNIMODAL, EARLY, "joint_relu", LATE, "average", "confidence"}
FUSES: Mapping[str, str] = {
    "unimodal": "one modality alone",
    "concat": "early: features side by side, one hidden layer",
    "joint_relu": "early: one linear layer over all features, ReLU (Eq. 2 of the paper)",
    "vote": "late: majority of the single modalities, ties to the most confident voter",
    "average": "late: mean of the posteriors of the single modalities",
    "confidence": "late: posteriors weighted by confidence and agreement, nothing is trained",
    "fixed": "weighted sum of projections, weights given",
    "weighted": "weighted sum of projections, one learned weight a modality (Eq. 3 of the paper)",
    "class_weighted": "weighted sum, one learned weight a modality and emotion",
    "gated": "weighted sum, weights chosen by each sample",
    "attention": "modalities attend to each other",
    "tensor": "outer product of the modalities (TFN)",
    "low_rank": "outer product in low rank (LMF)",
    "misa": "shared and private parts of each modality (MISA)",
    "mag": "text, moved by the other modalities (MAG)",
}
