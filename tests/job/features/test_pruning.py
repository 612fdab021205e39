"""The plan of a pruning: waves with rows that are not current go, their current rows move, other models go."""

from job.features.pruning import PrunePlan, plan_pruning
from job.features.snapshot import RowMask
from job.features.wave import DataFile
from tests.job.features.stores import FINGERPRINT, snapshot

WAVES = [f"features/model={FINGERPRINT}/wave={run}-0000" for run in ("a", "b", "c", "d")]


def file(wave: int, number: int, rows: int) -> DataFile:
    return DataFile(f"{WAVES[wave]}/part-{number:05d}.parquet", rows, 100 * rows)


def test_only_waves_with_rows_that_are_not_current_go() -> None:
    whole, mixed, unused = (file(0, 0, 3), file(0, 1, 4)), (file(1, 0, 5), file(1, 1, 6), file(1, 2, 2)), file(2, 0, 7)
    masked = RowMask(mixed[0], "work/mask.parquet", 2)
    current = snapshot(*map(RowMask.whole, whole), masked, RowMask.whole(mixed[1]))
    plan = plan_pruning(current, [*whole, *mixed, unused], ["f" * 16, FINGERPRINT, "0" * 16])
    assert plan == PrunePlan(
        models=("f" * 16, "0" * 16),
        waves=(WAVES[1], WAVES[2]),
        rows=3 + 2 + 7,
        moving=(masked, RowMask.whole(mixed[1])),
    )
    assert plan.moving_rows == 8
    new = file(3, 0, 8)
    after = plan.apply(current, [new])
    assert after.row_masks == tuple(map(RowMask.whole, (*whole, new)))
    assert after.counts == current.counts


def test_a_table_that_is_all_current_loses_nothing() -> None:
    files = [file(0, 0, 3), file(1, 0, 5)]
    plan = plan_pruning(snapshot(*map(RowMask.whole, files)), files, [FINGERPRINT])
    assert plan == PrunePlan(models=(), waves=(), rows=0, moving=())
