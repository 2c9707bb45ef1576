"""One utterance of a recording, and where each of its modalities comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from stores import identity
from stores.errors import MediaError

MODALITIES = ("image", "speech", "text")
SPLITS = ("train", "val", "test", "encoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Text, audio and image of the **same** utterance; what is None is absent.

    Media are absolute paths. `start_ms` and `end_ms` cut a segment out of audio and video. Speech is read
    from `audio`, else from the sound track of `video`; the image from `image`, else from frames of `video`.
    """

    id: str
    corpus: str
    text: str | None = None
    audio: Path | None = None
    image: Path | None = None
    video: Path | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    split: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    gender: str | None = None
    age: str | None = None
    culture: str | None = None

    def medium(self, modality: str) -> str | Path | None:
        """Return the text, or the file that carries a modality; None if the sample lacks it."""
        if modality == "text":
            return self.text
        if modality == "speech":
            return self.audio or self.video
        if modality == "image":
            return self.image or self.video
        raise ValueError(f"unknown modality {modality!r}; there are: {', '.join(MODALITIES)}")

    def segment(self, modality: str) -> tuple[int | None, int | None]:
        """Return (start, end) in ms where they apply: to sound and video, not to a still or a text."""
        still = modality == "text" or (modality == "image" and self.image is not None)
        return (None, None) if still else (self.start_ms, self.end_ms)

    def key(self, modality: str) -> str:
        """Return the content key of one modality.

        Raises MediaError (stage `read`) if there is nothing to read: empty text, missing or unreadable file.
        """
        medium = self.medium(modality)
        if medium is None:
            raise ValueError(f"sample {self.id} has no {modality}")
        if isinstance(medium, str):
            if not medium.strip():
                raise MediaError(f"{self.id}: the text is empty", reason="empty_text", stage="read")
            return identity.text_key(medium)
        start, end = self.segment(modality)
        try:
            status = medium.stat()
            return _file_key(modality, medium, start, end, status.st_size, status.st_mtime_ns)
        except FileNotFoundError as error:
            raise MediaError(f"{self.id}: no file {medium.name}", reason="missing_file", stage="read") from error
        except OSError as error:
            message = f"{self.id}: cannot read {medium.name}: {error.strerror}"
            raise MediaError(message, reason="unreadable_file", stage="read") from error


@lru_cache(maxsize=1 << 20)
def _file_key(modality: str, path: Path, start: int | None, end: int | None, _size: int, _mtime_ns: int) -> str:
    return identity.media_key(modality, path, start, end)
