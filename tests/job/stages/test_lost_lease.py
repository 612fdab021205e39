"""Stages on S3 whose lease another run takes over in the middle: they end, and leave what is there to the other run."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import unquote

import boto3
import pytest
from pyspark.sql import SparkSession

from job import storage
from job.errors import RunError
from job.features.layout import model_name, models
from job.features.snapshot import read_snapshot
from job.settings import Settings
from job.spark.shipping import ship
from job.stages.featurize import featurize
from job.stages.hold import naming_files
from job.stages.prune import prune
from job.stages.reduce import reduce
from job.stages.report import report
from job.storage import s3
from job.storage.lock import locked
from tests.conftest import make_images
from tests.faulty_s3 import OTHER_ACCOUNTS, Fault, FaultyS3, Request, faulty_s3, s3_variables
from tests.job.images.listings import aws_in_workers
from tests.schedules import AT_ONCE, BUCKET, copy_prefix
from tests.tiny_model import make_tiny_model

LATER = "29990101T000000-ffffff"  # a run after all others


@dataclass(frozen=True)
class Moment:
    """When the lease is lost: at the first request of a method whose path has this part, or at the one that follows.

    Only requests after the PUT of a path with the part `after` count. In parts, `{model}` stands for the other model.
    """

    method: str
    part: str
    following: bool = False
    after: str = ""

    def __str__(self) -> str:
        """Return the moment in words."""
        after = f", after {self.after}" if self.after else ""
        return f"{'following ' if self.following else ''}{self.method} {self.part}{after}"


@dataclass
class Theater:
    """A server, a session, and an output with features of two models, of which some are not current, in small files."""

    spark: SparkSession
    server: FaultyS3
    settings: Settings
    other_model: str
    number: int = 0

    def output(self) -> str:
        """Return an output with these results."""
        self.number += 1
        output = f"s3://{BUCKET}/{self.number}"
        copy_prefix(self.settings.output, output)
        return output

    def lose_lease(self, output: str, moment: Moment, found: dict[str, str]) -> Callable[[Request], Fault | None]:
        """Return the rule by which another run takes over at a moment; `found` holds what is there from then on."""
        seen: list[str] = []
        part, after = (text.format(model=self.other_model) for text in (moment.part, moment.after))
        lock = threading.Lock()

        def rule(request: Request) -> Fault | None:
            with lock:
                path = unquote(request.path)
                begun = not after or "after" in seen
                if request.method == "PUT" and after in path:
                    seen.append("after")
                now = moment.following and "moment" in seen
                if begun and request.method == moment.method and part in path:
                    seen.append("moment")
                    now = now or not moment.following
                if found or not now:
                    return None
                found["taken over at"] = request.path
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self._take_over, output, found).result()
            return None

        return rule

    def _take_over(self, output: str, found: dict[str, str]) -> None:
        """Take over the lease, as another run would, and begin to write."""
        with locked(output, times=AT_ONCE, naming=naming_files):
            found.update(contents(output))
            # What a run writes before it names anything, and what no lease protects.
            for name in (
                *(f"{model_name(model)}/wave={LATER}-0000/part-00000.parquet" for model in models(output)),
                *(f"{model_name(model)}/_model/model.tflite" for model in models(output)),
                *(f"{folder}/run={LATER}-0000/part" for folder in ("_results", "pca_model", "neighbours")),
                *(f"work/run={LATER}/selection/part", "model/model.tflite", "pca_matrix.csv", "rejected.csv"),
                *("report.html", "report_suspects.csv"),
            ):
                storage.write(storage.join(output, name), f"{name} of the other run".encode())
            found.update(contents(output))


def contents(output: str) -> dict[str, str]:
    """Return the entity tag of each object of an output by its key, the lease left out."""
    client, (_, prefix) = boto3.client("s3"), storage.split_s3(output)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    tags = {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}
    return {key: tag for key, tag in tags.items() if not key.endswith("/.lock")}


@pytest.fixture(scope="module")
def theater(spark: SparkSession, moto_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theater]:
    folder = tmp_path_factory.mktemp("lost")
    images = make_images(folder / "images", {"a": 6, "b": 5})
    with pytest.MonkeyPatch.context() as patch, faulty_s3(moto_endpoint) as server:
        for name in OTHER_ACCOUNTS:
            patch.delenv(name, raising=False)
        for name, value in s3_variables(server.url).items():
            patch.setenv(name, value)
        s3.forget()
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        prepared = Settings(images=str(images), output=f"s3://{BUCKET}/prepared", components=2, report=False)
        made: list[str] = []
        with aws_in_workers(spark):
            ship(spark)
            for limit, seed in ((None, 1), (6, 2), (None, 2), (8, 2)):
                model = make_tiny_model(folder / f"model-{seed}", seed=seed)
                prepared = replace(prepared, limit=limit, model=str(model))
                made.append(featurize(spark, prepared).fingerprint)
            reduce(spark, prepared)
            make_images(images, {"c": 3})
            yield Theater(spark, server, prepared, made[0])
    s3.forget()


def command(name: str, theater: Theater, output: str) -> None:
    settings = replace(theater.settings, output=output)
    if name == "run":
        featurize(theater.spark, replace(settings, limit=None))
        reduce(theater.spark, settings)
    elif name == "compaction":
        featurize(theater.spark, replace(settings, limit=11), small_files=1)
    elif name == "prune":
        prune(theater.spark, settings)
    elif name == "report":
        report(theater.spark, settings)
    else:
        csv = name != "reduce without CSV"
        reduce(theater.spark, replace(settings, csv=csv, report=name == "reduce and report"))


MOMENTS = [
    ("run", Moment("GET", "/run.json")),
    ("run", Moment("GET", "/_COMMIT.json")),
    ("run", Moment("PUT", "/_model/", following=True)),
    ("run", Moment("PUT", "-0000/part-00000")),
    ("run", Moment("PUT", "/_CURRENT.json", following=True)),
    ("compaction", Moment("PUT", "-0000/part-00000")),
    ("compaction", Moment("PUT", "-0000/part-00000", following=True)),
    ("reduce", Moment("GET", "/run.json")),
    ("reduce", Moment("PUT", "/basis.npz")),
    ("reduce", Moment("PUT", "/index.json")),
    ("reduce", Moment("PUT", "/rejected.csv", following=True)),
    ("reduce", Moment("PUT", "/model/", following=True)),
    ("reduce", Moment("PUT", "/pca_results/")),
    ("reduce", Moment("POST", "delete", following=True)),
    ("reduce", Moment("PUT", "/run.json")),
    ("reduce", Moment("PUT", "/run.json", following=True)),
    ("reduce without CSV", Moment("POST", "delete", following=True)),
    ("reduce and report", Moment("PUT", "/run.json", following=True)),
    ("reduce and report", Moment("GET", "/_results/", after="/run.json")),
    ("report", Moment("GET", "/_results/")),
    ("prune", Moment("GET", "/_COMMIT.json")),
    ("prune", Moment("PUT", "-0000/part-00000")),
    ("prune", Moment("PUT", "/_CURRENT.json", following=True)),
    ("prune", Moment("POST", "delete", following=True)),
    ("prune", Moment("GET", "/features/model={model}/&encoding", after="/features/model={model}/wave=")),
]


@pytest.mark.parametrize(("name", "moment"), MOMENTS, ids=[f"{name}: {moment}" for name, moment in MOMENTS])
def test_a_stage_that_lost_its_lease_ends_and_leaves_all_to_its_successor(
    theater: Theater, name: str, moment: Moment
) -> None:
    output, found = theater.output(), dict[str, str]()
    theater.server.rule = theater.lose_lease(output, moment, found)
    try:
        command(name, theater, output)
    except RunError as error:
        ended = str(error)
    else:
        ended = "done"
    finally:
        theater.server.rule = lambda _: None
    assert found.pop("taken over at", None), f"there was no such moment, and the end was: {ended}"
    assert ended.startswith("another run has taken over")
    after = contents(output)
    scratch = "/reduction-"  # of the loser alone
    assert {key: after.get(key) for key in found if scratch not in key} == {
        key: tag for key, tag in found.items() if scratch not in key
    }
    new = {storage.name(key): key.split("/")[1] for key in after.keys() - found.keys()}
    assert not new.keys() & {"run.json", "_CURRENT.json", "_COMMIT.json"}
    on_its_way = {"pca_results"} if moment.part == "/pca_results/" else set()
    assert set(new.values()) <= {"features", "_results", "pca_model", "neighbours", "work"} | on_its_way
    read_snapshot(output)
