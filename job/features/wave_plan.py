"""The plan of a run's waves: which images each wave takes, and how its tasks share them. No Spark, no storage.

The first wave is short, as nobody knows yet how fast this machine is; each later one is planned by the rate of the one
before, and grows until it takes `wave_seconds`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Pace:
    """How long waves and their tasks are to take.

    Attributes
    ----------
    first_rate : float
        Rate that the first wave is planned for, in images per second and core.
    first_wave_seconds : float
        Duration of the first wave.
    wave_growth : float
        How many times as long as the wave before a wave may take.
    first_task_seconds : float
        Duration of the first wave's tasks: short, because progress is known only when a task is done.
    task_seconds : float
        Duration of all other tasks.
    task_images : int
        Fewest images of a task: a handful of images is not worth another worker.
    last_wave_share : float
        A last wave of less than this share of a whole one, beyond it, is done together with the one before.
    """

    first_rate: float = 100
    first_wave_seconds: float = 10
    wave_growth: float = 3
    first_task_seconds: float = 5
    task_seconds: float = 15
    task_images: int = 8
    last_wave_share: float = 0.3


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` of a part of the listing, whose address is `part`."""

    part: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.stop - self.start


@dataclass(frozen=True)
class WavePlan:
    """What is left to do, and how the next wave does its share of it.

    Attributes
    ----------
    slices : tuple of Slice
        The images that no wave has taken yet.
    cores : int
        Number of tasks that run at once.
    wave_seconds : float
        Longest that a wave may take.
    rate : float
        Expected rate of the next wave, in images per second on all cores.
    seconds, task_seconds : float
        Planned duration of the next wave and of its tasks.
    number : int
        Number of the next wave.
    pace : Pace
    """

    slices: tuple[Slice, ...]
    cores: int
    wave_seconds: float
    rate: float
    seconds: float
    task_seconds: float
    number: int = 0
    pace: Pace = field(default_factory=Pace)

    @classmethod
    def first(cls, slices: Iterable[Slice], cores: int, wave_seconds: float, pace: Pace) -> "WavePlan":
        """Return the plan of a run's first wave."""
        return cls(
            slices=tuple(slices),
            cores=cores,
            wave_seconds=wave_seconds,
            rate=pace.first_rate * cores,
            seconds=min(pace.first_wave_seconds, wave_seconds),
            task_seconds=min(pace.first_task_seconds, wave_seconds),
            pace=pace,
        )

    @property
    def rows_left(self) -> int:
        """Return how many images no wave has taken yet."""
        return sum(each.rows for each in self.slices)

    @property
    def rows(self) -> int:
        """Return how many images the next wave takes."""
        rows, left = max(self.cores, int(self.rate * self.seconds)), self.rows_left
        return left if left < (1 + self.pace.last_wave_share) * rows else rows

    def tasks(self) -> list[list[Slice]]:
        """Return the slices of each task of the next wave: equal shares, as many for each core."""
        rows, rate_of_core = self.rows, self.rate / self.cores
        count = max(1, round(rows / (rate_of_core * self.task_seconds)))
        count = -(-count // self.cores) * self.cores
        count = min(count, max(1, rows // self.pace.task_images))
        slices = deque(self.slices)
        return [take(slices, rows * (index + 1) // count - rows * index // count) for index in range(count)]

    def after(self, seconds: float) -> "WavePlan":
        """Return the plan of the wave that follows, once this one took so long."""
        rows, seconds = self.rows, max(seconds, 1e-3)
        slices = deque(self.slices)
        take(slices, rows)
        return replace(
            self,
            slices=tuple(slices),
            rate=rows / seconds,
            seconds=min(self.pace.wave_growth * max(seconds, 1), self.wave_seconds),
            task_seconds=min(self.pace.task_seconds, self.wave_seconds),
            number=self.number + 1,
        )


def take(slices: deque[Slice], rows: int) -> list[Slice]:
    """Remove `rows` rows from the front of the slices, and return them."""
    taken = []
    while rows:
        front = slices.popleft()
        cut = min(front.stop, front.start + rows)
        taken.append(Slice(front.part, front.start, cut))
        if cut < front.stop:
            slices.appendleft(Slice(front.part, cut, front.stop))
        rows -= cut - front.start
    return taken
