"""Run by the tests beside it, in a process of its own: extract every clip of a folder into a root, print the books.

usage: extract_clips.py ROOT CLIPS [SETTING=VALUE ...]
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from extractors.extractor import Inputs, Runtime
from extractors.run import extract
from extractors.speech.acoustic import Acoustic, AcousticConfig
from stores.errors import StoreError
from stores.progress import Silent
from stores.root import Root
from stores.samples import Sample

root, clips = sys.argv[1:3]
settings = dict(argument.split("=") for argument in sys.argv[3:])
if "file_size" in settings:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(settings["file_size"]),) * 2)
if "user" in settings:
    os.setuid(int(settings["user"]))
if "wait_for" in settings:
    Path(settings["ready"]).touch()
    while not Path(settings["wait_for"]).exists():
        time.sleep(0.001)
try:
    extractor = Acoustic(AcousticConfig(), Inputs(root=Root(root)))
    samples = [Sample(id=f"c/{path.name}", corpus="c", audio=path) for path in sorted(Path(clips).iterdir())]
    runtime = Runtime(device="cpu", block_size=int(settings.get("block", 4)), queue=4)
    print(json.dumps(extract(extractor, samples, extractor.inputs.root, runtime, report=Silent()).as_dict()))
except StoreError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(1)
