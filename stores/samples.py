"""One utterance of a recording, and where each of its modalities comes from."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from stores import identity
from stores.digests import content_digest
from stores.errors import MediaError

MODALITIES = ("image", "speech", "text")
SPLITS = ("train", "val", "test", "encoder")
MOST_CHARACTERS = 1_000_000  # a hundred hours of talk are no utterance
_MOST_MARKS = 1000  # on one letter; the time to normalise them grows with their square


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

        Raises MediaError (stage `read`) if there is nothing to read: empty text or one that is no utterance, missing or
        unreadable file.
        """
        medium = self.medium(modality)
        if medium is None:
            raise ValueError(f"sample {self.id} has no {modality}")
        if isinstance(medium, str):
            if problem := _problem(medium):
                reason, message = problem
                raise MediaError(f"{self.id}: {message}", reason=reason, stage="read")
            return identity.text_key(medium)
        try:
            return identity.media_key(modality, content_digest(medium), *self.segment(modality))
        except FileNotFoundError as error:
            raise MediaError(f"{self.id}: no file {medium.name}", reason="missing_file", stage="read") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            message = f"{self.id}: cannot read {medium.name}: {getattr(error, 'strerror', None) or error}"
            raise MediaError(message, reason="unreadable_file", stage="read") from error


def _problem(text: str) -> tuple[str, str] | None:
    """Return (reason, message) if a text has no key."""
    if not text.strip():
        return "empty_text", "the text is empty"
    if len(text) > MOST_CHARACTERS:
        return "too_large", f"the text has {len(text)} characters; expected at most {MOST_CHARACTERS}"
    if len(text) > _MOST_MARKS:
        runs = groupby(text, key=lambda letter: unicodedata.combining(letter) > 0)
        if any(marks and sum(1 for _ in run) > _MOST_MARKS for marks, run in runs):
            return "too_large", f"the text has more than {_MOST_MARKS} combining marks on one letter"
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "undecodable", "the text has half a character in it (a lone surrogate): it was not read as UTF-8"
    return None
