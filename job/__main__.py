"""The job's commands: a thin layer over the Python API, and the only place that exits."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job import storage
from job.command_line import Log, add_version, exit_status, new_log
from job.errors import RunError
from job.options import add_options, options_of
from job.progress import Progress, terminal
from job.settings import CHECK, FEATURIZE, PRUNE, REDUCE, REPORT, Settings
from job.spark.session import local_session
from job.storage.lock import locked

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from job.features.snapshot import Counts
    from job.results.run_record import RunRecord

_EPILOG = """exit status: 0 done; 1 the run failed, or what it wrote is not right; 2 something given cannot be used, and
nothing was started; 130 interrupted (what was committed stays: run again to go on)

examples:
  python -m job run --images photos --model build/model/embedded --output results
  python -m job run --images s3://bucket/photos --model model --output s3://bucket/results --variance 0.95
  python -m job reduce --output results --components 20
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    log = _log(options.output, verbose=options.verbose)

    def command() -> None:
        names = {option.name for option in fields(Settings)}
        settings = Settings(**{name: value for name, value in vars(options).items() if name in names})
        options.command(settings, log, started)

    return exit_status(
        command, log, interrupted="interrupted; what was committed stays, run again to go on", reader_gone=1
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m job",
        description="From pictures to feature vectors (MobileNetV2) and their principal components, on Spark.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command, stages, text in (
        ("run", _run, (FEATURIZE, REDUCE), "the whole job: featurize, then reduce, with the report"),
        ("featurize", _featurize, (FEATURIZE,), "bring the features table up to date with the images"),
        ("reduce", _reduce, (REDUCE,), "PCA of the current features, results, validation, report"),
        ("report", _report, (REPORT,), "make report.html of the current results anew"),
        ("check", _check, (CHECK,), "read back everything that an output holds, and say what is wrong"),
        ("prune", _prune, (PRUNE,), "delete features of images and models that the latest run did not list"),
    ):
        one = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(one, options_of(Settings, *stages))
        one.set_defaults(command=command)
    return parser


def _log(output: str, *, verbose: bool) -> Log:
    """Return the log of this command: beside what is written where that is local, else in a temporary folder."""
    local = output and not storage.is_s3(output)
    return new_log(Path(storage.absolute(output), "logs") if local else None, verbose=verbose)


def _with_session(settings: Settings, log: Log, progress: Progress, stages: "Callable[[SparkSession], Any]") -> Any:
    # The lock first: a second run stops before it has started anything.
    with locked(settings.output, progress), local_session(settings, log) as spark:
        # Under spark-submit what Spark says goes where that says.
        where = f"; its log: {log.path}" if log.path.exists() else ""
        progress.say(f"Spark {spark.version} on {spark.sparkContext.master}{where}")
        return stages(spark)


def _run(settings: Settings, log: Log, started: float) -> None:
    from job.features.model import fingerprint  # noqa: PLC0415 - Arrow and Pillow are not needed to show --help
    from job.stages import featurize, reduce  # noqa: PLC0415

    progress = terminal()
    model = featurize.check(settings)
    reduce.check_reduction(settings, fingerprint(model, settings), model.description.n_features)
    _say_opening(progress, settings, model.description.name, model.description.weights_note)

    def stages(spark: "SparkSession") -> "RunRecord":
        featurize.featurize(spark, settings, progress)
        return reduce.reduce(spark, settings, progress)

    _say_results(settings, _with_session(settings, log, progress, stages), log, started)


def _featurize(settings: Settings, log: Log, started: float) -> None:
    from job.stages import featurize  # noqa: PLC0415

    progress = terminal()
    model = featurize.check(settings)
    _say_opening(progress, settings, model.description.name, model.description.weights_note)
    snapshot = _with_session(settings, log, progress, lambda spark: featurize.featurize(spark, settings, progress))
    print(f"\n{_counts(snapshot.counts)}; {time.monotonic() - started:.1f} s in all")
    print(f"features in {storage.join(storage.absolute(settings.output), 'features')}; read the current ones with")
    print(f'  from job.features.table import read_features; read_features("{settings.output}").to_pandas()')


def _reduce(settings: Settings, log: Log, started: float) -> None:
    from job.features.snapshot import read_snapshot  # noqa: PLC0415
    from job.stages import reduce  # noqa: PLC0415

    progress = terminal()
    snapshot = read_snapshot(storage.absolute(settings.output))
    reduce.check_reduction(settings, snapshot.fingerprint, snapshot.model.n_features)
    record = _with_session(settings, log, progress, lambda spark: reduce.reduce(spark, settings, progress))
    _say_results(settings, record, log, started)


def _report(settings: Settings, log: Log, started: float) -> None:
    from job.stages import report  # noqa: PLC0415

    progress = terminal()
    output = storage.absolute(settings.output)
    report.check_report(output)
    _with_session(settings, log, progress, lambda spark: report.report(spark, settings, progress))
    print(f"{storage.join(output, report.REPORT)} made in {time.monotonic() - started:.1f} s")


def _check(settings: Settings, log: Log, started: float) -> None:
    from job.features.snapshot import read_snapshot  # noqa: PLC0415
    from job.stages.check import check  # noqa: PLC0415

    progress = terminal()
    read_snapshot(storage.absolute(settings.output))
    faults = _with_session(settings, log, progress, lambda spark: check(spark, settings, progress))
    for fault in faults:
        print(f"fault: {fault.what}\n       {fault.remedy}")
    print(
        f"{len(faults)} faults found" if faults else "all is as it was written",
        f"in {time.monotonic() - started:.1f} s",
    )
    if faults:
        raise RunError(f"{storage.absolute(settings.output)} is damaged")


def _prune(settings: Settings, log: Log, started: float) -> None:
    from job.features.snapshot import read_snapshot  # noqa: PLC0415
    from job.stages.prune import prune  # noqa: PLC0415

    progress = terminal()
    read_snapshot(storage.absolute(settings.output))
    pruned = _with_session(settings, log, progress, lambda spark: prune(spark, settings, progress))
    verb = "would be deleted" if settings.dry_run else "deleted"
    print(
        f"{pruned.rows:,} rows in {len(pruned.waves):,} waves and {len(pruned.models):,} other models' features {verb}"
    )
    print(f"{time.monotonic() - started:.1f} s in all")


def _say_opening(progress: Progress, settings: Settings, model: str, note: str) -> None:
    progress.say(f"images  {storage.absolute(settings.images)}")
    progress.say(f"model   {model}: {note}")
    progress.say(f"output  {storage.absolute(settings.output)}")


def _counts(counts: "Counts") -> str:
    plural = "" if counts.listed == 1 else "s"
    return (
        f"{counts.listed:,} image{plural}: {counts.ok:,} ok, {counts.rejected:,} rejected;"
        f" {counts.reused:,} reused, {counts.new:,} new"
    )


def _say_results(settings: Settings, record: "RunRecord", log: Log, started: float) -> None:
    output = storage.absolute(settings.output)
    share = sum(record.explained_variance_ratio)
    print(f"\n{_counts(record.counts)}; {time.monotonic() - started:.1f} s in all")
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
    print(f"name       {python} -m lookup classify PICTURE --output {shlex.quote(output)}")


if __name__ == "__main__":
    sys.exit(main())
