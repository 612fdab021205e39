"""The plan of a pruning: waves with rows that are not current go, their current rows move, other models go."""

from job.features.pruning import PrunePlan, plan_compaction, plan_pruning
from job.features.snapshot import RowMask
from job.features.wave import DataFile
from tests.job.features.stores import FINGERPRINT, snapshot

WAVES = [f"features/model={FINGERPRINT}/wave={run}-0000" for run in ("a", "b", "c", "d")]


def file(wave: int, number: int, rows: int, row_bytes: int = 1_000_000) -> DataFile:
    return DataFile(f"{WAVES[wave]}/part-{number:05d}.parquet", rows, row_bytes * rows)


def masks(*files: DataFile) -> tuple[RowMask, ...]:
    return tuple(map(RowMask.whole, files))


def test_only_waves_with_rows_that_are_not_current_go() -> None:
    whole, mixed, unused = (file(0, 0, 3), file(0, 1, 4)), (file(1, 0, 5), file(1, 1, 6), file(1, 2, 2)), file(2, 0, 7)
    masked = RowMask(mixed[0], "work/mask.parquet", 2)
    current = snapshot(*masks(*whole), masked, *masks(mixed[1]))
    plan = plan_pruning(current, [*whole, *mixed, unused], ["f" * 16, FINGERPRINT, "0" * 16])
    assert plan == PrunePlan(
        models=("f" * 16, "0" * 16),
        waves=(WAVES[1], WAVES[2]),
        rows=3 + 2 + 7,
        bundles=((masked, RowMask.whole(mixed[1])),),
    )
    assert plan.moving == (masked, RowMask.whole(mixed[1]))
    assert plan.moving_rows == 8
    new = file(3, 0, 8)
    after = plan.apply(current, [new])
    assert after.row_masks == masks(*whole, new)
    assert after.counts == current.counts


def test_a_table_that_is_all_current_loses_nothing() -> None:
    files = [file(0, 0, 3), file(1, 0, 5)]
    plan = plan_pruning(snapshot(*masks(*files)), files, [FINGERPRINT])
    assert plan == PrunePlan(models=(), waves=(), rows=0, bundles=())


def test_small_files_are_merged_up_to_the_size_of_a_file_and_large_ones_left() -> None:
    small = [file(wave, number, 900, 100) for wave in (0, 2) for number in range(2)]
    large = [file(1, number, 4_000, 1_000) for number in range(3)]
    files = [*small[:2], *large, *small[2:]]
    plan = plan_pruning(snapshot(*masks(*files)), files, [FINGERPRINT])
    assert plan == PrunePlan((), (WAVES[0], WAVES[2]), 0, (masks(*small[:2]), masks(*small[2:])))
    assert plan_compaction(snapshot(*masks(*files)), files, 3) == plan
    assert not plan_compaction(snapshot(*masks(*files)), files, 4).bundles


def test_a_single_small_file_stays() -> None:
    files = [file(0, 0, 4_000, 100), file(1, 0, 4_000, 1_000)]
    assert not plan_pruning(snapshot(*masks(*files)), files, [FINGERPRINT]).waves


def test_a_compaction_leaves_rows_that_are_not_current() -> None:
    files = [file(0, 0, 400, 100), file(0, 1, 400, 100), file(1, 0, 300, 100)]
    current = snapshot(RowMask(files[0], "work/mask.parquet", 399), *masks(*files[1:]))
    assert plan_compaction(current, files, 0).waves == (WAVES[1],)
