"""Decode one sample safely: what is the sample's fault, what may pass with time, and what is the machine's fault."""

from typing import Any

from extractors._ahead import given_up, unclocked
from extractors.extractor import Extractor
from stores.errors import MediaError, StoreError
from stores.samples import Sample


def decoded(extractor: Extractor[Any], sample: Sample, key: str) -> Any:
    """Return the decoded item, or the MediaError that kept it from being decoded; stage `read` may pass with time.

    A missing package, or what `warm` cannot read, is raised: no sample is to blame. An extractor with an upstream reads
    the row of that very key, so only for the others is it checked that the file is still the one that was planned.
    """
    with unclocked():
        extractor.warm()
    try:
        item = extractor.decode(sample, key)
        if view := extractor.inputs.view:
            item = extractor.varied(item, view.settings, view.generator(key))
    except Exception as error:  # decoders raise anything at all on hostile files
        item = _failure(error, sample)
    if extractor.upstream is not None or (isinstance(item, MediaError) and item.stage == "read"):
        return item
    try:
        changed = sample.key(extractor.modality) != key
    except MediaError as error:
        return error
    message = f"{sample.id}: the file changed while it was being extracted: run again"
    return MediaError(message, reason="unreadable_file", stage="read") if changed else item


def too_slow(sample: Sample, limit_s: float) -> MediaError:
    """Return what becomes of a sample whose decoding was given up."""
    return MediaError(f"{sample.id}: {given_up(limit_s)}", reason="timeout")


def _failure(error: Exception, sample: Sample) -> MediaError:
    cause = error.__cause__ if isinstance(error, MediaError) else error
    errno = getattr(cause, "errno", None)  # FFmpeg's own MemoryError has one: hostile files provoke it
    if isinstance(cause, ImportError):
        raise cause
    if isinstance(cause, MemoryError) and errno is None:
        return MediaError(f"{sample.id}: no memory left to decode it", reason="out_of_memory")
    if isinstance(error, StoreError) and not isinstance(error, MediaError):  # the store's fault: may pass with time
        return MediaError(f"{sample.id}: {error}", reason="upstream", stage="read")
    if isinstance(cause, OSError | MemoryError) and errno is not None and not isinstance(cause, MediaError):
        message = str(error) if isinstance(error, MediaError) else f"{sample.id}: {type(error).__name__}: {error}"
        reason = error.reason if isinstance(error, MediaError) and error.stage == "read" else "unreadable_file"
        return MediaError(message, reason=reason, stage="read")
    if isinstance(error, MediaError):
        return error
    return MediaError(f"{sample.id}: {type(error).__name__}: {error}", reason="undecodable")
