"""A torchvision ResNet behind grayscale or RGB faces."""

import torch
from torch import Tensor, nn
from torchvision.models import get_model

MEAN = (0.485, 0.456, 0.406)  # of ImageNet: what torchvision's weights expect
DEVIATION = (0.229, 0.224, 0.225)


class FaceNetwork(nn.Module):
    """(faces (N, size, size) uint8, counts (B,)) -> (B, width): the mean over each item's `counts` faces.

    Faces in colour are (N, size, size, 3). `layer` is what a row is of: the average pool, or torchvision's fully
    connected layer after it. `layout` is how pictures lie in memory: channels last is faster, contiguous is bit for
    bit what torchvision computes.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, depth: int, seed: int, layer: str = "avgpool") -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.resnet: nn.Module = get_model(f"resnet{depth}", weights=None)
        if layer == "avgpool":
            self.resnet.fc = nn.Identity()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)
        self.lay_out(torch.channels_last)

    def lay_out(self, layout: torch.memory_format) -> None:
        self.layout = layout
        self.to(memory_format=layout)

    def forward(self, faces: Tensor, counts: Tensor) -> Tensor:
        return averaged(self.rows(faces), counts)

    def rows(self, faces: Tensor) -> Tensor:
        """Return (N, width): one row a face."""
        channels = faces[:, None] if faces.ndim == 3 else faces.permute(0, 3, 1, 2)
        colour = (channels.float() / 255 - self.mean) / self.deviation
        found: Tensor = self.resnet(colour.contiguous(memory_format=self.layout))
        return found


def averaged(rows: Tensor, counts: Tensor) -> Tensor:
    """Return (B, width): the mean of the first `counts[0]` of (N, width) rows, of the next `counts[1]`, ..."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    total = rows.new_zeros((len(counts), rows.shape[1])).index_add(0, owner, rows)
    return total / counts[:, None]
