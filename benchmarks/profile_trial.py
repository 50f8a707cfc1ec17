"""Where does the time of a trial go?

    python benchmarks/profile_trial.py

Two trials of one shape and the promotion of the better, for heads on pooled features and for
unfreeze_blocks 3: the first trial builds and traces, the second reuses a program, and
the promotion reads a state back. Each phase's own seconds, without those of the phases inside it.
The functions named here are private to the program; one that no longer exists is skipped, with a
note.
"""

import argparse
import functools
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from common import (
    Report,
    Workload,
    arguments,
    import_all,
    progress,
    run_arm,
    scratch_folder,
    workload_of,
)

# (module, class or None, function, phase); the first call of a trainer's function counts apart.
PHASES = (
    ("tuner.hyperband.oracle", "JournalOracle", "create_trial", "oracle: what comes next"),
    ("tuner.hyperband.oracle", "JournalOracle", "records", "oracle: read the journal"),
    ("tuner.hyperband.oracle", "JournalOracle", "set_parameters", "journal: parameters"),
    ("tuner.hyperband.oracle", "JournalOracle", "finish_rung", "journal: result"),
    (
        "tuner.hyperband.oracle",
        "JournalOracle",
        "needed_checkpoints",
        "oracle: checkpoints still needed",
    ),
    ("tuner.search.tuner", "HyperbandTuner", "_drop_states", "delete states"),
    ("tuner.search.rung", None, "write_checkpoint", "write the checkpoint"),
    ("tuner.search.rung", None, "read_checkpoint", "read the checkpoint"),
    ("tuner.training.trainer", "Trainer", "state", "copy the state out"),
    ("tuner.training.trainer", "Trainer", "restore", "put the state back"),
    ("tuner.training.compiled", "Programs", "trainer", "find a program"),
    ("tuner.training.compiled", "_Program", "__init__", "build the suffix"),
    ("tuner.training.compiled", "_Program", "begin", "set hyperparameters"),
    ("tuner.training.compiled", None, "initialize_head", "initial weights of the head"),
    ("tuner.training.trainer", "Trainer", "__init__", "build the optimizer"),
    ("tuner.training.trainer", "Trainer", "begin", "empty the optimizer"),
    ("search_spaces.backbone", "PretrainedBackbone", "lend", "set the backbone back"),
    ("tuner.training.sources", "FromFeatures", "rows", "open the rows"),
    ("tuner.features.shards", "StoredRows", "__getitem__", "read rows"),
    ("tuner.features.shards", "RecomputedRows", "__getitem__", "compute rows again"),
    ("tuner.training.trainer", "Trainer", "_train_epoch", "training steps"),
    ("tuner.training.trainer", "Trainer", "_measure_statistics", "BatchNorm statistics"),
    ("tuner.training.trainer", "Trainer", "predict", "validation"),
    ("tuner.metrics.scores", None, "score", "loss and accuracy"),
)
_TRACING = ("_train_epoch", "_measure_statistics", "predict")


class Phases:
    """Own seconds of each phase, for the column that is being filled."""

    def __init__(self) -> None:
        self.columns: list[dict[str, float]] = [defaultdict(float)]
        self.missing: list[str] = []
        self._inside: list[float] = []
        self._traced: set[tuple[int, str]] = set()

    def install(self) -> None:
        """Puts a clock around every phase's function."""
        import importlib

        for module, owner, name, phase in PHASES:
            place: Any = importlib.import_module(module)
            place = getattr(place, owner, None) if owner else place
            if place is None or not hasattr(place, name):
                self.missing.append(f"{module}.{owner or ''}.{name}")
                continue
            setattr(place, name, self._clocked(getattr(place, name), name, phase))

    def next_column(self) -> None:
        """What follows belongs to the next trial."""
        self.columns.append(defaultdict(float))

    def _clocked(self, function: Any, name: str, phase: str) -> Any:
        @functools.wraps(function)
        def clocked(*arguments: Any, **options: Any) -> Any:
            label = phase
            if name in _TRACING and (id(arguments[0]), name) not in self._traced:
                self._traced.add((id(arguments[0]), name))
                label = f"{phase}, first call (traces)"
            self._inside.append(0.0)
            begun = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds = time.perf_counter() - begun
                self.columns[-1][label] += seconds - self._inside.pop()
                if self._inside:
                    self._inside[-1] += seconds

        return clocked


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        workload = workload_of(options, scratch)
        report = Report("profile_trial", "Where the time of a trial goes.", options)
        for depth in options.depths:
            progress(f"unfreeze_blocks {depth}")
            profiled = run_arm(
                profile,
                workload=workload,
                depth=depth,
                head={
                    "head_layers": options.head_layers,
                    "head_width": options.head_width,
                    "head_batchnorm": True,
                },
                epochs=options.epochs,
                folder=str(scratch / f"depth-{depth}"),
            )
            title = f"unfreeze_blocks {depth}, {options.epochs} epochs each, seconds"
            report.table(title, profiled["rows"])
            for name in profiled["missing"]:
                report.note(f"{name} is not there any more; its time stands elsewhere.")
        report.write()


def profile(
    workload: Workload, depth: int, head: dict[str, Any], epochs: int, folder: str
) -> dict[str, Any]:
    """An arm: the phases of a new trial, of a second one, and of a promotion."""
    import_all()
    from drawn import DrawnTrials, draw_and_train
    from spaces import DrawnOnly

    phases = Phases()

    def ended(tuner: DrawnTrials) -> None:
        phases.next_column()

    phases.install()
    # What precedes the first trial is cut off: the search begins with an empty column.
    begin = DrawnTrials.on_search_begin

    def on_search_begin(self: DrawnTrials) -> None:
        phases.columns[-1].clear()
        begin(self)

    setattr(DrawnTrials, "on_search_begin", on_search_begin)  # noqa: B010
    tuner = draw_and_train(
        workload,
        DrawnOnly,
        {"unfreeze_blocks": depth, **head},
        [(2, 0, epochs), (1, epochs, 2 * epochs)],
        Path(folder),
        ended,
    )
    names = ("first trial", "second trial", "promotion")
    columns = phases.columns[: len(names)]
    labels = sorted({label for column in columns for label in column}, key=_order)
    rows = [
        {"phase": label, **dict(zip(names, (c.get(label, 0.0) for c in columns), strict=True))}
        for label in labels
    ]
    counted = [sum(column.values()) for column in columns]
    rest = [seconds - known for seconds, known in zip(tuner.seconds, counted, strict=True)]
    rows.append({"phase": "everything else", **dict(zip(names, rest, strict=True))})
    rows.append({"phase": "in all", **dict(zip(names, tuner.seconds, strict=True))})
    return {"rows": rows, "missing": phases.missing}


def _order(label: str) -> tuple[int, bool]:
    plain = label.removesuffix(", first call (traces)")
    return [phase for *_, phase in PHASES].index(plain), plain == label


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=224, training=600, validation=200)
    add = parser.add_argument
    add("--depths", type=int, nargs="+", default=[0, 3], help="unfreeze_blocks (0 3)")
    add("--head-layers", type=int, default=1, help="(1)")
    add("--head-width", type=int, default=256, help="(256)")
    add("--epochs", type=int, default=4, help="of each rung (4)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
