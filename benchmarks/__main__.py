"""Run every benchmark, one process each."""

import pkgutil
import subprocess
import sys

import benchmarks

for info in pkgutil.iter_modules(benchmarks.__path__):
    if not info.name.startswith("_"):
        subprocess.run([sys.executable, "-m", f"benchmarks.{info.name}"], check=True)
