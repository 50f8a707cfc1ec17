"""A clock that a test sets."""


class Clock:
    """Takes the place of `time`.

    Args:
        now: seconds that it shows at first.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now
