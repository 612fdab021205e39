"""The job's commands: a thin layer over the Python API, and the only place that exits."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from job import storage
from job.command_line import Log, add_version, exit_status, new_log
from job.errors import ReportError, RunError
from job.options import add_options, options_of
from job.progress import Progress, terminal
from job.settings import CHECK, FEATURIZE, PRUNE, REDUCE, REPORT, Settings
from job.spark.session import local_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from job.features.model import Model
    from job.features.snapshot import Counts
    from job.results.run_record import RunRecord

T = TypeVar("T")
SessionFactory = Callable[[Settings, Log], "AbstractContextManager[SparkSession]"]

_PROG = "python -m job"
_EPILOG = """exit status: 0 success; 1 the run failed, or its output is damaged; 2 a value cannot be used, and nothing
was started; 3 the results are in place, but not their report; 130 Ctrl-C (what was committed stays: the next run goes
on from there)

examples:
  python -m job run --images photos --model build/model/embedded --output results
  python -m job run --images s3://bucket/photos --model model --output s3://bucket/results --variance 0.95
  python -m job reduce --output results --components 20
"""


def main(
    arguments: Sequence[str] | None = None, open_session: SessionFactory = local_session, *, prog: str = _PROG
) -> int:
    """Run one command; return its exit status. Help texts call the program `prog`."""
    options = _parser(prog).parse_args(arguments)
    started = time.monotonic()
    log = _log(options.output, verbose=options.verbose)

    def command() -> None:
        names = {option.name for option in fields(Settings)}
        settings = Settings(**{name: value for name, value in vars(options).items() if name in names})
        options.command(_Context(settings, log, terminal(), open_session, started))

    return exit_status(
        command, log, interrupted="interrupted; what was committed stays, run again to go on", reader_gone=1
    )


@dataclass(frozen=True)
class _Context:
    """What a command works with: its settings, its log, where it reports, its session, when it began."""

    settings: Settings
    log: Log
    progress: Progress
    open_session: SessionFactory
    started: float

    @property
    def output(self) -> str:
        """Return the address of the output."""
        return storage.absolute(self.settings.output)

    @property
    def seconds(self) -> float:
        """Return the seconds since the command began."""
        return time.monotonic() - self.started

    def in_session(self, stages: "Callable[[SparkSession], T]") -> T:
        """Return the result of stages on a session that lasts as long as they do."""
        from job.stages.hold import hold  # noqa: PLC0415 - Arrow is not needed to show --help

        # The lock first: a second run stops before it has started anything.
        with hold(self.settings.output, self.progress), self.open_session(self.settings, self.log) as spark:
            # There is no log of ours under spark-submit, which has its own settings for that.
            log = f"; its log: {self.log.path}" if self.log.path.exists() else ""
            self.progress.say(f"Spark {spark.version} on {spark.sparkContext.master}{log}")
            return stages(spark)


def _parser(prog: str = _PROG) -> argparse.ArgumentParser:
    epilog = _EPILOG.replace(_PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Turn images into feature vectors (MobileNetV2) and their principal components, on Spark.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command, stages, text in (
        ("run", _run, (FEATURIZE, REDUCE), "run the whole job: featurize, then reduce, with the report"),
        ("featurize", _featurize, (FEATURIZE,), "bring the features table up to date with the images"),
        ("reduce", _reduce, (REDUCE,), "reduce the current features by PCA; write results and report"),
        ("report", _report, (REPORT,), "make report.html of the current results again"),
        ("check", _check, (CHECK,), "read back everything in an output, and list its faults"),
        (
            "prune",
            _prune,
            (PRUNE,),
            "delete features of images and models that the latest run did not list; merge small files",
        ),
    ):
        subparser = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(subparser, options_of(Settings, *stages))
        subparser.set_defaults(command=command)
    return parser


def _log(output: str, *, verbose: bool) -> Log:
    """Return the log of this command: in the output where that is local, else in a folder of the user's."""
    local = output and not storage.is_s3(output)
    return new_log(Path(storage.absolute(output), "logs") if local else None, verbose=verbose)


def _run(context: _Context) -> None:
    from job.features.model import fingerprint  # noqa: PLC0415 - Arrow and Pillow are not needed to show --help
    from job.stages import featurize, reduce  # noqa: PLC0415

    settings, progress = context.settings, context.progress
    model = featurize.check(settings)
    reduce.check_reduction(settings, fingerprint(model, settings), model.description.n_features)
    _report_inputs(context, model)

    def stages(spark: "SparkSession") -> "RunRecord":
        featurize.featurize(spark, settings, progress)
        return reduce.reduce(spark, settings, progress)

    _make_results(context, stages)


def _featurize(context: _Context) -> None:
    from job.stages import featurize  # noqa: PLC0415

    settings, progress = context.settings, context.progress
    _report_inputs(context, featurize.check(settings))
    snapshot = context.in_session(lambda spark: featurize.featurize(spark, settings, progress))
    print(f"\n{_counts(snapshot.counts)}; {context.seconds:.1f} s in all")
    print(f"features in {storage.join(context.output, 'features')}; read the current ones with")
    print(f'  from fruits import read_features; read_features("{settings.output}").to_pandas()')


def _reduce(context: _Context) -> None:
    from job.features.snapshot import read_snapshot  # noqa: PLC0415
    from job.stages import reduce  # noqa: PLC0415

    settings, progress = context.settings, context.progress
    snapshot = read_snapshot(context.output)
    reduce.check_reduction(settings, snapshot.fingerprint, snapshot.model.n_features)
    _make_results(context, lambda spark: reduce.reduce(spark, settings, progress))


def _report(context: _Context) -> None:
    from job.stages import report  # noqa: PLC0415

    report.check_report(context.output)
    context.in_session(lambda spark: report.report(spark, context.settings, context.progress))
    print(f"{storage.join(context.output, report.REPORT)} made in {context.seconds:.1f} s")


def _check(context: _Context) -> None:
    from job.features.snapshot import read_snapshot  # noqa: PLC0415
    from job.stages.check import check  # noqa: PLC0415

    read_snapshot(context.output)
    faults = context.in_session(lambda spark: check(spark, context.settings, context.progress))
    for fault in faults:
        print(f"fault: {fault.description}\n       {fault.remedy}")
    print(f"{len(faults) or 'no'} fault{'' if len(faults) == 1 else 's'} found in {context.seconds:.1f} s")
    if faults:
        raise RunError(f"{context.output} is damaged")


def _prune(context: _Context) -> None:
    from job.features.snapshot import read_snapshot  # noqa: PLC0415
    from job.stages.prune import prune  # noqa: PLC0415

    read_snapshot(context.output)
    plan = context.in_session(lambda spark: prune(spark, context.settings, context.progress))
    verb = "would be deleted" if context.settings.dry_run else "deleted"
    print(f"{plan.rows:,} rows and {len(plan.models):,} other models' features {verb}")
    if plan.bundles:
        verb = "would be merged" if context.settings.dry_run else "merged"
        print(f"{len(plan.moving):,} files in {len(plan.waves):,} waves {verb} into {len(plan.bundles):,}")
    print(f"{context.seconds:.1f} s in all")


def _report_inputs(context: _Context, model: "Model") -> None:
    """Say, before anything is started, which images, model and output the command works with."""
    context.progress.say(f"images  {storage.absolute(context.settings.images)}")
    context.progress.say(f"model   {model.description.name}: {model.description.weights_note}")
    context.progress.say(f"output  {context.output}")


def _counts(counts: "Counts") -> str:
    plural = "" if counts.listed == 1 else "s"
    return (
        f"{counts.listed:,} image{plural}: {counts.ok:,} ok, {counts.rejected:,} rejected;"
        f" {counts.reused:,} reused, {counts.new:,} new"
    )


def _make_results(context: _Context, stages: "Callable[[SparkSession], RunRecord]") -> None:
    """Run stages that make results, and print these, even where only their report failed."""
    from job.results.run_record import current_run  # noqa: PLC0415

    settings = context.settings
    try:
        record = context.in_session(stages)
    except ReportError:
        without = replace(settings, report=False)
        print_results(without, current_run(context.output), context.log, context.seconds)
        raise
    print_results(settings, record, context.log, context.seconds)


def print_results(settings: Settings, record: "RunRecord", log: Log, seconds: float) -> None:
    """Print the counts of a run, where its results are, and how to go on with them."""
    output = storage.absolute(settings.output)
    share = sum(record.explained_variance_ratio)
    print(f"\n{_counts(record.counts)}; {seconds:.1f} s in all")
    print(f"{record.components} components hold {share:.3f} of the variance; {len(record.validation)} checks passed")
    names = ["pca_results/", *(["pca_matrix.csv"] if settings.csv else []), "rejected.csv", "features/", "run.json"]
    names += ["report.html"] if settings.report else []
    print(f"results in {output}: {', '.join(names)}")
    if log.path.exists():
        print(f"log        {log.path}")
    if storage.is_s3(output):
        return
    python = min(sys.executable, os.path.relpath(sys.executable), key=len)
    if settings.report:
        print(f"look       {Path(output, 'report.html').as_uri()}")
    print(f"""open       {python} -c "import pandas; print(pandas.read_parquet('{output}/pca_results'))\"""")
    print(f"name       {python} -m lookup classify IMAGE --output {shlex.quote(output)}")


if __name__ == "__main__":
    sys.exit(main())
