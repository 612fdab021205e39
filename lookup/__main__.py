"""The commands of lookup: a thin layer over the Python API, and the only place that exits."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from job.command_line import add_version, exit_status, new_log
from job.errors import JobError
from job.progress import Progress, terminal
from job.settings import DEFAULT_MAX_PIXELS
from lookup import evaluate, formatters
from lookup.classifier import Classifier, Neighbor, Prediction
from lookup.embed import Embedding
from lookup.images import find_images
from lookup.queries import Matcher, look_up

_PROG = "python -m lookup"
_EPILOG = """exit status: 0 done; 1 some images cannot be used (the answer lists them), or an unexpected error;
2 something given cannot be used; 130 interrupted

examples:
  python -m lookup search photo.jpg --output results -k 10
  python -m lookup classify photos/ --output s3://bucket/results --csv > names.csv
  python -m lookup evaluate --output results
  python -m lookup serve --output results --port 8000
"""
_MAX_NEIGHBORS = 1_000
_LOOPBACK = {"127.0.0.1", "::1"}


def main(arguments: Sequence[str] | None = None, *, prog: str = _PROG) -> int:
    """Run one command; return its exit status. Help texts call the program `prog`."""
    options = _parser(prog).parse_args(arguments)
    return exit_status(lambda: _run(options), new_log())


def _run(options: argparse.Namespace) -> int:
    try:
        status: int = options.command(options)
    except OSError as error:
        if error.filename is None:
            raise
        raise JobError(f"cannot read or write {error.filename}: {error.strerror or error}") from None
    return status


def _parser(prog: str) -> argparse.ArgumentParser:
    epilog = _EPILOG.replace(_PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Name photos by their nearest neighbors among the results of a run.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        subparser = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.add_argument("--output", required=True, metavar="DIR", help="folder or s3:// prefix of the results")
        subparser.set_defaults(command=command)
        return subparser

    _add_query_options(add("search", _search, "find the images nearest to each photo, with their similarity"))
    _add_query_options(add("classify", _classify, "name photos, each with a confidence"))
    evaluate_parser = add("evaluate", _evaluate, "measure how often classify is right, by cross-validation")
    evaluate_parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    _add_service_options(add("serve", _serve, "serve a page that names photos, and a JSON endpoint"))
    return parser


def _add_query_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="file, folder (read recursively) or s3:// address")
    parser.add_argument("-k", type=_whole_number(1, _MAX_NEIGHBORS), default=5, metavar="N",
                        help="number of neighbors to print (default: %(default)s)")  # fmt: skip
    formats = parser.add_mutually_exclusive_group()
    for flag, formatter, text in (
        ("--json", formatters.as_json, "print a JSON list instead of a table"),
        ("--csv", formatters.as_csv, "print CSV with the separator ; and a line for each photo"),
        ("--html", formatters.as_html, "print a page with thumbnails"),
    ):
        formats.add_argument(flag, dest="formatter", action="store_const", const=formatter, help=text)
    parser.set_defaults(formatter=formatters.as_table)


def _add_service_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_whole_number(0, 65_535), default=8000, metavar="N",
                        help="port to listen on, 0 for a free one (default: %(default)s)")  # fmt: skip
    parser.add_argument("--max-megabytes", type=_whole_number(1, 1_024), default=20, metavar="N",
                        help="largest photo accepted, in megabytes (default: %(default)s)")  # fmt: skip
    parser.add_argument("--max-pixels", type=_whole_number(1, DEFAULT_MAX_PIXELS), default=50_000_000, metavar="N",
                        help="largest photo accepted, in pixels (default: %(default)s)")  # fmt: skip
    parser.add_argument("--workers", type=_whole_number(1, 256), default=os.cpu_count() or 1, metavar="N",
                        help="number of photos to work on at a time (default: one a core)")  # fmt: skip


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {low} to {high:,}")
        return int(text)

    return read


def _search(options: argparse.Namespace) -> int:
    classifier = Classifier(options.output, terminal())

    def match(embeddings: list[Embedding]) -> list[tuple[list[Neighbor], None]]:
        return [(neighbors, None) for neighbors in classifier.search(embeddings, options.k)]

    return _print_results(options, classifier, match)


def _classify(options: argparse.Namespace) -> int:
    classifier = Classifier(options.output, terminal())
    classifier.prepare()

    def match(embeddings: list[Embedding]) -> list[tuple[list[Neighbor], Prediction]]:
        return [(prediction.neighbors, prediction) for prediction in classifier.classify(embeddings, options.k)]

    return _print_results(options, classifier, match)


def _print_results(options: argparse.Namespace, classifier: Classifier, match: Matcher) -> int:
    paths = find_images(options.images)
    progress = terminal() if len(paths) > 1 else Progress()
    results = look_up(paths, classifier.pipeline, match, progress)
    print(options.formatter(results), flush=True)
    return 1 if any(result.error for result in results) else 0


def _evaluate(options: argparse.Namespace) -> int:
    evaluation = evaluate.evaluate(Classifier(options.output))
    print(evaluate.as_json(evaluation) if options.json else evaluate.as_text(evaluation), flush=True)
    return 0


def _serve(options: argparse.Namespace) -> int:
    try:
        from lookup.service.app import create_app  # noqa: PLC0415 - only this command needs FastAPI
        from lookup.service.middleware import RequestLimits  # noqa: PLC0415
        from lookup.service.server import listen, serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise JobError(f"serve needs {error.name}: make setup, or pip install -r requirements-lookup.txt") from None
    from lookup.reloader import ImageLimits, Reloader  # noqa: PLC0415

    image_limits = ImageLimits(pixels=options.max_pixels, workers=options.workers)
    with listen(options.host, options.port) as listening, Reloader(options.output, image_limits) as reloader:
        host, port = listening.getsockname()[:2]
        health = reloader.health()
        print(f"{health['pictures']:,} images, {health['labels']:,} labels, {health['model']}", file=sys.stderr)
        address = f"[{host}]" if ":" in host else host
        print(f"serving http://{address}:{port}/ (Ctrl-C stops)", file=sys.stderr, flush=True)
        hosts = ["127.0.0.1", "localhost", "[::1]"] if host in _LOOPBACK else ["*"]
        request_limits = RequestLimits(megabytes=options.max_megabytes)
        serve(create_app(reloader, request_limits, hosts, options.workers), listening)
    return 0


if __name__ == "__main__":
    sys.exit(main())
