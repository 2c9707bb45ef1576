"""Speed, measured as ratios in one process: `python -m benchmarks.NAME --json`, all of them by `make bench`."""
