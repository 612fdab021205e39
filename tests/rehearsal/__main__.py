"""AWS played on this machine: deploy, upload, submit, read the results back; a table of what was proven.

    python -m tests.rehearsal
    WEIGHTS=imagenet python -m tests.rehearsal --all

It needs Node, Java 17 or 21 and Python 3.11, no account, and nothing from the network but what builds the archive. Exit
status: 0 all was proven; 1 something was not, or could not be tried.
"""

import argparse
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

# pytest's words for what ends a test: `tests.aws` says so where cdk cannot run.
from _pytest.outcomes import OutcomeException

from bootstrap import sample
from job.errors import JobError
from tests.aws.cdk import ROOT
from tests.rehearsal import cluster_proofs, proofs
from tests.rehearsal.checkout import MODEL_VARIABLES, checkout, need_everything
from tests.rehearsal.grants import grants
from tests.rehearsal.proofs import Rehearsal
from tests.rehearsal.report import Report
from tests.rehearsal.stage import SETTINGS, staged

FOLDER = ROOT / "build/rehearsal"
SAMPLE = ROOT / "build/sample"
LATER = 10
# Every 36th image is held back.
EVERY = 36
# What differs from target to target, at the end.
LAST: dict[str, tuple[tuple[str, Callable[[Rehearsal], str]], ...]] = {
    "serverless": (
        ("bad argument", proofs.bad_argument),
        ("failure reported", proofs.failure_reported),
        ("empty archive", proofs.empty_archive),
    ),
    "cluster": (
        ("bad argument", cluster_proofs.failed_step),
        ("other archive", cluster_proofs.other_archive),
        ("time-out", cluster_proofs.timed_out),
        ("kept cluster", cluster_proofs.kept_cluster),
        ("nothing goes on", cluster_proofs.nothing_goes_on),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rehearsal; return its exit status."""
    parser = argparse.ArgumentParser(
        "python -m tests.rehearsal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=tuple(SETTINGS), default="serverless", help="where runs take place")
    parser.add_argument("--all", action="store_true", help="take each right on S3 from the job role in turn as well")
    options = parser.parse_args(arguments)
    # moto's server logs each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    report = Report()
    try:
        need_everything()
        _rehearse(report, options.target, each_grant=options.all)
    except OutcomeException as outcome:
        print(f"\n{outcome.msg}", file=sys.stderr)
        return 1
    except (JobError, RuntimeError) as error:
        print(f"\nNOT PROVEN: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: NOT PROVEN", file=sys.stderr)
        return 130
    print(f"\n{report}")
    for line in report.failed:
        print(f"NOT PROVEN: {line}", file=sys.stderr)
    return 1 if report.failed else 0


def _rehearse(report: Report, target: str, *, each_grant: bool) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        rehearsal: list[Rehearsal] = []

        def deploy() -> str:
            environment = {name: os.environ[name] for name in MODEL_VARIABLES if name in os.environ}
            variables = {"WEIGHTS": "embedded"} | environment
            stage = stack.enter_context(staged(checkout(FOLDER), folder, variables, target))
            names = sorted(path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*.jpg"))
            later = names[::EVERY][:LATER]
            first = [name for name in names if name not in later]
            rehearsal.append(Rehearsal(stage, SAMPLE, first, later, components=20))
            return "the real cdk bootstraps and deploys the real stack, with what it builds"

        def upload() -> str:
            rehearsal[0].upload(rehearsal[0].first)
            return f"{len(rehearsal[0].first)} images are in the bucket"

        report.step("sample", lambda: f"{SAMPLE} is {'rendered' if sample.write(SAMPLE) else 'there already'}")
        report.step("deploy", deploy)
        [played] = rehearsal
        report.step("upload", upload)
        if not report.step("submit", partial(proofs.first_run, played)):
            return
        report.step("compare", partial(proofs.same_as_local, played))
        report.step("submit again", partial(proofs.second_run, played))
        report.step("cancel", partial(proofs.cancelled_run, played))
        report.step("ten new", partial(proofs.next_run, played))
        report.step("compare", partial(proofs.same_as_local, played))
        report.step("broken images", partial(proofs.broken_images, played))
        for name, prove in LAST[target]:
            report.step(name, partial(prove, played))
        if each_grant:
            for grant in grants(played.stage):
                report.step(f"without {grant.action}", partial(proofs.refused_without, played, grant))
            report.step("policy as deployed", partial(proofs.restored, played))


if __name__ == "__main__":
    sys.exit(main())
