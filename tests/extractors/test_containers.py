"""What is refused by its content before FFmpeg opens anything that it names."""

import os
from contextlib import suppress
from pathlib import Path
from threading import Thread

import av
import pytest

from extractors._containers import opened
from stores.errors import MediaError

PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\npipe.ts\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile pipe.ts\n"


@pytest.mark.parametrize(
    ("name", "content"), [("list.m3u8", PLAYLIST), ("list.mp3", CONCAT), ("notes.txt", "a line of text\n" * 50)]
)
def test_what_a_list_names_is_never_opened(tmp_path: Path, name: str, content: str) -> None:
    os.mkfifo(tmp_path / "pipe.ts")  # who opens it waits for a writer, for ever
    (tmp_path / name).write_text(content)
    refused: list[Exception] = []

    def read() -> None:
        try:
            with opened(tmp_path / name):
                pass
        except (MediaError, av.FFmpegError) as error:
            refused.append(error)

    reader = Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=20)
    with suppress(OSError):  # nobody has opened the pipe; or whoever has is let go
        os.close(os.open(tmp_path / "pipe.ts", os.O_WRONLY | os.O_NONBLOCK))
    [error] = refused
    if content == CONCAT:  # the others are not even taken for a format by their content alone
        assert isinstance(error, MediaError)
        assert (error.reason, error.stage) == ("undecodable", "decode")
        assert str(error).startswith(f"{name} is no recording by itself: a playlist")
