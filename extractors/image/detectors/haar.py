"""Viola and Jones' frontal faces, by the cascade that comes with OpenCV 4."""

from functools import cached_property
from pathlib import Path
from threading import local
from typing import Any

import numpy as np

from extractors.image._faces import Detector
from stores.identity import file_digest

_STEP = 1.1  # from one size of faces to the next
_NEIGHBOURS = 5  # overlapping boxes that make a face
_SMALLEST = 30  # pixels


class Haar(Detector):
    """Upright frontal faces from a tenth of the picture on; no weights but those in the package.

    Weights: `haarcascade_frontalface_default.xml` by R. Lienhart, (c) 2000 Intel Corporation, under the Intel License
    Agreement For Open Source Computer Vision Library (the file's header: the three clauses of BSD). It comes with the
    package opencv-python-headless, itself Apache-2.0. Source: Viola and Jones, 2001; Lienhart and Maydt, 2002.
    """

    version = 1

    def __init__(self) -> None:
        self._own = local()  # a cascade is not to be shared by threads

    @cached_property
    def path(self) -> Path:
        import cv2.data

        return Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"

    def digest(self) -> str:
        return file_digest(self.path)

    def boxes(self, gray: np.ndarray) -> np.ndarray:
        found = self._cascade.detectMultiScale(
            gray, scaleFactor=_STEP, minNeighbors=_NEIGHBOURS, minSize=(_SMALLEST, _SMALLEST)
        )
        return np.asarray(found, np.float64).reshape(-1, 4)

    @property
    def _cascade(self) -> Any:
        if not hasattr(self._own, "cascade"):
            import cv2

            cv2.setNumThreads(1)  # each decoding thread is one already; more would also order boxes by chance
            self._own.cascade = cv2.CascadeClassifier(str(self.path))
        return self._own.cascade
