"""Samples that could not be turned into a row: who, at which stage, why, how often."""

from dataclasses import asdict, dataclass

import pyarrow as pa

from stores.errors import MediaError

STAGES = ("read", "decode", "embed", "validate")
REASONS = (
    "missing_file",
    "unreadable_file",
    "empty_text",
    "unknown_text",  # of tokens the tokenizer does not know, and no other
    "undecodable",
    "damaged",
    "too_large",
    "timeout",
    "out_of_memory",
    "empty_media",
    "no_audio_track",
    "no_video_track",
    "no_face",
    "not_finite",
    "wrong_shape",
    "upstream",
    "embed_failed",
    "recovered",  # no failure: the sample has a readable key again, or another one; earlier rows count no more
)
RECOVERED = "recovered"
PASSING = frozenset({"timeout", "out_of_memory"})  # may be the machine's fault: tried again by the next run,
MOST_ATTEMPTS = 3  # so many times in all
_SHOWN = 500  # characters of a message
_TEXTS = ("sample_id", "key", "stage", "reason", "message")
SCHEMA = pa.schema([*((name, pa.string()) for name in _TEXTS), ("attempts", pa.int32()), ("time", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One failure. `key` is None when the file could not even be read; `time` is ISO 8601 in UTC."""

    sample_id: str
    key: str | None
    stage: str
    reason: str
    message: str
    attempts: int
    time: str

    @property
    def passes(self) -> bool:
        """Whether the next run tries the sample again by itself."""
        return self.reason in PASSING and self.attempts < MOST_ATTEMPTS

    def __post_init__(self) -> None:
        if self.stage not in STAGES or self.reason not in REASONS:
            raise ValueError(f"unknown stage or reason: {self.stage}, {self.reason}; see stores/quarantine.py")

    @classmethod
    def of(cls, error: MediaError, *, sample_id: str, key: str | None, attempts: int, time: str) -> "Quarantined":
        return cls(
            sample_id=sample_id,
            key=key,
            stage=error.stage,
            reason=error.reason,
            message=_readable(str(error)),
            attempts=attempts,
            time=time,
        )


def _readable(message: str) -> str:
    """Return a message that any table and terminal can hold: names of files may be anything but text."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in message[:_SHOWN])


def to_table(rows: list[Quarantined]) -> pa.Table:
    return pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA)


def from_table(table: pa.Table) -> list[Quarantined]:
    return [Quarantined(**row) for row in table.to_pylist()]
