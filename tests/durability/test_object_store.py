"""The same store in a bucket: a real S3-compatible server, real processes, real kills."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from extractors.extractor import Inputs
from extractors.speech.acoustic import Acoustic, AcousticConfig
from stores.compaction import compact
from stores.errors import ConfigError, RootError
from stores.features import FeatureStore
from stores.litter import find_litter, sweep
from stores.root import Root
from stores.verifying import verify

ALL = {"samples": 24, "absent": 0, "cached": 0, "extracted": 23, "quarantined": 1, "distinct": 23}
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The address of an empty bucket; the environment tells every process how to reach it."""
    import boto3

    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        **dict.fromkeys(KEYS, "testing"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    name = f"affect-{abs(hash(request.node.name)) % 10**8}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def calm(tmp_path: Path, clips: Path, extract_clips, rows) -> dict[str, str]:
    """The rows of an undisturbed store in a folder."""
    assert extract_clips(tmp_path / "calm", clips) == ALL
    return rows(tmp_path / "calm")


def test_what_is_extracted_into_a_bucket_is_what_a_folder_would_hold(
    bucket, clips, calm, extract_clips, rows, tmp_path
):
    address = f"{bucket}/affuse/runs"
    assert extract_clips(address, clips) == ALL
    assert rows(address) == calm
    assert extract_clips(address, clips) == {**ALL, "cached": 23, "extracted": 0}
    verdict = verify(Root(address))
    assert (verdict.damages, verdict.litter, verdict.rows) == ([], [], 23)
    remote, local = (FeatureStore.open(Root(root), "speech", "acoustic") for root in (address, tmp_path / "calm"))
    keys = sorted(calm)
    assert all(np.array_equal(a, b) for a, b in zip(remote.read(keys), local.read(keys), strict=True))
    here = {
        file.path.partition("/parts/")[0] for file in Root(tmp_path / "calm").files() if "feature.json" in file.path
    }
    there = {file.path.partition("/parts/")[0] for file in Root(address).files() if "feature.json" in file.path}
    assert here == there


def test_an_extraction_into_a_bucket_survives_kills(bucket, clips, calm, start, extract_clips, rows):
    sealed: dict[str, str] = {}
    for wanted in (1, 9, 17):
        process = start(bucket, clips, "block=2")
        while process.poll() is None and len(rows(bucket)) < wanted:
            time.sleep(0.02)
        process.kill()
        process.communicate()
        time.sleep(0.5)  # the server may still be at the last request of the dead
        found = rows(bucket)
        assert sealed.items() <= found.items() <= calm.items()
        sealed = found
    assert sealed
    books = extract_clips(bucket, clips)
    assert books == {**ALL, "cached": len(sealed), "extracted": 23 - len(sealed)}
    assert rows(bucket) == calm
    assert verify(Root(bucket)).damages == []


def test_two_writers_into_one_bucket(bucket, clips, calm, start, rows, tmp_path):
    go, ready = tmp_path / "go", [tmp_path / f"ready{n}" for n in range(2)]
    processes = [start(bucket, clips, f"wait_for={go}", f"ready={path}") for path in ready]
    while not all(path.exists() for path in ready):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    go.touch()
    for process in processes:
        book = json.loads(process.communicate(timeout=120)[0])
        assert book["cached"] + book["extracted"] == 23
    assert rows(bucket) == calm
    assert verify(Root(bucket)).damages == []


def test_a_bucket_is_compacted_and_swept(bucket, clips, calm, extract_clips, rows):
    extract_clips(bucket, clips)
    store = FeatureStore.open(Root(bucket), "speech", "acoustic")
    parts = len(store.seals())
    assert compact(store) == (parts, 1)
    assert rows(bucket) == calm
    assert find_litter(Root(bucket)) == []  # the grace
    sweep(Root(bucket), find_litter(Root(bucket), grace=-60))
    assert rows(bucket) == calm
    assert len(Root(bucket).names(store.folder, "parts")) == 2


def test_a_missing_bucket_is_told(bucket, clips, extract_clips):
    error = extract_clips(f"{bucket}-nowhere/runs", clips)
    assert isinstance(error, str)
    assert "RootError: cannot" in error
    assert "check the name of the bucket, and create it first" in error
    with pytest.raises(RootError, match="check the name of the bucket"):
        Root(f"{bucket}-nowhere/runs").put(b"x", "a.json")


def test_missing_credentials_are_told(bucket, clips, extract_clips):
    error = extract_clips(bucket, clips, without=KEYS)
    assert isinstance(error, str)
    assert "RootError: cannot" in error
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in error


def test_the_identity_is_the_same_wherever_the_store_lies(bucket, tmp_path):
    identities = [Acoustic(AcousticConfig(), Inputs(root=Root(root))).identity for root in (bucket, tmp_path)]
    assert identities[0].id == identities[1].id


def test_of_two_writers_of_one_name_one_wins(bucket):
    root = Root(bucket)
    assert root.put_new(b"first", "a", "b.bin")
    assert not root.put_new(b"second", "a", "b.bin")
    assert root.read("a", "b.bin") == b"first"


def test_an_address_that_would_be_taken_for_a_pattern_is_refused(bucket):
    with pytest.raises(ConfigError, match="a sign that object stores take as a pattern"):
        Root(f"{bucket}/run[1]")
