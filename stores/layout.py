"""What lies where under a root, in one table: ARCHITECTURE.md shows it, `verify` names what does not belong."""

import re
from functools import cache

LAYOUT: dict[str, str] = {
    "manifests/<name>.parquet": "one row a sample",
    "digests/<name>.parquet": "content digests of its media; may be deleted",
    "features/<modality>/<feature id>/feature.json": "the identity in full, spec, format version",
    "features/<modality>/<feature id>/parts/<part>.zarr/zarr.json": "a Zarr v3 group",
    "features/<modality>/<feature id>/parts/<part>.zarr/values/zarr.json": "shape, chunks and shards of the values",
    "features/<modality>/<feature id>/parts/<part>.zarr/values/c/<shard>/0": "(rows, dim); ragged: (frames, dim)",
    "features/<modality>/<feature id>/parts/<part>.zarr/offsets/zarr.json": "ragged features only",
    "features/<modality>/<feature id>/parts/<part>.zarr/offsets/c/0": "row i is values[offsets[i]:offsets[i + 1]]",
    "features/<modality>/<feature id>/parts/<part>.parquet": "the seal: key, row, digests; receipt; written last",
    "features/<modality>/<feature id>/withdrawn/<part>.parquet": "rows no reader takes any more, and why",
    "features/<modality>/<feature id>/quarantine/<part>.parquet": "failures: sample, key, stage, reason, message",
    "features/<modality>/<feature id>/books/<part>.json": "what became of every sample in one run, and what it took",
    "encoders/<encoder id>/weights.safetensors": "what was trained",
    "encoders/<encoder id>/trained_on.parquet": "sample, key, label, groups, use",
    "encoders/<encoder id>/curves.parquet": "one row an epoch",
    "encoders/<encoder id>/checkpoint.safetensors": "an unfinished training; deleted once it is finished",
    "encoders/<encoder id>/encoder.json": "recipe, digest of the weights; written last",
    "studies/<study id>/study.json": "protocol, corpus, features",
    "studies/<study id>/samples.parquet": "who takes part, and why not",
    "studies/<study id>/splits.parquet": "who is in which part of which repeat",
    "studies/<study id>/radar.parquet": "test samples that training has too, or nearly",
    "studies/<study id>/predictions/<part>.parquet": "one row a (run, sample)",
    "studies/<study id>/weights/<part>.parquet": "fitted modality weights",
    "studies/<study id>/runs/<part>.parquet": "one row a run: the seal of all it wrote; last",
    "studies/<study id>/openings/<part>.parquet": "one row a time a run's test part was opened, noted before",
    "studies/<study id>/plans/<part>.parquet": "what was asked of the study, in order of time; noted before",
    "studies/<study id>/trials/<part>.parquet": "one row a trial of a hyper-parameter search",
    "studies/<study id>/robustness/<part>.parquet": "scores with a modality removed or noise added; a row a metric",
    "studies/<study id>/latency/<part>.parquet": "what a call of each model takes; one row a (run, batch)",
    "studies/<study id>/inventory.json": "files, runs and names of the study, as the last run left them",
    "studies/<name>.splits.parquet": "the same before rows are known; written before anything is trained",
    "studies/<name>.latest.json": "what a study's name means now: study, runs, [report] settings, study file",
    "reports/<report id>/<file>": "index.html, results.json, methods.md, tables/, figures/",
    "corpora/<name>/<file>": "media of the synthetic corpus",
}
_FORMS = {"modality": "(?:image|speech|text)", "part": "[0-9a-f]{32}", "shard": r"\d+", "file": ".+"}
_NAME = r"[^/]+"
is_temporary = re.compile(r"(?:.*/)?\.[^/]+\.[0-9a-f]{8}").fullmatch  # the sibling of a file that is being written


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    found = []
    for path in LAYOUT:
        pieces = re.split(r"<([\w ]+)>", path)
        forms = [_FORMS.get(piece, _NAME) if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)]
        found.append((re.compile("".join(forms)), path))
    return found


def place_of(path: str) -> str | None:
    """Return the entry of LAYOUT a relative path belongs to, or None if nothing of ours lies there."""
    return next((place for pattern, place in _patterns() if pattern.fullmatch(path)), None)
