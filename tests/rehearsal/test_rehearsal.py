"""From `cdk deploy` to results in the bucket, with few images; the tests go on from one another, on one stack.

Of the role's rights two are taken away here; `make rehearse ALL=1` takes each in turn. What moto cannot judge is in the
docstring of this package.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import make_images
from tests.rehearsal import grants, proofs
from tests.rehearsal.checkout import checkout, need_everything
from tests.rehearsal.proofs import Rehearsal
from tests.rehearsal.stage import Stage, staged

LABELS = {"apple": 12, "pomme d'été #1 +%20": 10}


@pytest.fixture(scope="module", autouse=True)
def _everything() -> None:
    need_everything()


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # Asked for only once all is there that is needed: it takes half a minute to build.
    built: Path = request.getfixturevalue("built")
    folder = tmp_path_factory.mktemp("rehearsal")
    project = checkout(folder / "checkout", built)
    (folder / "runs").mkdir()
    with staged(project, folder / "runs", {"WEIGHTS": "embedded"}) as deployed:
        yield deployed
    assert [path.name for path in (folder / "runs").iterdir()] == ["python"]


@pytest.fixture(scope="module")
def rehearsal(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """Return the rehearsal after its first run."""
    return begun(stage, tmp_path_factory.mktemp("images"))


def begun(stage: Stage, folder: Path) -> Rehearsal:
    """Make images in a folder, and return the rehearsal after its first run, which has some of them."""
    images = make_images(folder, LABELS, size=100)
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.jpg"))
    started = Rehearsal(stage, images, first=names[:12], later=names[12:], components=4)
    started.upload(started.first)
    proofs.first_run(started)
    return started


def test_second_submission_infers_nothing(rehearsal: Rehearsal) -> None:
    proofs.second_run(rehearsal)


def test_a_run_is_cancelled_in_the_middle_and_the_next_one_completes(rehearsal: Rehearsal) -> None:
    proofs.cancelled_run(rehearsal)
    proofs.next_run(rehearsal)


def test_results_are_those_of_a_run_on_this_machine(rehearsal: Rehearsal) -> None:
    proofs.same_as_local(rehearsal)


@pytest.mark.parametrize(("action", "output"), [("s3:PutObject", "Results"), ("s3:ListBucket", "Images")])
def test_a_right_that_is_missing_is_named(action: str, output: str, rehearsal: Rehearsal) -> None:
    proofs.refused_without(rehearsal, grants.find(rehearsal.stage, action, output))


@pytest.mark.parametrize("prove", [proofs.bad_argument, proofs.broken_images])
def test_a_run_that_fails_has_the_last_word(prove: Callable[[Rehearsal], str], rehearsal: Rehearsal) -> None:
    prove(rehearsal)


def test_the_submitter_ends_with_the_jobs_last_words(rehearsal: Rehearsal) -> None:
    proofs.failure_reported(rehearsal)


def test_what_runs_is_the_archive(rehearsal: Rehearsal) -> None:
    proofs.empty_archive(rehearsal)


def test_a_token_starts_one_run(rehearsal: Rehearsal) -> None:
    proofs.one_run_a_token(rehearsal)
