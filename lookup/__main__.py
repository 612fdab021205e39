"""The commands of lookup: a thin layer over the Python API, and the only place that exits."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from job import storage
from job.errors import JobError
from job.images.decode import Rejected
from job.progress import Progress, terminal
from job.settings import DEFAULT_MAX_PIXELS
from lookup.classifier import Answer, Catalogue, Neighbour
from lookup.embed import Embedders, Point
from lookup.evaluate import as_json as evaluation_as_json
from lookup.evaluate import as_text as evaluation_as_text
from lookup.evaluate import evaluate
from lookup.formatters import Told, as_csv, as_html, as_json, as_table
from lookup.images import find

_EPILOG = """exit status: 0 done; 1 some of the pictures cannot be used, the others are told; 2 something given cannot
be used; 130 interrupted

examples:
  python -m lookup search photo.jpg --output results -k 10
  python -m lookup classify photos/ --output s3://bucket/results --csv > names.csv
  python -m lookup evaluate --output results
  python -m lookup serve --output results --port 8000
"""
_MOST_NEIGHBOURS = 1_000
_ASKED_AT_A_TIME = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the answer has seen enough
        sys.stdout = None
        return 0
    except OSError as error:
        print(f"error: cannot read or write {error.filename}: {error.strerror or error}", file=sys.stderr)
        return JobError.exit_status
    except Exception as error:  # noqa: BLE001 - the last resort: one line for people
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return JobError.exit_status
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lookup",
        description="Names a photo from its nearest neighbours among the results of a run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("--output", required=True, metavar="DIR", help="folder or s3:// prefix that a run has written")
        one.set_defaults(command=command)
        return one

    _add_questions(add("search", _search, "the pictures nearest to these, with their similarity"))
    _add_questions(add("classify", _classify, "what these pictures show, and how sure that is"))
    evaluate = add("evaluate", _evaluate, "how often classify is right, by cross-validation on the results themselves")
    evaluate.add_argument("--json", action="store_true", help="all figures as JSON")
    serve = add("serve", _serve, "a page where one drops a picture and sees its name, and the same as a JSON endpoint")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_number(0, 65_535), default=8000, metavar="N", help="(default: %(default)s)")
    serve.add_argument("--max-megabytes", type=_number(1, 1_024), default=20, metavar="N",
                       help="size of a picture that is taken (default: %(default)s)")  # fmt: skip
    serve.add_argument("--max-pixels", type=_number(1, DEFAULT_MAX_PIXELS), default=50_000_000, metavar="N",
                       help="pixels of a picture that is taken (default: %(default)s)")  # fmt: skip
    serve.add_argument("--workers", type=_number(1, 256), default=os.cpu_count() or 1, metavar="N",
                       help="pictures that are worked on at a time (default: one a core)")  # fmt: skip
    return parser


def _add_questions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="file, folder (read recursively) or s3:// address"
    )
    parser.add_argument("-k", type=_number(1, _MOST_NEIGHBOURS), default=5, metavar="N",
                        help="neighbours to name (default: %(default)s)")  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const=as_json, help="a JSON list instead of a table")
    form.add_argument("--csv", dest="form", action="store_const", const=as_csv, help="a line for each picture")
    form.add_argument("--html", dest="form", action="store_const", const=as_html, help="a page with thumbnails")
    parser.set_defaults(form=as_table)


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {low} to {high:,}")
        return int(text)

    return read


def _search(options: argparse.Namespace) -> int:
    catalogue = Catalogue(options.output, terminal())

    def ask(points: list[Point]) -> list[tuple[list[Neighbour], None]]:
        return [(neighbours, None) for neighbours in catalogue.search(points, options.k)]

    return _told(options, catalogue, ask)


def _classify(options: argparse.Namespace) -> int:
    catalogue = Catalogue(options.output, terminal())
    catalogue.prepare()

    def ask(points: list[Point]) -> list[tuple[list[Neighbour], Answer]]:
        return [(answer.neighbours, answer) for answer in catalogue.classify(points, options.k)]

    return _told(options, catalogue, ask)


def _told(
    options: argparse.Namespace,
    catalogue: Catalogue,
    ask: Callable[[list[Point]], Sequence[tuple[list[Neighbour], Answer | None]]],
) -> int:
    """Print what is told of each picture that was asked about; return the exit status."""
    paths = find(options.pictures)
    all_told: list[Told] = []
    with Embedders(catalogue.recipe, min(len(paths), os.cpu_count() or 1)) as embedders:
        progress = terminal() if len(paths) > 1 else Progress()
        with progress.counting("looked up", len(paths)) as update:
            points = _points(paths, embedders)
            # Many at a time: each search reads the whole index.
            while some := list(islice(points, _ASKED_AT_A_TIME)):
                usable = [point for _, point in some if isinstance(point, Point)]
                answers = iter(ask(usable) if usable else ())
                for path, point in some:
                    shown = storage.text(path)
                    if isinstance(point, Rejected):
                        all_told.append(Told(shown, [], error=str(point)))
                    else:
                        all_told.append(Told(shown, *next(answers)))
                update(len(all_told))
    print(options.form(all_told))
    return 1 if any(told.error for told in all_told) else 0


def _points(paths: list[str], embedders: Embedders) -> Iterator[tuple[str, Point | Rejected]]:
    """Yield each picture's path, and its point or why it has none."""

    def point(path: str) -> Point | Rejected:
        try:
            return embedders.point(storage.read(path))
        except Rejected as rejected:
            return rejected
        except OSError as error:
            return Rejected("cannot be read", error.strerror or str(error))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from zip(paths, pool.map(point, paths), strict=True)


def _evaluate(options: argparse.Namespace) -> int:
    evaluation = evaluate(Catalogue(options.output))
    print(evaluation_as_json(evaluation) if options.json else evaluation_as_text(evaluation))
    return 0


def _serve(options: argparse.Namespace) -> int:
    try:
        from lookup.service import Door, create_app, listen, serve  # noqa: PLC0415 - only this command needs FastAPI
    except ModuleNotFoundError as error:
        raise JobError(f"serve needs {error.name}: make setup, or pip install -r requirements-lookup.txt") from None
    from lookup.reloader import Desk, Limits  # noqa: PLC0415

    with listen(options.host, options.port) as listening:
        limits = Limits(pixels=options.max_pixels, workers=options.workers)
        with Desk(options.output, limits) as desk:
            host, port = listening.getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            about = desk.about()
            print(f"{about['pictures']:,} pictures, {about['labels']:,} labels, {about['model']}", file=sys.stderr)
            print(f"serving http://{name}:{port}/ (Ctrl-C stops)", file=sys.stderr, flush=True)
            loopback = host in {"127.0.0.1", "::1"}
            hosts = ["127.0.0.1", "localhost", "[::1]"] if loopback else ["*"]
            serve(create_app(desk, Door(megabytes=options.max_megabytes), hosts, options.workers), listening)
    return 0


if __name__ == "__main__":
    sys.exit(main())
