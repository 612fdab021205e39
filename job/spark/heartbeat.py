"""A function called again and again, in a thread, while other work lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeatedly(function: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call a function every `seconds` seconds for the duration of the block, in its own thread, and once at the end."""
    ended = threading.Event()

    def work() -> None:
        last = False
        while not last:
            last = ended.wait(seconds)
            function()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield
    finally:
        ended.set()
        worker.join()
