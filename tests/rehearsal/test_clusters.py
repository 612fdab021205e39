"""The same job as a step of a cluster, from `cdk deploy` to results in the bucket, with few images, on one stack.

`make rehearse TARGET=cluster` shows more: what is not inferred twice, kept clusters, broken images.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rehearsal import cluster_proofs, grants, proofs
from tests.rehearsal.checkout import checkout, need_everything
from tests.rehearsal.proofs import Rehearsal
from tests.rehearsal.stage import staged
from tests.rehearsal.test_rehearsal import begun


@pytest.fixture(scope="module")
def rehearsal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """Return the rehearsal after its first run; nothing of a cluster is left at its end."""
    need_everything()
    built: Path = request.getfixturevalue("built")
    folder = tmp_path_factory.mktemp("clusters")
    project = checkout(folder / "checkout", built)
    (folder / "runs").mkdir()
    with staged(project, folder / "runs", {"WEIGHTS": "embedded"}, "cluster") as stage:
        yield begun(stage, tmp_path_factory.mktemp("images"))


def test_results_are_those_of_a_run_on_this_machine(rehearsal: Rehearsal) -> None:
    proofs.same_as_local(rehearsal)


def test_ctrl_c_ends_the_step_and_the_cluster(rehearsal: Rehearsal) -> None:
    proofs.cancelled_run(rehearsal)
    rehearsal.stage.free()


def test_a_step_that_fails_ends_its_cluster_and_has_the_last_word(rehearsal: Rehearsal) -> None:
    cluster_proofs.failed_step(rehearsal)


def test_another_archive_is_refused(rehearsal: Rehearsal) -> None:
    cluster_proofs.other_archive(rehearsal)


def test_a_right_that_the_nodes_lack_is_named(rehearsal: Rehearsal) -> None:
    proofs.refused_without(rehearsal, grants.find(rehearsal.stage, "s3:PutObject", "Results"))


def test_nothing_goes_on(rehearsal: Rehearsal) -> None:
    cluster_proofs.nothing_goes_on(rehearsal)
