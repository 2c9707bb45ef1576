"""Faces -> average-pooled ResNet features; a video is the mean of frames spread evenly over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from extractors.devices import pick_device
from extractors.extractor import Extractor, Runtime
from extractors.image._images import load_still
from extractors.image._video import load_frames
from extractors.image._weights import RANDOM, check_weights, network, starting_digest, starting_network
from stores.encoders import EncoderStore
from stores.errors import ConfigError
from stores.samples import Sample
from stores.spec import FeatureSpec, embedding_spec

if TYPE_CHECKING:
    import torch

TRAINED = "trained"
WIDTHS = {18: 512, 34: 512, 50: 2048}
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as torchvision's weights expect
_DEVIATION = (0.229, 0.224, 0.225)
