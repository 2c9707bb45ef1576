"""Faces drawn from polygons at four times their size, then averaged down."""

from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageDraw

SIZE = 96  # pixels, square
_SCALE = 4
_CIRCLE = np.linspace(0, 2 * np.pi, 33)[:-1]


def draw_head(rng: np.random.Generator, *, female: bool) -> SimpleNamespace:
    """Return a speaker's face; lengths in units of half the picture, greys from 0 to 255."""
    return SimpleNamespace(
        width=rng.uniform(0.5, 0.62),
        height=rng.uniform(0.7, 0.8),
        eyes=rng.uniform(0.2, 0.27),  # distance of an eye from the middle
        eye_size=rng.uniform(0.085, 0.115),
        brow=rng.uniform(0.025, 0.045) if female else rng.uniform(0.04, 0.065),  # thickness
        nose=rng.uniform(0.16, 0.26),
        mouth=rng.uniform(0.18, 0.24),  # half its width
        lips=rng.uniform(0.05, 0.075) if female else rng.uniform(0.035, 0.055),  # thickness
        skin=rng.uniform(120, 215),
        hair=rng.uniform(15, 100),
        fringe=rng.uniform(0.1, 0.28),  # how far down the hair comes
        long_hair=bool(rng.random() < (0.8 if female else 0.15)),
    )


def draw_expression(rng: np.random.Generator, cue: str | None) -> SimpleNamespace:
    """Return an expression that carries the cue of `joy`, of `sadness`, or (None) neither; its strength varies.

    All 0 is a face at rest.
    """
    strength = float(rng.uniform(0.6, 1.2))
    joy, sadness = (strength * (cue == name) for name in ("joy", "sadness"))
    return SimpleNamespace(
        smile=float(rng.normal(0, 0.02) + 0.17 * joy - 0.15 * sadness),  # corners of the mouth, up or down
        open_mouth=float(max(0.0, rng.normal(0.01, 0.02) + rng.choice([0.0, 0.06]) * joy)),
        inner_brow=float(rng.normal(0, 0.015) + 0.1 * sadness),  # raised inner ends
        squint=float(np.clip(rng.normal(0.1, 0.1) + 0.3 * joy + 0.15 * sadness, 0, 0.7)),
    )


def draw_face(rng: np.random.Generator, head: SimpleNamespace, expression: SimpleNamespace) -> Image.Image:
    """Return a (96, 96) grey picture; pose, light and camera noise are drawn from `rng`."""
    side = SIZE * _SCALE
    picture = Image.new("L", (side, side), int(rng.uniform(40, 200)))
    pen = _Pen(ImageDraw.Draw(picture), rng)
    if head.long_hair:
        pen.ellipse(0, 0.1, head.width * 1.25, head.height * 1.1, head.hair)
    pen.ellipse(0, -0.12, head.width * 1.1, head.height * 0.97, head.hair)
    pen.ellipse(0, 0.06, head.width, head.height * 0.95, head.skin)
    pen.shape(_arc(0, -0.3, head.width * 0.94, -head.height, -head.height + head.fringe), head.hair)
    for side_of_face in (-1, 1):
        _draw_eye(pen, head, expression, side_of_face)
    pen.line([(0.01, -0.05), (head.nose * 0.25, head.nose), (-0.03, head.nose + 0.01)], 0.02, head.skin * 0.7)
    _draw_mouth(pen, head, expression)
    return _photographed(rng, picture)


class _Pen:
    """Draws in face coordinates (x to the right, y down, both -1 to 1), turned and shifted as the head is held."""

    def __init__(self, draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
        angle, size = rng.normal(0, 0.05), rng.uniform(0.9, 1.05)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self._turn = turn * size * SIZE * _SCALE / 2
        self._shift = (1 + rng.normal(0, 0.03, 2)) * SIZE * _SCALE / 2
        self._draw = draw

    def shape(self, points: np.ndarray, grey: float) -> None:
        self._draw.polygon(self._placed(points), fill=int(grey))

    def ellipse(self, x: float, y: float, width: float, height: float, grey: float) -> None:
        self.shape(np.column_stack([x + width * np.cos(_CIRCLE), y + height * np.sin(_CIRCLE)]), grey)

    def line(self, points: list[tuple[float, float]], thickness: float, grey: float) -> None:
        width = max(1, round(thickness * SIZE * _SCALE / 2))
        self._draw.line(self._placed(np.array(points)), fill=int(grey), width=width, joint="curve")

    def _placed(self, points: np.ndarray) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in points @ self._turn + self._shift]


def _draw_eye(pen: _Pen, head: SimpleNamespace, expression: SimpleNamespace, side: int) -> None:
    x, size = side * head.eyes, head.eye_size
    opening = size * 0.65 * (1 - expression.squint)
    pen.ellipse(x, -0.12, size, opening, 235)
    pen.ellipse(x, -0.12, min(size * 0.45, opening), min(size * 0.45, opening), 30)
    inner, outer = x - side * size * 1.1, x + side * size * 1.3
    brow = -0.12 - size - 0.08
    pen.line([(inner, brow - expression.inner_brow), (x, brow - 0.03), (outer, brow + 0.02)], head.brow, head.hair)


def _draw_mouth(pen: _Pen, head: SimpleNamespace, expression: SimpleNamespace) -> None:
    half = head.mouth * (1 + expression.smile)
    corners, middle = 0.4 - expression.smile / 2, 0.4 + expression.smile / 2
    lips = head.lips / 2
    pen.shape(_arc(0, corners, half, middle - lips, middle + lips + expression.open_mouth), head.skin * 0.55)
    if expression.open_mouth > lips:
        pen.shape(_arc(0, corners, half * 0.8, middle, middle + expression.open_mouth), 225)


def _arc(x: float, corners: float, half: float, top: float, bottom: float) -> np.ndarray:
    """Return the outline between two parabolas that share their corners and have the given middles."""
    across = np.linspace(-1, 1, 15)
    bend = 1 - across**2
    upper = np.column_stack([x + half * across, corners + (top - corners) * bend])
    lower = np.column_stack([x + half * across, corners + (bottom - corners) * bend])
    return np.concatenate([upper, lower[::-1]])


def _photographed(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    grey = np.asarray(picture.reduce(_SCALE), dtype=np.float64)
    light = rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.12) * np.linspace(-1, 1, SIZE))  # brighter on one side
    noisy = grey * light + rng.normal(0, rng.uniform(3, 9), grey.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
