"""A small licence-free corpus, written, spoken and drawn by the computer, with effects planted in it."""

import shutil
import wave
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from corpora._corpus import Corpus, CorpusConfig
from corpora._faces import draw_expression, draw_face, draw_head
from corpora._sentences import write_sentence
from corpora._voice import RATE, draw_manner, draw_voice, speak
from stores.errors import ConfigError
from stores.identity import short_id
from stores.local_files import sibling
from stores.manifest import Manifest
from stores.root import Root
from stores.samples import MODALITIES, Sample

VERSION = 1  # raised by hand when the same seed gives other media
CLASSES = ("joy", "sadness", "anger", "fear", "neutral")
PLANTED = {"text": ("neutral",), "speech": ("anger", "fear"), "image": ("joy", "sadness")}
EXPRESSED = 0.9  # how often a modality shows the class it tells
STRAY = 0.06  # how often it shows one of its cues for a class it does not tell
STRAY_NEUTRAL = 0.5  # the same for neutral in voice and face: people smile politely and speak up
_ORDER, _LINE, _VOICE, _SPOKEN, _HEAD, _DRAWN, _KEPT, _SILENT = range(8)  # independent random streams


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig(CorpusConfig):
    """What the corpus is; the same settings give the same bytes.

    The first `reserved` of the `speakers` are for encoders only. `missing` is the share of samples that lack one
    modality. `shares` makes the corpus imbalanced: about so large a share of a class is kept, drawn sample by sample,
    for example `{ anger = 0.3 }`. The reserved speakers keep all of theirs, and media, ids and encoders stay the same.
    `silent` names a modality that tells nothing: its cues are those of a class drawn at random. The others stay as they
    are, to the byte.
    """

    name: str = "synthetic"
    seed: int = 0
    speakers: int = 36
    reserved: int = 12
    samples_per_speaker: int = 25
    missing: float = 0.04
    shares: Mapping[str, float] = field(default_factory=dict)
    silent: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0 or self.samples_per_speaker < 1 or not 0 <= self.reserved < self.speakers:
            raise ConfigError(
                "expected seed >= 0, samples_per_speaker >= 1 and fewer reserved speakers than speakers, got "
                f"{self.seed}, {self.samples_per_speaker}, {self.reserved} of {self.speakers}"
            )
        if not 0 <= self.missing < 1:
            raise ConfigError(f"missing is a share from 0 to below 1, got {self.missing}")
        if odd := [name for name, share in self.shares.items() if name not in CLASSES or not 0 <= share <= 1]:
            raise ConfigError(
                f"shares are of {', '.join(CLASSES)} and from 0 to 1, got {odd[0]!r} = {self.shares[odd[0]]}"
            )
        if self.silent not in ("", *MODALITIES):
            raise ConfigError(f"silent is one of {', '.join(MODALITIES)}, or empty for none, got {self.silent!r}")

    @property
    def rendered(self) -> dict[str, Any]:
        """What decides the media; a setting that was added later counts only where it is not its default."""
        settings = asdict(self)
        del settings["shares"]
        return settings if self.silent else {name: value for name, value in settings.items() if name != "silent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One planned sample: who, which class, which cue each modality shows (None: no cue), what it lacks."""

    speaker: int
    number: int
    label: str
    cues: dict[str, str | None]
    text: str
    lacks: str | None

    @property
    def name(self) -> str:
        return f"s{self.speaker:02d}_{self.number:03d}"


class Synthetic(Corpus[SyntheticConfig]):
    """Five emotions in text, speech and face, each modality telling only some of them apart.

    Planted: the text tells `neutral` from the rest, the speech `anger` and `fear`, the face `joy` and `sadness`
    (`PLANTED`). A modality shows the class it tells in 90 % of its samples, else no cue. It shows a wrong cue in 6 %
    of the samples of other classes, but voice and face in 50 % of the neutral ones, so without the text neutral is
    lost. A reader who recognises every cue perfectly is right in 37 % (text), 55 % (speech, face), 70 to 78 % (two of
    them) and 85 % (all three) of the samples; chance is 20 %.

    Sentences come from a grammar, speech from a source-filter synthesiser (16 kHz, 16 bit), faces from polygons
    (96 x 96 grey). Speakers differ in voice, face and gender and are the groups. Media are generated on first use
    under `corpora/` of the root, which must be a local folder.
    """

    config_type = SyntheticConfig

    def build(self, root: Root, *, base: Path) -> Manifest:
        config = self.config
        lines = [line for speaker in range(config.speakers) for line in plan_lines(config, speaker)]
        folder = root.local("corpora", short_id(config.name, {"version": VERSION, "config": config.rendered}))
        if not folder.is_dir():
            _generate(config, lines, folder)
        kept = [line for line in lines if _kept(config, line)]
        return Manifest(
            name=config.name,
            samples=tuple(_sample(config, line, folder) for line in kept),
            labels={"emotion": CLASSES},
            pairing="synthetic",
            source=f"generated by affuse from seed {config.seed}",
            licence="CC0-1.0",
            notes={"planted": {m: [] if m == config.silent else list(told) for m, told in PLANTED.items()}},
        )


def plan_lines(config: SyntheticConfig, speaker: int) -> Iterator[Line]:
    """Yield a speaker's samples before anything is rendered; each depends on the seed, speaker and number only."""
    turns = np.arange(config.samples_per_speaker) % len(CLASSES)
    order = _stream(config, _ORDER, speaker).permutation(turns)
    for number, index in enumerate(order):
        rng = _stream(config, _LINE, speaker, number)
        label = CLASSES[index]
        cues = {modality: _cue(rng, modality, label) for modality in MODALITIES}
        line = Line(
            speaker=speaker,
            number=number,
            label=label,
            cues=cues,
            text=write_sentence(rng, neutral=cues["text"] is not None),
            lacks=str(rng.choice(MODALITIES)) if rng.random() < config.missing else None,
        )
        yield _silenced(config, line) if config.silent else line


def _silenced(config: SyntheticConfig, line: Line) -> Line:
    """Return the line with the cue of a class drawn at random in the silent modality, and nothing else changed."""
    rng = _stream(config, _SILENT, line.speaker, line.number)
    cue = _cue(rng, config.silent, str(rng.choice(CLASSES)))
    text = write_sentence(rng, neutral=cue is not None) if config.silent == "text" else line.text
    return replace(line, cues={**line.cues, config.silent: cue}, text=text)


def _cue(rng: np.random.Generator, modality: str, label: str) -> str | None:
    told = PLANTED[modality]
    if label in told:
        return label if rng.random() < EXPRESSED else None
    stray = STRAY_NEUTRAL if label == "neutral" else STRAY
    return str(rng.choice(told)) if rng.random() < stray else None


def _stream(config: SyntheticConfig, kind: int, speaker: int, number: int = 0) -> np.random.Generator:
    return np.random.default_rng([config.seed, kind, speaker, number])


def _is_female(speaker: int) -> bool:
    return bool(speaker % 2)


def _kept(config: SyntheticConfig, line: Line) -> bool:
    share = config.shares.get(line.label, 1.0)
    drawn = _stream(config, _KEPT, line.speaker, line.number).random()
    return line.speaker < config.reserved or drawn < share


def _sample(config: SyntheticConfig, line: Line, folder: Path) -> Sample:
    media: dict[str, Any] = {
        "text": line.text,
        "speech": folder / "speech" / f"{line.name}.wav",
        "image": folder / "faces" / f"{line.name}.png",
    }
    if line.lacks:
        media[line.lacks] = None
    return Sample(
        id=f"{config.name}/{line.name}",
        corpus=config.name,
        text=media["text"],
        audio=media["speech"],
        image=media["image"],
        split="encoder" if line.speaker < config.reserved else None,
        labels={"emotion": line.label},
        groups={"speaker": f"s{line.speaker:02d}"},
        gender="female" if _is_female(line.speaker) else "male",
    )


def _generate(config: SyntheticConfig, lines: list[Line], folder: Path) -> None:
    """Render all media beside `folder` and rename at the end: a folder of that name is complete."""
    unfinished = sibling(folder)
    for name in ("speech", "faces"):
        (unfinished / name).mkdir(parents=True)
    for line in lines:
        female = _is_female(line.speaker)
        if line.lacks != "speech":
            voice = draw_voice(_stream(config, _VOICE, line.speaker), female=female)
            rng = _stream(config, _SPOKEN, line.speaker, line.number)
            _write_wav(
                unfinished / "speech" / f"{line.name}.wav", speak(rng, voice, draw_manner(rng, line.cues["speech"]))
            )
        if line.lacks != "image":
            head = draw_head(_stream(config, _HEAD, line.speaker), female=female)
            rng = _stream(config, _DRAWN, line.speaker, line.number)
            face = draw_face(rng, head, draw_expression(rng, line.cues["image"]))
            face.save(unfinished / "faces" / f"{line.name}.png", compress_level=1)
    try:
        unfinished.rename(folder)
    except OSError:  # another process finished first, with the same bytes
        if not folder.is_dir():
            raise
        shutil.rmtree(unfinished)


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
