"""Run the benchmarks one after the other and print every claim: python -m benchmarks [NAME …]."""

import argparse
import json
import subprocess
import sys

from benchmarks.harness import RESULTS, Claim

NAMES = (
    "features",
    "peers",
    "whole_run",
    "pca",
    "growth",
    "small_files",
    "photos",
    "latency",
    "listing",
    "incremental",
    "worker_memory",
    "lookup",
    "naming",
)


def main() -> None:
    """Run the command; a figure outside its bound is shown, and is no failure."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    names = parser.parse_args().names or list(NAMES)
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such benchmark; there are {', '.join(NAMES)}")
    failed = []
    for name in names:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:  # noqa: S603 - our own
            failed.append(name)
    print("\n== all that was claimed")
    for name in (name for name in names if name not in failed):
        for claim in json.loads((RESULTS / f"{name}.json").read_text())["claims"]:
            del claim["holds"]
            print(f"{name:12} {Claim(**claim)}")
    if failed:
        sys.exit(f"error: these gave no result: {', '.join(failed)}")


if __name__ == "__main__":
    main()
