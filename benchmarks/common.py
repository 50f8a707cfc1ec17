"""What every benchmark shares: images, arms in fresh processes, the machine, tables and JSON.

Nothing here imports TensorFlow when it is imported, so that the process that starts the arms stays
small and each arm's process does all of its own imports, outside the clock.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shlex
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).resolve().parents[1]))  # for tests.support

RESULTS = Path(__file__).resolve().parent / "results"
_DISTRIBUTIONS = (
    "tune-resnet50",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "keras-tuner",
    "numpy",
)
# Everything beyond SSE that moves the speed of convolutions and matrix products.
_EXTENSIONS = ("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512", "amx", "asimd", "sve", "bf16")


@dataclass(frozen=True)
class Workload:
    """The images of a benchmark, and the weights of its backbone.

    Attributes:
        image_size: in pixels.
        training: number of training images.
        validation: number of validation images.
        classes: number of classes of the random images.
        batch_size: images of a step.
        data: folder of real images, or None for random ones.
        weights: a weights file; see `with_weights_file`.
    """

    image_size: int
    training: int
    validation: int
    classes: int
    batch_size: int
    data: str | None
    weights: str

    def arrays(self) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Training images and labels, and (validation images, labels); pixels are uint8."""
        x, y = self._pixels()
        if len(y) < self.training + self.validation:
            raise SystemExit(
                f"{self.data} has {len(y)} images, but --train and --validation ask for "
                f"{self.training + self.validation}."
            )
        end = self.training + self.validation
        held_out = (x[self.training : end], y[self.training : end])
        return x[: self.training], y[: self.training], held_out

    def class_count(self) -> int:
        """Number of classes."""
        return self.classes if self.data is None else len(self._dataset().classes)

    def _pixels(self) -> tuple[np.ndarray, np.ndarray]:
        if self.data is None:
            return make_images(self.training + self.validation, self.image_size, self.classes)
        from tuner.data.pixel_store import prepare_images
        from tuner.storage.cache import Cache

        dataset = self._dataset()
        files = dataset.of("train")
        with tempfile.TemporaryDirectory() as folder, Cache(Path(folder)) as cache:
            pixels = prepare_images(files, dataset.root, self.image_size, cache)
            order = np.random.default_rng(0).permutation(len(files))
            return np.asarray(pixels)[order], dataset.labels("train")[order]

    def _dataset(self) -> Any:
        from tuner.data.dataset import SplitOptions
        from tuner.data.load import load_dataset

        options = SplitOptions(val_fraction=0.01, test_fraction=0.0)
        return load_dataset(Path(self.data or ""), options)


def make_images(
    count: int, size: int, classes: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Noise over a coarse pattern of each class: hard enough that scores differ.

    Returns:
        uint8 images of shape (count, size, size, 3), and their class numbers.
    """
    random = np.random.default_rng(seed)
    cells = -(-size // 8)
    patterns = random.uniform(90, 166, (classes, 8, 8, 3))
    large = patterns.repeat(cells, axis=1).repeat(cells, axis=2)[:, :size, :size]
    labels = random.permutation(np.arange(count) % classes)
    images = np.empty((count, size, size, 3), np.uint8)
    for number, label in enumerate(labels):
        noise = random.normal(0, 50, (size, size, 3))
        images[number] = (large[label] + noise).clip(0, 255)
    return images, labels


def write_image_folder(
    x: np.ndarray, y: np.ndarray, held_out: tuple[np.ndarray, np.ndarray], folder: Path
) -> Path:
    """Writes JPEG files as train/CLASS/, val/CLASS/, and a few of noise as test/CLASS/."""
    from PIL import Image

    classes = sorted(set(y.tolist()))
    random = np.random.default_rng(1)
    test = random.integers(0, 256, (4 * len(classes), *x.shape[1:]), dtype=np.uint8)
    splits = {"train": (x, y), "val": held_out, "test": (test, np.array(classes * 4))}
    for split, (images, labels) in splits.items():
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / f"class{int(label):03}" / f"{number:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, quality=92)
    return folder


def image_arguments(documentation: str | None) -> argparse.ArgumentParser:
    """A parser for benchmarks of a folder of real images, seen through pretrained weights."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", type=Path, required=True, help="pretrained weights")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser


def arguments(
    documentation: str | None, *, image_size: int, training: int, validation: int
) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share, and these defaults."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--image-size", type=int, default=image_size, help=f"pixels a side ({image_size})")
    add("--train", type=int, default=training, help=f"training images ({training})")
    add("--validation", type=int, default=validation, help=f"validation images ({validation})")
    add("--classes", type=int, default=5, help="classes of the random images (5)")
    add("--batch-size", type=int, default=32, help="images of a step (32)")
    add("--data", help="folder of class folders; left out, random images")
    add("--weights", default="none", help="none (random), or a weights file")
    add("--scratch", type=Path, help="folder for temporary files; left out, the system's")
    add("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser


@contextmanager
def scratch_folder(options: argparse.Namespace) -> Iterator[Path]:
    """A folder for caches, runs and checkpoints that is removed in the end."""
    if options.scratch:
        options.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="tune-benchmark.", dir=options.scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def workload_of(options: argparse.Namespace, scratch: Path) -> Workload:
    """The workload that the options describe.

    Random weights are written to a file once, and every arm reads that file like ImageNet's: the
    plain tuner builds a network for each trial, and drawing weights each time would slow it down.
    """
    weights = options.weights
    if weights == "none":
        weights = run_arm(_write_random_weights, path=str(scratch / "random.weights.h5"))
    return Workload(
        image_size=options.image_size,
        training=options.train,
        validation=options.validation,
        classes=options.classes,
        batch_size=options.batch_size,
        data=options.data and str(Path(options.data).absolute()),
        weights=str(Path(weights).absolute()),
    )


def _write_random_weights(path: str) -> str:
    import_all()
    from search_spaces.backbone import SMALLEST_IMAGE_SIZE, build_backbone

    build_backbone(SMALLEST_IMAGE_SIZE, "none").save_weights(path)
    return path


def run_arm(function: Callable[..., Any], **keywords: Any) -> Any:
    """What the function returns in a fresh process: imports to do, memory clean, caches empty."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, **keywords).result()
        except BrokenProcessPool as error:
            name = getattr(function, "__name__", str(function))
            raise SystemExit(f"{name} was killed; was there enough memory?") from error


def import_all() -> None:
    """Import what both arms need and start TensorFlow, so that neither is timed."""
    from tuner.environment import prepare_device

    prepare_device()
    import keras_tuner  # noqa: F401
    import tensorflow as tf

    import tuner.training.sources  # noqa: F401

    tf.matmul(tf.ones((8, 8)), tf.ones((8, 8))).numpy()


def rss_anon_bytes() -> int:
    """Anonymous memory of this process: what it allocated, without mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("/proc/self/status has no RssAnon: memory is measured on Linux only.")


class PeakMemory:
    """The largest RssAnon while a `with` block runs, read every 20 ms."""

    def __enter__(self) -> "PeakMemory":
        self.bytes = rss_anon_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.bytes = max(self.bytes, rss_anon_bytes())

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.bytes = max(self.bytes, rss_anon_bytes())


def median(values: Sequence[float]) -> float:
    """The median of at least one number."""
    return float(statistics.median(values))


def machine() -> dict[str, Any]:
    """Processor, vector extensions, threads and versions."""
    return {
        "processor": _processor(),
        "vector_extensions": _vector_extensions(),
        "cores": os.cpu_count(),
        "threads": len(os.sched_getaffinity(0)),
        "thread_settings": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
            if name in os.environ
        },
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "busy_cores_before": round(_busy_cores(), 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _busy_cores(seconds: float = 2.0) -> float:
    """Cores that other programs keep busy now; 0 where unknown."""
    before = _idle_ticks()
    if before is None:
        return 0.0
    time.sleep(seconds)
    idle = ((_idle_ticks() or 0) - before) / os.sysconf("SC_CLK_TCK") / seconds
    return max(0.0, (os.cpu_count() or 1) - idle)


def _idle_ticks() -> int | None:
    with suppress(OSError):
        _, _, _, _, idle, waiting, *_ = Path("/proc/stat").read_text().split("\n")[0].split()
        return int(idle) + int(waiting)
    return None


def _cpu_lines() -> list[str]:
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text().splitlines()
    return []


def _processor() -> str:
    for line in _cpu_lines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _vector_extensions() -> list[str]:
    for line in _cpu_lines():
        if line.startswith(("flags", "Features")):
            found = line.split(":", 1)[1].split()
            return [flag for flag in found if flag.startswith(_EXTENSIONS)]
    return []


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


class Report:
    """The tables of one benchmark, printed as they come and written as one JSON file.

    Args:
        name: of the JSON file.
        question: what the benchmark answers.
        options: as they were parsed; they are written too.

    Attributes:
        machine: as `machine` describes it.
    """

    def __init__(self, name: str, question: str, options: argparse.Namespace) -> None:
        self._begun = time.monotonic()
        self.machine = machine()
        self._path: Path = options.results / f"{name}.json"
        self._document: dict[str, Any] = {
            "benchmark": name,
            "question": question,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": _command_line(),
            "machine": self.machine,
            "options": {
                key: _without_folders(value)
                for key, value in vars(options).items()
                if key not in ("scratch", "results")
            },
            "tables": {},
            "notes": [],
        }
        _print_heading(question, self.machine)

    def table(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Prints rows, whose keys are the columns, and keeps them."""
        self._document["tables"][title] = list(rows)
        print_table(title, rows)

    def keep(self, name: str, value: Any) -> None:
        """Keeps something that is not printed."""
        self._document[name] = value

    def note(self, text: str) -> None:
        """Prints a sentence and keeps it."""
        self._document["notes"].append(text)
        print(text, flush=True)

    def write(self) -> Path:
        """Writes the JSON file and says where it is."""
        self._document["minutes"] = round((time.monotonic() - self._begun) / 60, 1)
        self._document["peak_child_rss_bytes"] = (
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._document, indent=1) + "\n", "utf-8")
        partial.replace(self._path)
        print(f"Written to {_shown(self._path)} after {self._document['minutes']} minutes.\n")
        return self._path


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows, whose keys are the columns."""
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table(title=title, title_justify="left")
    for column in columns:
        numeric = all(isinstance(row.get(column), (int, float, type(None))) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    width = None if sys.stdout.isatty() else 140
    Console(width=width, highlight=False).print(table)
    sys.stdout.flush()


def progress(text: str) -> None:
    """Says on stderr what is being done."""
    print(f"[{datetime.now():%H:%M:%S}] {text}", file=sys.stderr, flush=True)


def _print_heading(question: str, described: Mapping[str, Any]) -> None:
    print(question)
    print(f"{described['processor']}; {' '.join(described['vector_extensions']) or 'no vectors'}")
    versions = ", ".join(f"{name} {number}" for name, number in described["versions"].items())
    print(
        f"{described['threads']} threads on {described['cores']} cores, {described['memory_gib']} "
        f"GiB, {described['busy_cores_before']} busy; Python {described['python']}, {versions}",
        flush=True,
    )
    if described["busy_cores_before"] > 0.2:
        print("The machine is not quiet: the figures are not to be quoted.", flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{max(digits, 4) if abs(value) < 0.01 else digits}f}"


def _command_line() -> str:
    script, *rest = sys.argv
    return shlex.join(["python", f"benchmarks/{Path(script).name}", *map(_without_folders, rest)])


def _without_folders(value: Any) -> Any:
    """An absolute path's last part, since results are published."""
    if isinstance(value, (str, Path)) and Path(value).is_absolute():
        return Path(value).name
    return str(value) if isinstance(value, Path) else value


def _shown(path: Path) -> str:
    with suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)
