"""A torchvision ResNet behind grayscale or RGB faces."""

import torch
from torch import Tensor, nn
from torchvision.models import get_model

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet: what torchvision's weights expect
_DEVIATION = (0.229, 0.224, 0.225)


class FaceNetwork(nn.Module):
    """(faces (N, size, size) uint8, counts (B,)) -> (B, width): the mean over each item's `counts` faces.

    Faces in colour are (N, size, size, 3).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, depth: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.resnet: nn.Module = get_model(f"resnet{depth}", weights=None)
        self.resnet.fc = nn.Identity()
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, faces: Tensor, counts: Tensor) -> Tensor:
        channels = faces[:, None] if faces.ndim == 3 else faces.permute(0, 3, 1, 2)
        colour = (channels.float() / 255 - self.mean) / self.deviation
        rows: Tensor = self.resnet(colour.contiguous(memory_format=torch.channels_last))
        owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        total = rows.new_zeros((len(counts), rows.shape[1])).index_add(0, owner, rows)
        return total / counts[:, None]
