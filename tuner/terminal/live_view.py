"""A search on one screen, as wide and as high as the terminal is at the moment."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from tuner.runs.records import trial_name
from tuner.terminal.search_state import RungCount, SearchState
from tuner.text import configuration, duration, printable, size

_TICKS = "▁▂▃▄▅▆▇█"
_BAR = "━"
_INDENT = 5  # of what belongs to the line above
_MARGIN = 2  # lines of the terminal that stay free: the cursor's, and one that was said before


@dataclass(frozen=True)
class Resources:
    """What a search takes.

    Attributes:
        cache_bytes: of the cache folder; None where it is not known.
        memory_bytes: of the process's memory that are in use; likewise.
        peak_bytes: of it that were in use at most, where the system tells that alone.
    """

    cache_bytes: int | None = None
    memory_bytes: int | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class LiveView:
    """A search on one screen: what does not fit is left out, the least important first.

    Args:
        course: how far it has come.
        objective: what its score is.
        resources: what it takes.
        now: the time, by the clock of the course.
    """

    course: SearchState
    objective: str
    resources: Resources
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines that fit the terminal."""
        yield from self.fitting(options.max_width, console.size.height)

    def fitting(self, width: int, height: int) -> Iterator[Text]:
        """Lines that fit a terminal.

        Args:
            width: of the terminal, in characters.
            height: of it, in lines; two stay free.
        """
        lines = [(rank, line) for rank, line in self._lines(width) if line is not None]
        room = max(1, height - _MARGIN)
        kept = sorted(range(len(lines)), key=lambda number: (lines[number][0], number))[:room]
        for number in sorted(kept):
            line = lines[number][1]
            line.truncate(width, overflow="ellipsis")
            line.no_wrap = True
            yield line

    def _lines(self, width: int) -> Iterable[tuple[int, Text | None]]:
        """Each line with its rank: the higher, the sooner it is left out."""
        yield 8, Text()
        yield 0, self._progress(width)
        yield 2, self._amounts()
        yield 7, Text()
        yield 6, Text("Trials done of how many, to which epoch", style="dim")
        for name, counts in self.course.brackets():
            at_work = any(count.running for count in counts)
            yield from _ranked(_bracket(name, counts, width), *((1, 3) if at_work else (5, 5)))
        if self.course.schedule.iterations > 1:
            number = f"{self.course.iteration + 1} of {self.course.schedule.iterations}"
            yield 6, Text(f"Hyperband iteration {number}", style="dim")
        yield 7, Text()
        yield from _ranked(self._best(width), 1, 3)
        yield 4, self._sparkline(width)
        yield from _ranked(self._running(width), 2, 6)
        yield 6, self._resources()

    def _progress(self, width: int) -> Text:
        left = self.course.left(self.now)
        about = "time left unknown" if left is None else f"about {duration(left)} left"
        share = self.course.share(self.now)
        words = f" {share:>4.0%}".replace("%", " %") + f", {about}"
        length = max(4, min(40, width - cell_len(words)))
        filled = round(length * share)
        return Text.assemble(
            (_BAR * filled, "green"), (_BAR * (length - filled), "dim"), (words, "bold")
        )

    def _amounts(self) -> Text:
        course, schedule = self.course, self.course.schedule
        trials, epochs = course.rates(self.now)
        return Text(
            f"{course.trials}/{schedule.total_trials} trials, {_rate(trials)} a minute; "
            f"{course.epochs}/{schedule.total_epochs} epochs, {_rate(epochs)} a minute"
        )

    def _best(self, width: int) -> Iterator[Text]:
        """The leader, and from the second line on its configuration."""
        best = self.course.best
        if best is None or best.score is None:
            return
        where = f" {self.objective}, trial {trial_name(best.id)} at epoch {best.epochs}"
        score = Text.assemble("best ", (f"{best.score:.4f}", "bold green"), where)
        recipe = [f"the {printable(best.recipe)}"] if best.recipe else []
        yield from _wrapped([score.append("," if recipe else ""), *recipe], width)
        yield from _wrapped([" " * (_INDENT - 1), *_parts(best.hyperparameters)], width)

    def _sparkline(self, width: int) -> Text | None:
        improvements = self.course.improvements
        if len(improvements) < 2:
            return None
        first, last = improvements[0][1], improvements[-1][1]
        words = f" {first:.4f} to {last:.4f} in {duration(self.now - self.course.begun)}"
        length = max(4, min(40, width - 5 - cell_len(words)))
        ticks = sparkline(improvements, self.course.begun, self.now, length)
        return Text.assemble(" " * _INDENT, (ticks, "green"), words)

    def _running(self, width: int) -> Iterator[Text]:
        running = self.course.running
        if running is None:
            return
        name = trial_name(running.trial.id)
        where = f"now  trial {name}, epoch {running.epoch} of {running.end_epoch}:"
        for line in _wrapped([where, *_parts(running.trial.hyperparameters)], width):
            line.stylize("dim")
            yield line

    def _resources(self) -> Text | None:
        parts = [
            f"{name} {size(amount)}"
            for name, amount in (
                ("cache", self.resources.cache_bytes),
                ("memory", self.resources.memory_bytes),
                ("memory at most", self.resources.peak_bytes),
            )
            if amount is not None
        ]
        return Text(f"{' ' * _INDENT}{', '.join(parts)}", style="dim") if parts else None


def sparkline(
    improvements: Iterable[tuple[float, float]], begin: float, end: float, width: int
) -> str:
    """The leading score over time, a character a moment; spaces before the first.

    Args:
        improvements: when it changed, and to what.
        begin: when the line begins.
        end: when it ends.
        width: characters.
    """
    scores: list[float | None] = []
    changes = sorted(improvements)
    for column in range(width):
        moment = begin + (end - begin) * (column + 1) / width
        scores.append(next((score for at, score in reversed(changes) if at <= moment), None))
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    steps = len(_TICKS) - 1
    return "".join(
        " " if score is None else _TICKS[round(steps * (score - low) / max(high - low, 1e-12))]
        for score in scores
    )


def _bracket(name: str, counts: Iterable[RungCount], width: int) -> Iterator[Text]:
    label = Text(f"{name if name.isalpha() else f'bracket {name}':<10}")
    return _wrapped([label, *map(_rung, counts)], width, len(label) + 1)


def _rung(count: RungCount) -> Text:
    full = count.done >= count.size
    style = "green" if full else "bold" if count.running or count.done else "dim"
    return Text(f"{f'{count.done}/{count.size} to {count.end_epoch}':<12}", style=style)


def _ranked(lines: Iterable[Text], first: int, others: int) -> Iterator[tuple[int, Text]]:
    """Lines with the rank of the first of them, and of those that it goes on in."""
    return zip(itertools.chain([first], itertools.repeat(others)), lines, strict=False)


def _parts(hyperparameters: Mapping[str, Any]) -> list[str]:
    """A configuration in parts that stay on one line."""
    return configuration(hyperparameters).replace(", ", ",\n").split("\n")


def _wrapped(parts: Sequence[str | Text], width: int, indent: int = _INDENT) -> Iterator[Text]:
    """Parts with a space between them, on as many lines as they need."""
    first, *others = parts
    line = Text.assemble(first)
    for part in others:
        longer = Text.assemble(line, " ", part)
        if line.plain.strip() and cell_len(longer.plain.rstrip()) > width:
            line.rstrip()
            yield line
            longer = Text.assemble(" " * indent, part)
        line = longer
    line.rstrip()
    yield line


def _rate(each_minute: float) -> str:
    return f"{each_minute:.1f}" if each_minute < 10 else f"{each_minute:.0f}"
