"""The usual way: one run at a time, a DataLoader of dicts, one plain module. Nothing in it is slower than need be."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fusion.splits import Split
from fusion.training_config import TrainingConfig
from stores.block import FeatureBlock


class PlainWeighted(nn.Module):
    """Eq. 3 as one writes it for one model: projections, LayerNorm, softmax weights, dropout, linear."""

    def __init__(self, widths: dict[str, int], hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(width, hidden) for m, width in widths.items()})
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.logits = nn.Parameter(0.01 * torch.randn(len(widths)))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden, classes)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        weights = self.logits.softmax(dim=0)
        fused = sum(w * self.norm(p(x[m])) for w, (m, p) in zip(weights, self.project.items(), strict=True))
        logits: Tensor = self.classify(self.dropout(fused))
        return logits


class _Rows(Dataset[dict[str, Tensor]]):
    def __init__(self, x: dict[str, Tensor], y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {**{m: own[i] for m, own in self.x.items()}, "label": self.y[i]}


Loaders = dict[str, DataLoader[dict[str, Tensor]]]


def load(block: FeatureBlock, split: Split, batch_size: int) -> Loaders:
    """Standardise the features by the training part and put each part behind a loader."""
    loaders = {}
    fitted = {}
    for m, values in block.values.items():
        own = torch.from_numpy(values[split.train]).float()
        fitted[m] = (own.mean(dim=0), own.std(dim=0).clamp(min=1e-6))
    for part in ("train", "val"):
        positions = getattr(split, part)
        x = {m: (torch.from_numpy(v[positions]).float() - fitted[m][0]) / fitted[m][1] for m, v in block.values.items()}
        rows = _Rows(x, torch.from_numpy(block.labels[positions]))
        loaders[part] = DataLoader(rows, batch_size=batch_size, shuffle=part == "train")
    return loaders


def train_one(block: FeatureBlock, loaders: Loaders, training: TrainingConfig, seed: int) -> list[float]:
    """Train one weighted head and return the validation loss of each epoch."""
    torch.manual_seed(seed)
    widths = {m: values.shape[1] for m, values in block.values.items()}
    model = PlainWeighted(widths, training.width, len(block.classes), training.dropout)
    adam = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    curve = []
    for _ in range(training.epochs):
        model.train()
        for batch in loaders["train"]:
            adam.zero_grad()
            nn.functional.cross_entropy(model(batch), batch["label"]).backward()  # type: ignore[no-untyped-call]
            adam.step()
        curve.append(_validate(model, loaders["val"]))
    return curve


@torch.inference_mode()
def _validate(model: nn.Module, loader: DataLoader[dict[str, Tensor]]) -> float:
    model.eval()
    logits = torch.cat([model(batch) for batch in loader])
    labels = torch.cat([batch["label"] for batch in loader])
    return nn.functional.cross_entropy(logits, labels).item()
