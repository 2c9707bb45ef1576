"""What a Prefect flow tries again, and what it leaves, since waiting would not change it."""

import errno
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from prefect.states import Failed

from flows.flow_parts import do_job
from flows.jobs import Options, manifest_job
from flows.leakage import LeakageError
from stores.errors import ConfigError, ManifestError, NotFound
from stores.root import Root


def _tried_again(error: BaseException) -> bool:
    assert do_job.retry_condition_fn is not None
    return bool(do_job.retry_condition_fn(do_job, None, Failed(data=error)))  # type: ignore[arg-type]


def _refused(root: Root, error: Exception) -> Exception:
    """Return what the rooms see when the disk or the object store raises `error`."""
    with pytest.raises(OSError) as told, root.telling("write", "manifests"):  # noqa: PT011
        raise error
    return told.value


@pytest.mark.parametrize("error", [ConfigError("no such key"), NotFound("no encoder"), LeakageError("shared speaker")])
def test_what_is_wrong_in_a_study_is_not_tried_again(error: Exception) -> None:
    assert not _tried_again(error)


def test_a_missing_table_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[corpus]\nkind = "table"\npath = "gone.csv"\ncolumns = { id = "id", text = "text" }\n'
        '[features.text]\nextractor = "bert"'
    )
    with pytest.raises((ManifestError, ConfigError)) as told:
        manifest_job(str(tmp_path / "s.toml"), Options(root=str(tmp_path / "runs"), quiet=True))
    assert "gone.csv" in str(told.value)
    assert not _tried_again(told.value)


def test_a_root_that_refuses_for_good_is_not_tried_again_and_one_that_is_full_or_far_is(tmp_path: Path) -> None:
    root, stays = Root(tmp_path), [PermissionError(errno.EACCES, "no"), NoCredentialsError(), NotADirectoryError("x")]
    assert [_tried_again(_refused(root, error)) for error in stays] == [False, False, False]
    passes = [OSError(errno.ENOSPC, "full"), EndpointConnectionError(endpoint_url="http://s3"), ConnectionError("lost")]
    assert [_tried_again(_refused(root, error)) for error in passes] == [True, True, True]
    assert _tried_again(MemoryError())
