"""Views of a face: turned a little, nearer or to the side, mirrored, in other light and in noise."""

from dataclasses import dataclass

import numpy as np

from stores.errors import ConfigError

_MOST = {"rotation": 180.0, "crop": 0.9, "brightness": 1.0, "noise": 255.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceViews:
    """How far a view may be from its picture; all 0 and no `flip`: not at all. Drawn uniformly.

    `rotation` in degrees, either way, edges repeated; `crop` as a share of the side: the window that is enlarged to the
    whole square is smaller by up to that and lies anywhere in it; `flip` mirrors every other view; `brightness` as a
    share of the gray levels, darker or brighter; `noise` is the standard deviation of white noise in gray levels.
    """

    rotation: float = 15.0
    crop: float = 0.1
    flip: bool = True
    brightness: float = 0.2
    noise: float = 4.0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} of a view should be 0 to {most:g}, got {getattr(self, name):g}")


def seen_otherwise(faces: np.ndarray, views: FaceViews, generator: np.random.Generator) -> np.ndarray:
    """Return a view of (k, size, size[, 3]) uint8, in the same shape; all k pictures alike, but for the noise."""
    turned = np.deg2rad(views.rotation) * generator.uniform(-1, 1)
    kept = 1 - views.crop * generator.uniform()
    aside = (1 - kept) / 2 * generator.uniform(-1, 1, 2)
    mirrored = views.flip and generator.random() < 0.5
    level = 1 + views.brightness * generator.uniform(-1, 1)
    found = _windows(faces, turned, kept, aside, mirrored=bool(mirrored))
    if views.brightness or views.noise:
        noise = views.noise * generator.standard_normal(found.shape, np.float32)
        found = np.clip(np.round(found * np.float32(level) + noise), 0, 255).astype(np.uint8)
    return found


def _windows(faces: np.ndarray, turned: float, kept: float, aside: np.ndarray, *, mirrored: bool) -> np.ndarray:
    """Return the same window of all pictures, bilinear; an unturned whole picture is exactly itself, or its mirror."""
    from scipy.ndimage import affine_transform

    size = faces.shape[1]
    turn = np.array([[np.cos(turned), np.sin(turned)], [-np.sin(turned), np.cos(turned)]])
    matrix = kept * turn @ np.diag([1.0, -1.0 if mirrored else 1.0])
    middle = np.full(2, (size - 1) / 2)
    offset = middle + size * aside - matrix @ middle
    planes = faces[..., None] if faces.ndim == 3 else faces  # RGB has its channels last
    found = np.empty_like(planes)
    for k, c in np.ndindex(len(planes), planes.shape[3]):
        affine_transform(planes[k, :, :, c], matrix, offset, output=found[k, :, :, c], order=1, mode="nearest")
    return found.reshape(faces.shape)


def shifted(faces: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Return (k, size, size[, 3]) uint8 shifted by up to `most` whole pixels, edges repeated, half of them mirrored.

    Pixels stay what they are: blurring them, as a fraction of a pixel does, costs small faces much of what they show.
    """
    down, right = generator.integers(0, 2 * most + 1, size=2)
    size = faces.shape[1]
    around = ((0, 0), (most, most), (most, most), (0, 0))[: faces.ndim]  # RGB has its channels last
    found = np.pad(faces, around, "edge")[:, down : down + size, right : right + size]
    return found[:, :, ::-1] if generator.random() < 0.5 else found
