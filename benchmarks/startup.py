"""What `vidbench --help` costs: CPU time against `python -c pass`, and which heavy modules it imports (none).

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

HEAVY = ("torch", "cv2", "pandas", "numpy", "scipy", "av")


def cpu_seconds(command: list[str]) -> float:
    """User and system CPU-seconds of one finished child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    nothing = [sys.executable, "-c", "pass"]
    helping = [sys.executable, "-m", "vidbench", "--help"]
    pairs = [(cpu_seconds(nothing), cpu_seconds(helping)) for _ in range(repeats)]
    base, ours = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    print(f"python -c pass        {base * 1000:7.1f} ms CPU (median of {repeats})")
    print(f"vidbench --help       {ours * 1000:7.1f} ms CPU")
    print(f"ratio                 {ours / base:7.2f}")
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vidbench", "--help"], check=True, capture_output=True, text=True
    ).stderr
    modules = {line.rsplit("|", 1)[-1].strip() for line in traced.splitlines() if "|" in line}
    print(f"heavy modules imported: {', '.join(m for m in HEAVY if m in modules) or 'none'}")


if __name__ == "__main__":
    main()
