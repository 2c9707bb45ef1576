"""Run by the tests beside it, in a process of its own: train a small face encoder under a root and print its id.

usage: train_encoder.py ROOT FACES CHECKPOINT_EVERY
"""

import sys
from pathlib import Path

from extractors.extractor import Runtime
from extractors.image.resnet import ResNet, ResNetConfig
from extractors.training import TrainConfig, plan_recipe, train
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

root, faces, every = sys.argv[1:4]
config = ResNetConfig(depth=18, size=32, weights="trained")
samples = [
    Sample(id=f"c/{path.stem}", corpus="c", image=path, labels={"shade": path.stem.split("-")[1]})
    for path in sorted(Path(faces).iterdir())
]
recipe = plan_recipe(
    ResNet,
    config,
    TrainConfig(epochs=5, batch_size=8, numerics="exact", patience=5, stop_share=0.25),
    samples,
    scheme="shade",
    classes=("dark", "light"),
    groups=[],
    upstream=None,
)
runtime = Runtime(device="cpu", checkpoint_every=float(every))
print(recipe.id, flush=True)
train(ResNet, recipe, samples, Root(root), runtime, config=config, report=Silent())
