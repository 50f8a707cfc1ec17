"""The share of a search that the journal and the checkpoints take, for `crash.py`."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import Report, Workload, progress

from tests.support.forked import Child, names_of_calls, paths_of_run, traced

_SYNCS = ("fsync", "fdatasync")


def show_cost(
    report: Report, workload: Workload, options: argparse.Namespace, folder: Path
) -> None:
    progress("cost")
    folder.mkdir()
    larger = Workload(
        workload.image_size,
        options.cost_train,
        options.cost_validation,
        workload.classes,
        32,
        workload.data,
        workload.weights,
    )

    def begin(number: int, space: str) -> Child:
        run = folder / "runs" / f"search-{number}"
        child = Child(
            timed_search,
            larger,
            space,
            options.cost_epochs,
            run,
            folder / "cache",
            folder / f"{number}.json",
            log=folder / f"{number}.log",
            hold_at=0,
        )
        assert child.is_held()
        return child

    # The first prepares the features for all.
    for number, space in enumerate(("spaces:NarrowHeads", "spaces:NarrowHeads", "resnet50")):
        child = begin(number, space)
        child.go()
        _ended(child)
    _show_parts(report, "cost, heads of at most 256 units", _read(folder / "1.json"))
    _show_parts(report, "cost, heads of every width", _read(folder / "2.json"))
    child = begin(3, "spaces:NarrowHeads")
    paths = paths_of_run(folder / "runs" / "search-3", child.pid, most_trials=300)
    with traced(child, paths, calls=_SYNCS) as output:
        _ended(child)
    by_call, timed = Counter(names_of_calls(output)), _read(folder / "3.json")
    report.table(
        "Syncs of a search, heads of at most 256 units",
        [
            {
                "trials": timed["trials"],
                "rungs": timed["rungs"],
                "epochs": timed["epochs"],
                "fsync": by_call["fsync"],
                "fdatasync (SQLite)": by_call["fdatasync"],
                "a rung": sum(by_call.values()) / timed["rungs"],
            }
        ],
    )


def _ended(child: Child) -> None:
    child.happens()  # however long it takes: it reports nothing before its end
    if child.exit_code():
        raise SystemExit(child.printed())


def _read(result: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def _show_parts(report: Report, title: str, timed: dict[str, Any]) -> None:
    seconds = timed["seconds"]
    rows = [
        {
            "what": what,
            "times": count,
            "seconds": spent,
            "ms each": spent / max(1, count) * 1e3,
            "share of the search, %": spent / seconds * 100,
        }
        for what, (count, spent) in timed["parts"].items()
    ]
    rows.append(
        {
            "what": f"all of it, in {seconds:.0f} s and {timed['rungs']} rungs",
            "times": sum(row["times"] for row in rows),
            "seconds": sum(row["seconds"] for row in rows),
            "share of the search, %": sum(row["share of the search, %"] for row in rows),
        }
    )
    report.table(title, rows)


def timed_search(
    tell: Callable[[], None],
    workload: Workload,
    space_name: str,
    max_epochs: int,
    run: Path,
    cache: Path,
    result: Path,
) -> None:
    """In a child: a search whose journal and checkpoints are timed from its first trial on."""
    from search_spaces import load_space
    from tuner.observer import SearchBegins, SearchEvent, SearchObserver
    from tuner.runs.journal import Journal
    from tuner.search import rung
    from tuner.search.tuner import HyperbandTuner
    from tuner.storage.cache import Cache

    parts = {"journal, changes": [0, 0.0], "journal, reading": [0, 0.0], "checkpoints": [0, 0.0]}

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        parts[what][0] += 1
        parts[what][1] += time.perf_counter() - begun

    def wrapped(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*given: Any, **options: Any) -> Any:
            with timed(what):
                return function(*given, **options)

        return timing

    transaction, read = Journal._transaction, Journal._read

    @contextmanager
    def timed_transaction(self: Journal, durable: bool = True) -> Iterator[Any]:
        with timed("journal, changes"), transaction(self, durable) as execute:
            yield execute

    class Clock(SearchObserver):
        begun = 0.0

        def on_event(self, event: SearchEvent) -> None:
            if isinstance(event, SearchBegins):
                for part in parts.values():
                    part[:] = [0, 0.0]
                self.begun = time.perf_counter()

    Journal._transaction = timed_transaction  # type: ignore[method-assign]
    Journal._read = wrapped("journal, reading", read)  # type: ignore[method-assign]
    rung.write_checkpoint = wrapped("checkpoints", rung.write_checkpoint)
    x, y, validation = workload.arrays()
    space = load_space(space_name, workload.class_count(), workload.image_size, workload.weights)
    clock = Clock()
    with Cache(cache) as opened:
        tuner = HyperbandTuner(
            space,
            max_epochs=max_epochs,
            batch_size=workload.batch_size,
            fixed={"unfreeze_blocks": "0"},
            directory=run.parent,
            project_name=run.name,
            cache=opened,
            observer=clock,
        )
        tuner.search(x, y, validation)
        seconds = time.perf_counter() - clock.begun
    assert all(count for count, _ in parts.values()), f"something was not timed: {parts}"
    records = tuner.oracle.records()
    document = {
        "seconds": seconds,
        "parts": parts,
        "trials": len(records),
        "rungs": sum(len(record.rungs) for record in records),
        "epochs": sum(record.epochs for record in records),
    }
    result.write_text(json.dumps(document))
