import errno
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from time import sleep

import numpy as np
import pytest
import torch

from extractors._embedding import Embedding
from extractors.extractor import Description, Extractor, Inputs, Runtime, find_extractor
from extractors.plan import plan
from extractors.run import _opened, _window, extract
from extractors.text.bert import Bert, BertConfig, Tokens
from stores.errors import ConfigError, MediaError, RowsDamaged
from stores.features import FeatureStore
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample
from stores.spec import FeatureSpec, embedding_spec

RUNTIME = Runtime(device="cpu", batch_size=2, decode_workers=2, queue=3, block_size=2)


@dataclass(frozen=True)
class CountingConfig:
    poison: str = "poison"


class Cramped(Bert):
    """BERT on a device that holds no more than so many tokens."""

    holds = 40

    def embed(self, items: Sequence[Tokens]) -> Iterator[np.ndarray]:
        if len(items) * max(self.length(item) for item in items) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().embed(items)


class Counting(Extractor[str]):
    """Text -> (number of words, 1): an extractor whose rows can be told by hand and that fails on demand."""

    modality = "text"
    version = 1
    config_type = CountingConfig
    batches: list[list[int]]

    def spec(self) -> FeatureSpec:
        return embedding_spec(2, self.inputs.numerics)

    def decode(self, sample: Sample, key: str) -> str:
        if sample.text == "broken":
            raise MediaError(f"{sample.id}: broken", reason="undecodable")
        if sample.text == "surprise":
            raise ZeroDivisionError("decoders raise anything")
        return sample.text or ""

    def length(self, item: str) -> int:
        return len(item.split())

    def remarks(self, item: str) -> Sequence[str]:
        return ("long",) if self.length(item) > 2 else ()

    def embed(self, items: Sequence[str]) -> Iterator[np.ndarray]:
        self.batches.append([self.length(item) for item in items])
        if self.config.poison in items:
            raise RuntimeError("poisoned")
        for item in items:
            yield np.array([np.nan if item == "infinite" else self.length(item), 1.0])


@pytest.fixture
def counting(root: Root, monkeypatch: pytest.MonkeyPatch) -> Counting:
    extractor = Counting(CountingConfig(), Inputs(root=root))
    extractor.batches = []
    monkeypatch.setattr("extractors.run._opened", lambda *_: extractor)
    return extractor


def say(*texts: str | None) -> list[Sample]:
    return [Sample(id=f"c/{i}", corpus="c", text=text) for i, text in enumerate(texts)]


def run(extractor: Extractor, samples: list[Sample], runtime: Runtime = RUNTIME, **more: object) -> dict[str, int]:
    return extract(extractor, samples, extractor.inputs.root, runtime, report=Silent(), **more).as_dict()


def reasons(extractor: Extractor) -> dict[str, tuple[str, str, int]]:
    rows = FeatureStore(extractor.inputs.root, extractor.identity).quarantined()
    return {row.sample_id: (row.stage, row.reason, row.attempts) for row in rows}


def counts(extractor: Extractor) -> list[float]:
    store = FeatureStore(extractor.inputs.root, extractor.identity)
    return sorted(float(row[0]) for row in store.read(sorted(store.index())))


def test_rows_are_written_and_the_books_balance(counting: Counting) -> None:
    books = run(counting, say("a", "a b", None, "a b c", "d"))
    assert books == {"samples": 5, "absent": 1, "cached": 0, "extracted": 4, "quarantined": 0, "distinct": 4}
    assert counts(counting) == [1, 1, 2, 3]


def test_a_second_run_extracts_nothing(counting: Counting) -> None:
    run(counting, say("a", "a b"))
    counting.batches.clear()
    assert run(counting, say("a", "a b"))["cached"] == 2
    assert counting.batches == []


def test_samples_that_share_a_key_are_embedded_once(counting: Counting) -> None:
    books = run(counting, say("a b", "a b", "a b", "c"))
    assert (books["extracted"], books["distinct"]) == (4, 2)
    assert sum(map(len, counting.batches)) == 2


def test_failures_are_rows_and_stop_nobody(counting: Counting) -> None:
    books = run(counting, say("a", "broken", "surprise", "poison", "infinite", "", "a b", "broken"))
    assert books == {"samples": 8, "absent": 0, "cached": 0, "extracted": 2, "quarantined": 6, "distinct": 2}
    assert reasons(counting) == {
        "c/1": ("decode", "undecodable", 1),
        "c/2": ("decode", "undecodable", 1),
        "c/3": ("embed", "embed_failed", 1),
        "c/4": ("validate", "not_finite", 1),
        "c/5": ("read", "empty_text", 1),
        "c/7": ("decode", "undecodable", 1),
    }


def test_a_failure_is_tried_again_on_request_only(counting: Counting) -> None:
    run(counting, say("a", "poison"))
    counting.batches.clear()
    assert run(counting, say("a", "poison"))["quarantined"] == 1
    assert counting.batches == []
    run(counting, say("a", "poison"), retry=("undecodable",))
    assert counting.batches == []
    run(counting, say("a", "poison"), retry=("embed_failed",))
    assert reasons(counting)["c/1"] == ("embed", "embed_failed", 2)
    assert len(counting.inputs.root.names(f"features/text/{counting.identity.id}/quarantine")) == 2


def test_what_failed_under_one_extractor_is_tried_again_under_another(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(counting, say("a", "poison"))["quarantined"] == 1
    other = Counting(CountingConfig(poison="something else"), counting.inputs)
    other.batches = []
    monkeypatch.setattr("extractors.run._opened", lambda *_: other)
    assert run(other, say("a", "poison"))["extracted"] == 2


def test_a_new_sample_shares_the_failure_of_its_key(counting: Counting) -> None:
    run(counting, say("poison"))
    counting.batches.clear()
    assert run(counting, say("poison", "poison"))["quarantined"] == 2
    assert counting.batches == []
    assert set(reasons(counting)) == {"c/0", "c/1"}


def test_a_key_that_cannot_be_read_is_looked_at_every_time_and_recorded_once(counting: Counting) -> None:
    for _ in range(3):
        assert run(counting, say("a", " "))["quarantined"] == 1
    assert len(counting.inputs.root.names(f"features/text/{counting.identity.id}/quarantine")) == 1


def test_batches_hold_items_alike_in_length(counting: Counting) -> None:
    texts = [" ".join(f"{i}{j}" for j in range(length)) for i, length in enumerate([9, 1, 8, 2, 7, 3])]
    run(counting, say(*texts), Runtime(device="cpu", batch_size=2, queue=6, block_size=6))
    assert counting.batches == [[1, 2], [3, 7], [8, 9]]


@pytest.mark.parametrize(
    ("batch_size", "batches"),
    [(None, [[1, 1, 1], [4, 5], [11]]), (2, [[1, 1], [1, 4], [5], [11]]), (1, [[1], [1], [1], [4], [5], [11]])],
)
def test_items_times_the_longest_stay_within_the_budget(
    counting: Counting, batch_size: int | None, batches: list[list[int]]
) -> None:
    counting.capacity = 10
    texts = [" ".join(f"{i}{j}" for j in range(length)) for i, length in enumerate([11, 1, 5, 1, 4, 1])]
    run(counting, say(*texts), Runtime(device="cpu", batch_size=batch_size))
    assert counting.batches == batches


def test_the_first_windows_are_small_so_that_there_is_something_to_embed_soon(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extractors.run._FIRST_WINDOW", 1)
    counting.capacity = 1000
    run(counting, say(*(f"{i}" for i in range(11))), Runtime(device="cpu", queue=4))
    assert [len(batch) for batch in counting.batches] == [1, 2, 4, 4]


def test_items_are_decoded_while_the_model_is_opened(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, decode = Event(), counting.decode

    def told(sample: Sample, key: str) -> str:
        decoded.set()
        return decode(sample, key)

    def opened(*_: object) -> Counting:
        assert decoded.wait(20), "nothing was decoded meanwhile"
        return counting

    monkeypatch.setattr(counting, "decode", told)
    monkeypatch.setattr("extractors.run._opened", opened)
    monkeypatch.setattr(Counting, "decodes_unopened", True)
    assert run(counting, say("a", "b"))["extracted"] == 2


def test_a_lost_part_is_extracted_again(counting: Counting) -> None:
    samples = say("a", "a b", "a b c", "a b c d")
    run(counting, samples)
    folder = counting.inputs.root.local(f"features/text/{counting.identity.id}/parts")
    seals = sorted(folder.glob("*.parquet"))
    assert len(seals) == 2
    seals[0].unlink()
    books = run(counting, samples)
    assert (books["cached"], books["extracted"]) == (2, 2)
    assert counts(counting) == [1, 2, 3, 4]


def test_long_rows_fill_several_parts_a_block(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors._part.PART_BYTES", 8)  # two rows of (2,) float16
    run(counting, say("a", "b", "c", "d", "e"), Runtime(device="cpu", batch_size=2, block_size=5))
    assert len(FeatureStore(counting.inputs.root, counting.identity).seals()) == 3


def test_the_receipt_of_a_run_adds_up_and_is_kept_with_the_books(counting: Counting) -> None:
    said: list[str] = []

    class Noting(Silent):
        def note(self, message: str) -> None:
            said.append(message)

    root = counting.inputs.root
    books = extract(counting, say("a", "b b", "broken", None), root, RUNTIME, report=Noting())
    receipt = books.receipt
    assert receipt is not None
    assert (receipt.samples, receipt.decode_workers, receipt.halved) == (3, 2, 0)
    assert set(receipt.stages) == {"read", "open", "decode", "embed", "write", "waiting", "waiting_to_write"}
    assert receipt.stages["embed"] + receipt.stages["waiting"] <= receipt.loop + 0.002
    assert receipt.loop <= receipt.seconds
    assert said[-1] == f"{counting.identity.id}: {receipt}"
    store = FeatureStore(root, counting.identity)
    assert [kept.receipt for _, kept in store.books()] == [receipt]
    seals = store.seals()
    assert all(set(seal.receipt.stages) == {"read", "decode", "embed", "waiting", "write"} for seal in seals)
    assert store.cost()["rows"] == 2
    again = extract(counting, say("a", "b b"), root, RUNTIME, report=Silent()).receipt
    assert again is not None
    assert (again.samples, again.verdict) == (0, "nothing to do")


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("unopened", [False, True])
def test_seals_tell_of_all_the_loop_took_but_for_the_last_writing(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, unopened: bool, elsewhere: bool
) -> None:
    decode = counting.decode

    def slow(sample: Sample, key: str) -> str:
        sleep(0.02)  # decoding bound
        return decode(sample, key)

    def opened(*_: object) -> Counting:
        sleep(0.01)
        return counting

    monkeypatch.setattr(counting, "decode", slow)
    monkeypatch.setattr("extractors.run._opened", opened)
    monkeypatch.setattr(Counting, "decodes_unopened", unopened)
    more = {"map_blocks": map} if elsewhere else {}
    samples = say(*(f"{i}" for i in range(12)))
    receipt = extract(counting, samples, counting.inputs.root, RUNTIME, report=Silent(), **more).receipt
    assert receipt is not None
    cost = FeatureStore(counting.inputs.root, counting.identity).cost()
    sealed, took, last = cost["stages"], receipt.stages, receipt.stages["waiting_to_write"]
    rounding = 0.0005 * 13  # of six parts, six blocks and the receipt itself
    for stage in ("embed", "decode"):
        assert sealed[stage] == pytest.approx(took[stage], abs=rounding)
    assert took["waiting"] - last - rounding <= sealed["waiting"] <= took["waiting"] + rounding
    assert sealed["waiting"] + sealed["embed"] - 2 * rounding <= cost["seconds"] <= receipt.loop + rounding


def test_blocks_are_embedded_one_at_a_time_however_many_threads_a_worker_has(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most, embed = 0, 0, counting.embed

    def watched(items: Sequence[str]) -> list[np.ndarray]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        sleep(0.02)
        inside -= 1
        return list(embed(items))

    monkeypatch.setattr(counting, "embed", watched)
    monkeypatch.setattr("extractors.run._SMALL_BLOCK", 2)
    with ThreadPoolExecutor(3) as pool:
        books = extract(
            counting,
            say(*(f"{i}" for i in range(12))),
            counting.inputs.root,
            RUNTIME,
            report=Silent(),
            map_blocks=pool.map,
        )
    assert (books.extracted, most) == (12, 1)


def test_the_receipt_says_how_and_counts_remarks(counting: Counting) -> None:
    run(counting, say("a", "a b c", "a b c d"), Runtime(device="cpu"))
    [seal] = FeatureStore(counting.inputs.root, counting.identity).seals()
    assert (seal.receipt.device, seal.receipt.dtype) == ("cpu", "float32")
    assert seal.receipt.counts == {"rows": 3, "bytes": 12, "long": 2}
    assert seal.receipt.versions == {"numpy": np.__version__}


def test_progress_counts_every_sample_to_be_done(counting: Counting) -> None:
    class Tally(Silent):
        total = done = 0

        def start(self, name: str, total: int, unit: str) -> None:
            self.total = total

        def advance(self, name: str, n: int = 1) -> None:
            self.done += n

    tally = Tally()
    samples = say("a", "a", "broken", "poison", "c d", None)
    extract(counting, samples, counting.inputs.root, RUNTIME, report=tally)
    assert tally.done == tally.total == 5


def test_missing_and_damaged_files_are_quarantined(make: Callable[..., Extractor], tmp_path: Path) -> None:
    extractor = make("image", "resnet")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    samples = [Sample(id=name, corpus="c", image=tmp_path / f"{name}.png") for name in ("0", "bad", "missing")]
    books = run(extractor, samples)
    assert (books["extracted"], books["quarantined"]) == (1, 2)
    assert reasons(extractor) == {"bad": ("decode", "undecodable", 1), "missing": ("read", "missing_file", 1)}


def test_a_sample_without_upstream_row_waits_for_it(
    make: Callable[..., Extractor], people: list[Sample], write_tone: Callable[..., Path]
) -> None:
    extractor = make("speech", "lstm_cnn")
    late = replace(people[0], id="c/late", audio=write_tone("late.wav", 0.4, hertz=500))
    books = run(extractor, [*people, late])
    assert (books["extracted"], books["quarantined"]) == (6, 1)
    assert reasons(extractor) == {"c/late": ("read", "upstream", 1)}
    run(make("speech", "acoustic"), [late])
    assert run(extractor, [*people, late])["extracted"] == 1


def test_rows_do_not_depend_on_batches_blocks_or_threads(
    make: Callable[..., Extractor], people: list[Sample], tmp_path: Path
) -> None:
    found = []
    small = Runtime(device="cpu", batch_size=1, decode_workers=1, block_size=4)
    for i, runtime in enumerate((Runtime(device="cpu"), small)):
        here = make("text", "bert")
        extractor = type(here)(here.config, Inputs(root=Root(tmp_path / str(i))))
        run(extractor, people, runtime)
        store = FeatureStore(extractor.inputs.root, extractor.identity)
        found.append(np.stack(store.read([sample.key("text") for sample in people])).astype(np.float64))
    cosine = (found[0] * found[1]).sum(axis=1) / np.linalg.norm(found[0], axis=1) / np.linalg.norm(found[1], axis=1)
    assert cosine.min() >= 0.9999


def test_blocks_can_be_sent_to_other_processes(people: list[Sample], tmp_path: Path) -> None:
    kind = find_extractor("speech", "acoustic")
    here, there = (kind(kind.config_type(), Inputs(root=Root(tmp_path / name))) for name in ("here", "there"))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        books = extract(there, people, there.inputs.root, RUNTIME, report=Silent(), map_blocks=pool.map)
    assert books.as_dict() == run(here, people)
    digests = [
        {key: place.digest for key, place in FeatureStore(extractor.inputs.root, extractor.identity).index().items()}
        for extractor in (here, there)
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == len(people)


def test_a_plan_writes_nothing(counting: Counting) -> None:
    found = plan(counting, say("a", "a", None, ""), counting.inputs.root)
    assert (found.pending, len(found.todo), len(found.absent), len(found.quarantined)) == (2, 1, 1, 1)
    assert counting.inputs.root.names() == []


@pytest.mark.parametrize("replacement", ["another picture", "no picture"])
def test_a_file_replaced_after_planning_is_recorded_without_a_key_and_tried_again(
    make: Callable[..., Extractor],
    write_face: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    replacement: str,
) -> None:
    extractor = make("image", "resnet")
    sample = Sample(id="c/1", corpus="c", image=write_face("face.png", 1))
    assert sample.image is not None
    original, decode = sample.image.read_bytes(), type(extractor).decode

    def replaced(self: Extractor, sample: Sample, key: str) -> np.ndarray:
        if replacement == "no picture":
            sample.image.write_bytes(b"no picture")
        else:
            write_face("face.png", 2)
        return decode(self, sample, key)

    with monkeypatch.context() as patch:
        patch.setattr(type(extractor), "decode", replaced)
        assert run(extractor, [sample])["quarantined"] == 1
    [row] = FeatureStore(extractor.inputs.root, extractor.identity).quarantined()
    assert (row.key, row.stage, row.reason) == (None, "read", "unreadable_file")
    assert "changed while it was being extracted" in row.message
    sample.image.write_bytes(original)
    assert run(extractor, [sample])["extracted"] == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_failure_of_the_disk_is_tried_again_every_run(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    def failing(sample: Sample, key: str) -> str:
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError as error:
            if wrapped:
                raise MediaError(f"{sample.id}: {error}", reason="undecodable") from error
            raise

    with monkeypatch.context() as patch:
        patch.setattr(counting, "decode", failing)
        assert run(counting, say("a"))["quarantined"] == 1
    [row] = FeatureStore(counting.inputs.root, counting.identity).quarantined()
    assert (row.key, row.stage, row.reason) == (None, "read", "unreadable_file")
    assert run(counting, say("a"))["extracted"] == 1


@pytest.mark.parametrize("method", ["warm", "decode", "embed"])
def test_a_missing_package_stops_the_run(counting: Counting, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def failing(*_: object) -> None:
        raise ImportError("the machine")

    monkeypatch.setattr(counting, method, failing)
    with pytest.raises(ImportError, match="the machine"):
        run(counting, say("a"))
    assert reasons(counting) == {}


@pytest.mark.parametrize("method", ["decode", "embed"])
def test_what_runs_out_of_memory_is_tried_by_the_next_runs_three_times_in_all(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(counting, method, failing)
        for attempt in (1, 2, 3, 3):
            assert run(counting, say("a"))["quarantined"] == 1
            assert reasons(counting) == {"c/0": (method, "out_of_memory", attempt)}
    said: list[str] = []

    class Noting(Silent):
        def note(self, message: str) -> None:
            said.append(message)

    extract(counting, say("a"), counting.inputs.root, RUNTIME, report=Noting())  # it could be made now, but who knows
    assert "1 samples ran out of time or memory 3 times and are left out; --retry-quarantined" in said[-1]
    assert run(counting, say("a"), retry={"out_of_memory"})["extracted"] == 1


def test_what_ran_out_of_memory_is_made_by_the_next_run(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(counting, "decode", failing)
        assert run(counting, say("a"))["quarantined"] == 1
    assert run(counting, say("a"))["extracted"] == 1


def test_a_package_missing_in_a_decoder_stops_the_run(
    make: Callable[..., Extractor], write_face: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = make("image", "resnet")

    def failing(*_: object, **__: object) -> None:
        raise ImportError("no decoder")

    monkeypatch.setattr("extractors.image._images._cut", failing)
    with pytest.raises(ImportError, match="no decoder"):
        run(extractor, [Sample(id="c/1", corpus="c", image=write_face("face.png"))])


def test_a_device_that_fails_every_sample_of_a_batch_stops_the_run(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(items: Sequence[str]) -> Iterator[np.ndarray]:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(counting, "embed", failing)
    with pytest.raises(RuntimeError, match="the device is lost"):
        run(counting, say("a", "b"))
    assert reasons(counting) == {}


def test_a_sample_that_takes_too_long_is_quarantined_and_delays_nobody(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, decode = Event(), counting.decode

    def stuck(sample: Sample, key: str) -> str:
        if sample.text == "hangs":
            let_go.wait()
        return decode(sample, key)

    monkeypatch.setattr(counting, "decode", stuck)
    samples = say("a", "hangs", "a b", "broken", "a b c", "a b c d")
    try:
        books = run(counting, samples, replace(RUNTIME, time_limit=0.1))
    finally:
        let_go.set()
    assert (books["extracted"], books["quarantined"]) == (4, 2)
    assert reasons(counting) == {"c/1": ("decode", "timeout", 1), "c/3": ("decode", "undecodable", 1)}
    assert counts(counting) == [1, 2, 3, 4]


@pytest.mark.parametrize(("cores", "threads"), [(1, 2), (4, 2), (12, 6), (64, 16)])
def test_half_of_the_cores_decode_but_two_at_least(monkeypatch: pytest.MonkeyPatch, cores: int, threads: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert Runtime().decode_workers == threads


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_a_time_limit_is_above_zero(wrong: float) -> None:
    with pytest.raises(ConfigError, match="time_limit should be above 0 s"):
        Runtime(time_limit=wrong)


def failing_on(counting: Counting, monkeypatch: pytest.MonkeyPatch, fails: Callable[[str], bool]) -> None:
    """Let the device fail each batch with an item that `fails`."""

    def embed(items: Sequence[str]) -> Iterator[np.ndarray]:
        if any(fails(item) for item in items):
            raise RuntimeError("no kernel for that")
        return Counting.embed(counting, items)

    monkeypatch.setattr(counting, "embed", embed)


def test_a_batch_of_nothing_but_bad_samples_does_not_stop_a_run_that_works(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_on(counting, monkeypatch, lambda item: "bad" in item)
    texts = ["one", "two", "bad is 3", "4 is bad", "now it is good again"]
    books = run(counting, say(*texts), replace(RUNTIME, queue=8, block_size=8))
    assert (books["extracted"], books["quarantined"]) == (3, 2)
    assert {stage for stage, *_ in reasons(counting).values()} == {"embed"}


def test_a_first_batch_of_bad_samples_is_judged_by_the_samples_after_it(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_on(counting, monkeypatch, lambda item: "bad" in item)
    books = run(counting, say("bad", "bad2", "bad 3 3", "good 4 4 4"), replace(RUNTIME, queue=4, block_size=4))
    assert (books["extracted"], books["quarantined"]) == (1, 3)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_device_lost_on_the_way_stops_the_run_and_blames_no_sample(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    embedded: list[str] = []

    def lost_after_four(item: str) -> bool:
        embedded.append(item)
        return len(embedded) > 4

    failing_on(counting, monkeypatch, lost_after_four)
    with pytest.raises(RuntimeError, match="no kernel for that"):
        run(counting, say(*"abcdefgh"), replace(RUNTIME, batch_size=batch_size))
    assert reasons(counting) == {}
    monkeypatch.undo()


def test_a_device_that_never_worked_stops_the_run_in_batches_of_one_too(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_on(counting, monkeypatch, lambda _: True)
    with pytest.raises(RuntimeError, match="no kernel for that"):
        run(counting, say("a", "b", "c"), replace(RUNTIME, batch_size=1))
    assert reasons(counting) == {}


def test_batches_that_do_not_fit_into_memory_are_halved_and_every_row_is_made(
    people: list[Sample], root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Noting(Silent):
        def note(self, message: str) -> None:
            said.append(message)

    roomy = Bert(BertConfig(), Inputs(root=Root(tmp_path / "roomy")))
    run(roomy, people, Runtime(device="cpu"))
    cramped = Cramped(BertConfig(), Inputs(root=root))
    cramped.open(Runtime(device="cpu"))
    monkeypatch.setattr("extractors.run._opened", lambda *_: cramped)
    books = extract(cramped, people, root, Runtime(device="cpu"), report=Noting())
    assert (books.extracted, books.quarantined) == (6, 0)
    assert books.receipt is not None
    assert books.receipt.halved >= 2
    assert cramped.capacity <= cramped.holds
    assert sum("do not fit into memory" in message for message in said) == 1
    assert f"batches halved {books.receipt.halved} times" in said[-1]
    keys = [sample.key("text") for sample in people]
    rows = [
        np.stack(FeatureStore(kind.inputs.root, kind.identity).read(keys)).astype(float) for kind in (roomy, cramped)
    ]
    cosine = (rows[0] * rows[1]).sum(axis=1) / np.linalg.norm(rows[0], axis=1) / np.linalg.norm(rows[1], axis=1)
    assert cosine.min() >= 0.9999
    more = say("This is another one", "and one more")
    books = extract(cramped, more, root, Runtime(device="cpu"), report=Silent())
    assert books.receipt is not None
    assert (books.extracted, books.receipt.halved) == (2, 0)  # what was learned of the device is remembered


def test_a_batch_may_cost_more_on_a_gpu(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(self: Bert, runtime: Runtime) -> None:
        self.computed_on = ("cuda:0", "bfloat16")

    monkeypatch.setattr(Bert, "open", opened)
    assert _opened(Description.of(Bert(BertConfig(), Inputs(root=root))), "auto").capacity == 32 * Bert.budget


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch finds none")
def test_rows_made_on_a_gpu_agree_with_those_of_the_cpu(people: list[Sample], tmp_path: Path) -> None:
    found = []
    for device in ("cpu", "cuda"):
        extractor = Bert(BertConfig(), Inputs(root=Root(tmp_path / device)))
        books = extract(extractor, people, extractor.inputs.root, Runtime(device=device), report=Silent())
        assert books.extracted == len(people)
        store = FeatureStore(extractor.inputs.root, extractor.identity)
        assert next(iter(store.summary()["computed_on"])).startswith(device)
        found.append(np.stack(store.read([sample.key("text") for sample in people])).astype(float))
    cosine = (found[0] * found[1]).sum(axis=1) / np.linalg.norm(found[0], axis=1) / np.linalg.norm(found[1], axis=1)
    assert cosine.min() >= 0.9999


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_an_item_too_large_for_memory_is_quarantined_where_others_fit(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def embed(items: Sequence[str]) -> Iterator[np.ndarray]:
        if sum(map(counting.length, items)) > 3:
            raise error
        return Counting.embed(counting, items)

    monkeypatch.setattr(counting, "embed", embed)
    books = run(counting, say("a a a a", "b", "c c", "d d d", "e"), replace(RUNTIME, batch_size=None, queue=8))
    assert (books["extracted"], books["quarantined"]) == (4, 1)
    assert reasons(counting) == {"c/0": ("embed", "out_of_memory", 1)}


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_on_a_machine_where_nothing_fits_every_sample_waits_for_the_next_run(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def embed(items: Sequence[str]) -> Iterator[np.ndarray]:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(counting, "embed", embed)
        assert run(counting, say("a", "b", "c d", "e f"))["quarantined"] == 4
    assert {found[1] for found in reasons(counting).values()} == {"out_of_memory"}
    assert run(counting, say("a", "b", "c d", "e f"))["extracted"] == 4


def test_the_probe_is_the_shortest_item_that_was_embedded(counting: Counting) -> None:
    embedding = Embedding(counting)
    for batch in (["a b c", "a b"], ["a", "a b c d"], ["a b c d e"]):
        embedding.rows(batch)
    counting.batches.clear()
    [row] = embedding.rows(["poison"])
    assert isinstance(row, MediaError)
    assert counting.batches == [[1], [1]]  # the poisoned one, and "a" once more


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["broken"] * 5 + ["a"] * 4, "5 of 9 samples failed for one reason, undecodable (c/0: broken)"),
        (["broken"] * 5 + ["a"] * 5, None),  # no more than half
        (["broken"] * 4, None),  # each may well be broken by itself
        (["broken"] * 3 + ["poison"] * 3 + ["a"], None),  # for two reasons
        (["broken"] * 5 + [None] * 20, "5 of 5 samples failed for one reason, undecodable (c/0: broken)"),
    ],
)
def test_a_run_says_so_if_most_of_it_failed_for_one_reason(counting: Counting, texts: list[str], told: str) -> None:
    samples = [Sample(id=f"c/{i}", corpus="c", text=text) for i, text in enumerate(texts)]
    books = extract(counting, samples, counting.inputs.root, RUNTIME, report=Silent())
    assert books.failure == told


def test_what_failed_long_ago_counts_as_long_as_it_is_most_of_the_corpus(counting: Counting) -> None:
    def failure(samples: list[Sample], **more: object) -> str | None:
        return extract(counting, samples, counting.inputs.root, RUNTIME, report=Silent(), **more).failure

    broken = say(*["broken"] * 6)
    assert failure(broken) is not None
    assert failure(broken) is not None  # nothing is tried, and nothing is there
    words = [Sample(id=f"d/{i}", corpus="c", text=f"word {i}") for i in range(20)]
    assert failure([*broken, *words]) is None
    more = [Sample(id=f"e/{i}", corpus="c", text="surprise") for i in range(5)]
    assert "5 of 5" in str(failure([*broken, *words, *more]))  # all that is new tonight
    assert failure([*broken, *words, *more]) is None
    assert failure([*broken, *words, *more], retry={"undecodable"}) is None


def test_missing_files_are_most_of_the_corpus_or_a_few_of_many(
    make: Callable[..., Extractor], people: list[Sample]
) -> None:
    extractor = make("image", "resnet")
    gone = [replace(person, image=Path("/no/such") / f"{i}.png") for i, person in enumerate(people)]

    def failure(samples: list[Sample]) -> str | None:
        return extract(extractor, samples, extractor.inputs.root, RUNTIME, report=Silent()).failure

    assert failure(gone) == "6 of 6 samples failed for one reason, missing_file (c/0: no file 0.png)"
    more = [replace(person, id=f"c/more-{i}-{person.id}") for person in people for i in range(2)]
    for _ in range(2):  # the second time nothing else is left to be tried
        assert failure([*gone, *more]) is None


def test_remarks_above_two_per_cent_are_told(counting: Counting) -> None:
    said: list[str] = []

    class Noting(Silent):
        def note(self, message: str) -> None:
            said.append(message)

    extract(counting, say("a", "a b c", "b"), counting.inputs.root, RUNTIME, report=Noting())
    assert said[-1] == f"{counting.identity.id}: 1 of 3 samples have the remark long"


def test_a_window_ends_once_it_is_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.run.MOST_BYTES", 100)
    items = iter(
        [(pending, np.zeros(size, np.uint8)) for pending, size in zip("abcdef", [60, 60, 200, 1, 1, 1], strict=True)]
    )
    sizes = []
    while window := _window(items, 2):
        sizes.append([len(item) for _, item in window])
    assert sizes == [[60, 60], [200], [1, 1], [1]]


def test_a_failure_that_comes_back_after_a_recovery_stands_again(
    make: Callable[..., Extractor], write_face: Callable[..., Path]
) -> None:
    extractor = make("image", "resnet")
    sample = Sample(id="c/1", corpus="c", image=write_face("face.png", 1))
    assert sample.image is not None
    content = sample.image.read_bytes()
    for _ in range(2):
        sample.image.unlink()
        assert run(extractor, [sample])["quarantined"] == 1
        assert reasons(extractor)["c/1"][1] == "missing_file"
        sample.image.write_bytes(content)
        assert run(extractor, [sample])["quarantined"] == 0
        assert reasons(extractor) == {}


def test_a_damaged_upstream_blames_no_sample(make: Callable[..., Extractor], people: list[Sample]) -> None:
    extractor = make("speech", "lstm_cnn")
    upstream = extractor.inputs.upstream
    assert upstream is not None
    for path in upstream.root.local(upstream.folder).rglob("values/c/0/0"):
        path.write_bytes(b"")
    with pytest.raises(RowsDamaged, match=f"rows of {upstream.id} turned out to be damaged: {len(people)}"):
        run(extractor, people)
    assert {reason for _, reason, _ in reasons(extractor).values()} == {"upstream"}
    assert run(make("speech", "acoustic"), people)["extracted"] == len(people)
    assert run(extractor, people)["extracted"] == len(people)
