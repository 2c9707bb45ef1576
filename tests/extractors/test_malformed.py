"""Hundreds of broken, odd and hostile media in one run with good ones: each gets a row or a named reason."""

import io
import os
import resource
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from extractors.extractor import Extractor, Inputs, Runtime, find_extractor
from extractors.run import extract
from stores.features import FeatureStore
from stores.progress import Silent
from stores.quarantine import REASONS
from stores.root import Root
from stores.samples import Sample

RUNTIME = Runtime(device="cpu", batch_size=16, decode_workers=2, queue=64, block_size=128, time_limit=60)
SMALL = {"resnet": {"depth": 18, "size": 32, "weights": "random"}}
ROW = "row"
MOST_MIB = 600
RATE = 16000
Cases = dict[str, Sample]
Wanted = dict[str, str]


def tone(seconds: float = 0.2) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * 220 * time)


def sound(kind: str, values: np.ndarray, rate: int = RATE, **more: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, values, rate, format=kind, **more)
    return file.getvalue()


def picture(kind: str, image: Image.Image | None = None, **more: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    file = io.BytesIO()
    (image or Image.fromarray(pixels)).save(file, kind, **more)
    return file.getvalue()


def film() -> bytes:
    """An mp4 of 0.4 s with picture and sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        for value in (40, 90, 160, 220):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), value, np.uint8), format="gray")
            container.mux(video.encode(frame.reformat(format="yuv420p")))
        block = av.AudioFrame.from_ndarray(tone(0.4)[None].astype(np.float32), format="fltp", layout="mono")
        block.sample_rate = RATE
        container.mux(audio.encode(block))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    return file.getvalue()


def damaged(name: str, content: bytes, *, flips: int) -> Iterator[tuple[str, bytes]]:
    """Yield the file cut at every tenth, its first bytes alone, and with single bytes changed at random."""
    stem, suffix = name.split(".")
    for tenth in range(10):
        yield f"{stem}-cut{tenth}.{suffix}", content[: len(content) * tenth // 10]
    for size in (1, 4, 12, 44):
        yield f"{stem}-head{size}.{suffix}", content[:size]
    generator = np.random.default_rng(len(content))
    for i in range(flips):
        changed = bytearray(content)
        within = min(len(content), 400) if i % 2 else len(content)  # every other one in the headers
        changed[generator.integers(within)] ^= int(generator.integers(1, 256))
        yield f"{stem}-flip{i}.{suffix}", bytes(changed)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is that large, with checksums that agree and nothing in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def patched(content: bytes, at: int, kind: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(kind, changed, at, value)
    return bytes(changed)


def without_length(flac: bytes) -> bytes:
    """The same FLAC as a stream writes it: the 36 bits of its length are zero."""
    told = int.from_bytes(flac[18:26], "big")
    return flac[:18] + (told >> 36 << 36).to_bytes(8, "big") + flac[26:]


def silence(hours: float, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format="FLAC") as out:
        for _ in range(round(hours * 60)):
            out.write(np.zeros(60 * rate, np.int16))
    return file.getvalue()


def speech_contents() -> Iterator[tuple[str, bytes, str | None]]:
    """Yield (name, content, what must become of it, if that is certain)."""
    wav, loud = sound("WAV", tone()), tone()
    whole = {
        "pcm.wav": wav,
        "free.flac": sound("FLAC", tone()),
        "lossy.mp3": sound("MP3", tone()),
        "lossy.ogg": sound("OGG", tone()),
        "film.mp4": film(),
    }
    for name, content in whole.items():
        yield name, content, ROW
        for other, broken in damaged(name, content, flips=16):
            yield other, broken, None
    for depth in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        yield f"{depth}.wav", sound("WAV", tone(), subtype=depth), ROW
    for name, bad in (("nan", np.nan), ("inf", np.inf), ("minus", -np.inf), ("huge", 3e38)):
        loud[1000:1100] = bad
        yield f"{name}.wav", sound("WAV", np.stack([loud, loud], 1), subtype="FLOAT"), "not_finite"
    for channels in (2, 12):
        yield f"{channels}ch.wav", sound("WAV", np.repeat(tone()[:, None], channels, 1)), ROW
    yield "100ch.wav", sound("WAV", np.repeat(tone()[:, None], 100, 1)), "undecodable"
    for rate, becomes in ((8000, ROW), (11025, ROW), (96000, ROW), (1, "undecodable"), (2_000_000, "undecodable")):
        yield f"{rate}hz.wav", sound("WAV", tone(1.0), rate), becomes
    for rate in (0, 2**31 - 1):
        yield f"says{rate}hz.wav", patched(wav, 24, "<I", rate), "undecodable"
    yield "ten-hours.wav", patched(wav, 40, "<I", 2 * RATE * 36000), ROW  # only what is there is read
    yield "no-samples.wav", sound("WAV", tone()[:0]), "empty_media"
    yield "short.wav", sound("WAV", tone()[:100]), "empty_media"
    yield "streamed.flac", without_length(whole["free.flac"]), ROW
    bomb = silence(2)
    yield "two-hours.flac", bomb, "too_large"
    yield "two-hours-streamed.flac", without_length(bomb), "too_large"
    yield "text.wav", b"These are words and no sound. " * 20, "undecodable"
    yield "text.mp3", b"These are words and no sound. " * 21, "undecodable"
    yield "words.txt", b"These are words and no sound. " * 22, "undecodable"
    yield "picture.wav", picture("PNG"), "no_audio_track"  # whatever a file is called
    yield "picture.mp4", picture("PNG") + b"!", "no_audio_track"
    yield "really-mp3.wav", whole["lossy.mp3"] + b"!", None  # libsndfile looks at the content
    yield "really-wav.mp3", wav + b"!", ROW
    yield "list.mp4", b"ffconcat version 1.0\nfile lossy.mp3\n", "undecodable"
    yield "list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nlossy.mp3\n#EXT-X-ENDLIST\n", "undecodable"


def image_contents() -> Iterator[tuple[str, bytes, str | None]]:
    face = Image.open(io.BytesIO(picture("PNG")))
    whole = {
        "a.png": picture("PNG"),
        "b.jpg": picture("JPEG"),
        "c.gif": picture("GIF"),
        "d.tiff": picture("TIFF", compression="tiff_lzw"),
        "e.webp": picture("WEBP"),
        "f.bmp": picture("BMP"),
        "film.mp4": film(),
    }
    for name, content in whole.items():
        yield name, content, ROW
        for other, broken in damaged(name, content, flips=16):
            yield other, broken, None
    yield "animated.gif", picture("GIF", face.convert("P"), save_all=True, append_images=[face] * 3), ROW
    yield "cmyk.jpg", picture("JPEG", face.convert("CMYK")), ROW
    for mode in ("1", "L", "LA", "P", "RGBA"):
        yield f"{mode}.png", picture("PNG", face.convert(mode)), ROW
    yield "clear.png", picture("PNG", face.convert("P"), transparency=3), ROW
    deep = np.random.default_rng(1).integers(0, 1 << 16, (40, 48), np.uint16)
    yield "deep.png", picture("PNG", Image.fromarray(deep)), ROW
    yield "float.tiff", picture("TIFF", Image.fromarray(deep.astype(np.float32))), "undecodable"
    yield "line.png", picture("PNG", face.resize((1, 4000))), ROW
    yield "dot.png", picture("PNG", face.resize((1, 1))), ROW
    yield "zeros.png", picture("PNG", Image.new("L", (8000, 8000))), ROW
    yield "clear-zeros.png", picture("PNG", Image.new("LA", (6000, 6000))), ROW
    for size in ((60000, 60000), (9700, 9300), (9500, 9000), (2**31 - 1, 2)):
        yield f"says{size[0]}.png", png_header(*size), "too_large"
    yield "nothing.png", png_header(0, 0), "undecodable"
    yield "hollow.png", png_header(64, 64), "undecodable"
    yield "program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "undecodable"
    yield "text.png", b"These are words and no picture. " * 20, "undecodable"
    yield "sound.png", sound("WAV", tone()), "undecodable"
    yield "sound.mp4", sound("WAV", tone()) + b"!", "no_video_track"
    yield "really-jpg.png", whole["b.jpg"] + b"!", ROW
    yield "list.mp4", b"ffconcat version 1.0\nfile film.mp4\n", "undecodable"


def text_contents() -> dict[str, tuple[str, str]]:
    words = "the kids are talking by the door "
    marks = "\u0301\u0316"
    named = {
        "empty": ("", "empty_text"),
        "blank": (" \t\n\u3000", "empty_text"),
        "nul": ("\0" * 9, "empty_text"),
        "controls": ("\x01\x02\x7f\x9f", "empty_text"),
        "right-to-left": ("\u200f\u202e\u2067", "empty_text"),
        "joiners": ("\u200d\ufeff\u200b", "empty_text"),
        "words and nul": ("no\0 way", ROW),
        "surrogate": ("no \ud800 way", "undecodable"),
        "surrogate last": ("no way \udfff", "undecodable"),
        "many words": (words * 30000, ROW),
        "one word": ("a" * 1_000_000, "unknown_text"),
        "too long": (words * 40000, "too_large"),
        "marks": ("a" + marks * 100_000, "too_large"),
        "some marks": ("a" + marks * 400, ROW),
        "emoji": ("\U0001f600\U0001f1f5\U0001f1f1", "unknown_text"),
        "not assigned": ("\u0378\U000e0fff", "unknown_text"),
        "quotes": ("'\"`;--\\", ROW),
        "tags": ("[CLS] [SEP] [MASK] [PAD]", ROW),
    }
    generator = np.random.default_rng(0)
    for i in range(40):
        points = generator.integers(0, 0x30000, 1 + 5 * i)
        noise = "".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF)
        named[f"noise {i}"] = (noise, None)
    return named


def odd_names(folder: Path, suffix: str, good: bytes) -> Iterator[tuple[Path, str | None]]:
    """Yield paths that are odd, with what must become of them."""
    for name in ("a\nb", "'quotes\"", "emoji \U0001f600", "  ", "%d", "-rf", "a" * 240):
        path = folder / f"{name}{suffix}"
        path.write_bytes(good)
        yield path, ROW
    path = folder / os.fsdecode(b"\xff\xfe" + suffix.encode())
    path.write_bytes(good)
    yield path, None
    for name, target in (("loop", f"loop{suffix}"), ("one", f"two{suffix}"), ("two", f"one{suffix}")):
        (folder / f"{name}{suffix}").symlink_to(folder / target)
        yield folder / f"{name}{suffix}", "unreadable_file"
    (folder / f"dangling{suffix}").symlink_to(folder / "nowhere")
    yield folder / f"dangling{suffix}", "missing_file"
    (folder / f"folder{suffix}").mkdir()
    yield folder / f"folder{suffix}", "unreadable_file"
    os.mkfifo(folder / f"pipe{suffix}")
    yield folder / f"pipe{suffix}", "unreadable_file"
    yield Path("/dev/zero"), "unreadable_file"
    yield folder / f"nul\0{suffix}", "unreadable_file"
    yield folder / f"lone\ud800{suffix}", "unreadable_file"
    yield folder / ("b" * 5000 + suffix), "unreadable_file"
    yield folder / f"missing{suffix}", "missing_file"
    yield folder / f"a file{suffix}", ROW
    (folder / f"a file{suffix}").write_bytes(good)
    yield folder / f"a file{suffix}" / "below", "unreadable_file"
    if os.geteuid() != 0:
        (folder / f"locked{suffix}").write_bytes(good)
        (folder / f"locked{suffix}").chmod(0)
        yield folder / f"locked{suffix}", "unreadable_file"


def written(folder: Path, modality: str) -> tuple[Cases, Wanted]:
    """Write all cases of a modality; sample ids are plain, whatever the file is called."""
    if modality == "text":
        named = text_contents()
        cases = {name: Sample(id=name, corpus="c", text=text) for name, (text, _) in named.items()}
        return cases, {name: wanted for name, (_, wanted) in named.items() if wanted}
    medium, suffix, contents = ("audio", ".wav", speech_contents()) if modality == "speech" else (
        "image", ".png", image_contents())  # fmt: skip
    good = sound("WAV", tone(0.3)) if modality == "speech" else picture("PNG", Image.new("L", (32, 32), 99))
    cases, wanted = {}, {}
    for name, content, becomes in contents:
        (folder / name).write_bytes(content)
        field = "video" if name.endswith(".mp4") else medium
        cases[name] = Sample(id=name, corpus="c", **{field: folder / name})
        wanted[name] = becomes
    for i, (path, becomes) in enumerate(odd_names(folder, suffix, good)):
        name = f"odd {i} {path.name[:20]!a}"
        cases[name] = Sample(id=name, corpus="c", **{medium: path})
        wanted[name] = becomes
    return cases, {name: becomes for name, becomes in wanted.items() if becomes}


def fresh(modality: str, name: str, folder: Path) -> Extractor:
    kind = find_extractor(modality, name)
    return kind(kind.config_type(**SMALL.get(name, {})), Inputs(root=Root(folder)))


def rows_of(extractor: Extractor, samples: list[Sample]) -> list[np.ndarray]:
    store = FeatureStore(extractor.inputs.root, extractor.identity)
    return [np.asarray(row, np.float64) for row in store.read([s.key(extractor.modality) for s in samples])]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_books(
    modality: str, name: str, folder: Path, good: list[Sample], cases: Cases, wanted: Wanted
) -> dict[str, int]:
    """Extract good and bad together and check all that must hold; return how many went which way."""
    alone = fresh(modality, name, folder / "alone")
    extract(alone, good, alone.inputs.root, RUNTIME, report=Silent())
    together = fresh(modality, name, folder / "together")
    bad = list(cases.values())
    mixed = [*bad[::2], *good, *bad[1::2]]

    before = peak_mib()
    books = extract(together, mixed, together.inputs.root, RUNTIME, report=Silent())
    grown = peak_mib() - before

    store = FeatureStore(together.inputs.root, together.identity)
    failed = {row.sample_id: row for row in store.quarantined()}
    assert (books.samples, books.absent, books.cached) == (len(mixed), 0, 0)
    assert books.extracted + books.quarantined == len(mixed)
    assert set(failed) == {sample.id for sample in mixed if not_in(store, sample, modality)}
    assert len(failed) == books.quarantined
    for row in failed.values():
        assert row.reason in set(REASONS) - {"recovered", "timeout", "upstream"}
        who, _, what = row.message.partition(": ")
        assert who == row.sample_id
        assert 0 < len(what) < 500
        assert row.message.isprintable()
    became = {sample.id: failed[sample.id].reason if sample.id in failed else ROW for sample in bad}
    assert {case: became[case] for case in wanted} == wanted
    for row, same in zip(rows_of(together, good), rows_of(alone, good), strict=True):
        if modality == "speech":
            np.testing.assert_array_equal(row, same)
        else:
            assert row @ same >= 0.9999 * np.linalg.norm(row) * np.linalg.norm(same)
    assert grown < MOST_MIB
    counts = dict(Counter(became.values()).most_common())
    print(f"{modality}: {len(bad)} inputs, {counts}, peak memory +{grown:.0f} MiB")
    return counts


def not_in(store: FeatureStore, sample: Sample, modality: str) -> bool:
    try:
        return sample.key(modality) not in store.index()
    except OSError:  # MediaError
        return True


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Cases, Wanted]]:
    return {name: written(tmp_path_factory.mktemp(name), name) for name in ("speech", "image", "text")}


def test_there_are_hundreds_of_them(all_cases: dict[str, tuple[Cases, Wanted]]) -> None:
    assert sum(len(cases) for cases, _ in all_cases.values()) >= 300


@pytest.mark.parametrize(("modality", "name"), [("speech", "acoustic"), ("image", "resnet"), ("text", "bert")])
def test_hostile_media_get_a_row_or_a_reason_and_harm_nobody(
    all_cases: dict[str, tuple[Cases, Wanted]],
    people: list[Sample],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    modality: str,
    name: str,
) -> None:
    counts = check_books(modality, name, tmp_path, people, *all_cases[modality])
    record_property("reasons", counts)
    assert counts[ROW] > 0
