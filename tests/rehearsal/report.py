"""The steps of the rehearsal: what is done in, on the terminal a line when it is done and a table at the end out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.rehearsal.proofs import NotProvenError


@dataclass
class Report:
    """The steps until now, each with its seconds and what was proven, or what was not."""

    steps: list[tuple[str, float, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def step(self, name: str, prove: Callable[[], str]) -> bool:
        """Do something; return whether it has proven what it should."""
        began = time.monotonic()
        try:
            proven = prove()
        except NotProvenError as error:
            proven = f"NOT PROVEN: {error}"
            self.failed.append(f"{name}: {error}")
        self.steps.append((name, time.monotonic() - began, proven))
        print(f"{time.monotonic() - began:7.1f} s  {name}: {proven}", flush=True)
        return not proven.startswith("NOT PROVEN")

    def __str__(self) -> str:
        """Return the table."""
        rows = [(name, f"{seconds:.1f} s", proven.splitlines()[0]) for name, seconds, proven in self.steps]
        rows = [("step", "time", "proven"), *rows, ("in all", f"{sum(step[1] for step in self.steps):.1f} s", "")]
        wide = [max(len(row[column]) for row in rows) for column in range(2)]
        return "\n".join(f"{name:{wide[0]}}  {took:>{wide[1]}}  {proven}".rstrip() for name, took, proven in rows)
