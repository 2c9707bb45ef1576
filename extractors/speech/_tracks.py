"""The sound of any container FFmpeg opens, told by time: each frame's own time says where its samples lie."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from extractors._containers import beginning, demuxed, opened
from extractors.speech._mono import LONGEST_S, Mono, averaged, bearable, checked
from stores.errors import MediaError

JITTER_S = 0.015  # clocks are rounded (1 ms in WebM) and captured unevenly, but DTX and losses leave out 20 ms at least
RESTART_S = 0.1  # further back than capture is ever uneven: the clock of another recording
DISCONTINUITY_S = 60.0  # nor does one go on so much later, where a format says that its clocks may jump (MPEG-TS)
_PREROLL_S = 1.0  # a decoder that starts in mid-stream needs packets before the segment to settle
_INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # one clock, and an index that finds a time in it
_TELL_LENGTH = (*_INDEXED, "mp3", "flac", "wav", "w64", "aiff", "au", "caf", "asf")  # in a header, and truly
_GUESS = 0.02  # FFmpeg guesses a length from size and bit rate where a header has none: it is one if it is that close


def read_track(path: Path, start: float, end: float | None, rate: int, resampler: str) -> tuple[np.ndarray, bool]:
    """Return the segment from `start` to `end` (s) of the first sound track as (n,) float32 at `rate` Hz.

    Time 0 is where the recording begins, so sound that sets in later than the picture, or has a gap, is silent there;
    where a clock restarts or jumps back (joined files), and in streams without times, sound follows on sound. The
    second value is True if some of it is damaged and left silent, or the file ends earlier than it says.
    Raises MediaError: undecodable, no_audio_track, too_large, damaged (too much of the segment is lost).
    """
    with opened(path) as container:
        if not container.streams.audio:
            raise MediaError(f"{path.name} has no audio track", reason="no_audio_track")
        track = _Track(container, path, start, end, Mono(path, rate, resampler))
        return track.read(), track.damaged()


class Clock:
    """Where the sound lies: `end` is where, in s, the sound so far ends. Forward jumps of over `most` s are no gaps."""

    def __init__(self, most: float) -> None:
        self.end, self.shift, self._most = 0.0, 0.0, most

    def place(self, time: float | None, length: float) -> float:
        """Return where `length` s of sound with that time of its own (or none) begin."""
        jump = 0.0 if time is None else time + self.shift - self.end
        if jump < -RESTART_S or jump > self._most:
            self.shift -= jump
        elif jump > JITTER_S:
            self.end += jump
        self.end += length
        return self.end - length


class _Track:
    def __init__(self, container: Any, path: Path, start: float, end: float | None, mono: Mono) -> None:
        from av.format import Flags

        self.container, self.path, self.start, self.mono = container, path, start, mono
        self.stop = float("inf") if end is None else end
        self.stream, self.begin = container.streams.audio[0], beginning(container)
        self.rate = self.stream.rate
        flags = Flags(container.format.flags)
        self.clock = Clock(DISCONTINUITY_S if Flags.ts_discont in flags else float("inf"))
        # Where FFmpeg counts what it decodes, a hole is damage; where a clock tells, it may be silence.
        self.counted = Flags.generic_index in flags and Flags.ts_discont not in flags
        self.headed = container.format.name in ("aac", "mp3")
        # FFmpeg takes the samples that AIFF counts for packets
        packed = container.format.name == "aiff" and not self.stream.codec_context.name.startswith("pcm")
        self.tells_length = container.format.name in _TELL_LENGTH and not packed
        self.timed, self.fresh, self.flaws = True, False, Counter[str]()
        self.lost = self.reached = 0.0
        self.promised: float | None = None

    def read(self) -> np.ndarray:
        import av

        heard, failure = False, None
        for packet in self._from_start():
            try:
                for frame in packet.decode():
                    self._add(frame)
                    heard = True
            except av.FFmpegError as error:  # one bad packet is no reason to lose the others
                failure, end = error, self.clock.end
                self.flaws["damaged"] += end >= self.start
                self.lost += 0.0 if self.counted else self._within(end, end + _length(packet))
            if self.clock.end >= self.stop:
                break
        if failure is not None and not heard:
            raise failure
        return self.mono.sound()

    def damaged(self) -> bool:
        """Return whether some of the segment is lost. Raises MediaError (damaged) if that is too much of it."""
        told = self.promised or 0.0
        missing = 0.0 if self.clock.end >= self.stop else self._within(self.reached, told)
        length = self._within(0.0, max(told, self.clock.end))
        return bearable(self.path, missing, length, self.lost) or self.flaws["damaged"] > 0

    def _within(self, first: float, last: float) -> float:
        return max(0.0, min(last, self.stop) - max(first, self.start))

    def _add(self, frame: Any) -> None:
        rate = checked(frame.sample_rate, frame.layout.nb_channels, self.path)
        if self.counted and rate != self.rate:  # FFmpeg counts on at the rate of the first packets, for good
            self.counted, self.timed = False, False
        time = None if frame.time is None or not self.timed else frame.time - self.begin
        if self.fresh and time is not None:  # a decoder may leave out what the first packet begins with
            self.clock.end = time + self.clock.shift
        before, self.fresh = self.clock.end, False
        place = self.clock.place(time, frame.samples / rate)
        if hole := round(self._within(before, place) * rate):
            self.lost += hole / rate if self.counted and before else 0.0  # what a decoder leaves out first is no loss
            self.mono.silence(hole, rate)
        first = max(0, round((self.start - place) * rate))
        last = frame.samples if self.stop == float("inf") else max(first, round((self.stop - place) * rate))
        if first < frame.samples:
            self.mono.add(averaged(_channels(frame)[:, first:last]), rate)

    def _from_start(self) -> Iterator[Any]:
        """Yield the packets of the track from shortly before the segment, or from where their rate changes before it,
        as FFmpeg's times are wrong from there on; nothing before is decoded.
        """
        wanted = self.start - _PREROLL_S
        skips, header = wanted > 0, None
        for packet in self._sought(wanted) if skips and self.container.format.name in _INDEXED else self._packets():
            if skips and packet.size:
                length, time = _length(packet), self._time(packet)
                place = self.clock.place(time, length)
                if time is not None:
                    place = time + self.clock.shift  # packets are not counted: their lengths are rounded
                self.clock.end = place + length
                header, before = _rate_bits(packet) if self.headed else None, header
                if self.clock.end < wanted and header == (before or header):
                    continue
                self.clock.end, self.fresh, skips = place, True, False
                self.flaws.clear()
            yield packet

    def _sought(self, time: float) -> Iterator[Any]:
        import av

        next(self._packets(), None)  # it says where the clock begins
        with suppress(av.FFmpegError):  # without an index it may refuse, and is read on from here
            self.container.seek(int((time + self.begin) * av.time_base))
        packets = self._packets()
        first = next(packets, None)
        if first is not None and (self._time(first) or 0.0) <= time:
            return chain([first], packets)
        self.container.seek(int(self.begin * av.time_base))  # the index knows of nothing before
        return self._packets()

    def _packets(self) -> Iterator[Any]:
        for packet in demuxed(self.container, self.flaws):
            self._note(packet)
            if packet.stream_index == self.stream.index:
                yield packet

    def _note(self, packet: Any) -> None:
        """Note how far the file reaches, and at its first packet how far it says it does, unless that is a guess."""
        if self.promised is None:
            said = (self.container.duration or 0) / 1e6
            guess = (self.container.size - (packet.pos or 0)) * 8 / (self.stream.bit_rate or 1)
            known = self.tells_length and said <= LONGEST_S and abs(said - guess) > _GUESS * guess
            self.promised = said - max(0.0, self.begin) if known else 0.0  # most lengths are counted from time 0
            if (packet.pts or 0) < 0 < self.begin:  # FFmpeg adds the delay of an Opus encoder twice
                self.begin = 0.0
        if (time := self._time(packet)) is not None:
            self.reached = max(self.reached, time + _length(packet))

    def _time(self, packet: Any) -> float | None:
        stamp = packet.dts if packet.pts is None else packet.pts
        return None if stamp is None else float(stamp * packet.time_base) - self.begin


def _rate_bits(packet: Any) -> tuple[int, int]:
    """Return the bits of an ADTS or MPEG audio header that say version, layer and rate."""
    kind, rate = memoryview(packet)[1:3] if packet.size >= 3 else (0, 0)
    return kind & 0x1E, rate & (0x0C if kind & 0x06 else 0x3C)


def _length(packet: Any) -> float:
    return float(packet.duration * packet.time_base) if packet.duration else 0.0


def _channels(frame: Any) -> np.ndarray:
    """Return the samples of a frame as (channels, n), whole numbers as a share of the loudest there is."""
    values: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype.kind == "f":
        return values
    if values.dtype == np.uint8:
        values = values.astype(np.float32) - 128
        return values / np.float32(128)
    return values / np.float32(1 << (8 * values.itemsize - 1))
