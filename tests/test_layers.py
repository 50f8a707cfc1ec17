"""Imports point one way, and the command line starts without TensorFlow."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A module imports only from the floors before its own. "search_spaces" stands for that package as
# a whole and "__init__" for tuner/__init__.py; some of these modules may not be written yet.
FLOORS = (
    ("errors", "uncached", "repeating"),
    ("atomic", "disk", "locks"),
    (
        "settings",
        "environment",
        "stopping",
        "quantities",
        "balance",
        "arrays",
        "formats",
        "findings",
        "powerlaws",
        "classifiers",
        "outcomes",
        "diagnoses",
        "remedies",
        "events",
        "artifacts",
        "elsewhere",
        "calibration",
        "kerasfile",
        "intervals",
        "costs",
    ),
    ("tiff", "colour", "metadata", "runtimes", "conversion", "metrics"),
    ("containers", "modelcard"),
    ("pixels",),
    ("search_spaces", "decode", "cache", "cuts", "schedule", "journal", "similarity", "splits"),
    ("manifest", "facts", "archives", "parity"),
    ("claims",),
    ("tabular", "choosing", "exported", "graphs", "rehearsal", "deployment"),
    ("survey",),
    ("dataset", "ranking", "augment"),
    (
        "images",
        "oracle",
        "run",
        "prediction",
        "checkpoint",
        "budget",
        "identity",
        "loading",
        "anatomy",
        "optimizers",
        "scaling",
        "hparams",
        "preparation",
        "remaining",
        "course",
        "choice",
        "opponents",
        "tested",
    ),
    ("features", "tables", "probe", "families", "repairs", "luck", "looks"),
    ("training", "liveview", "frames", "preprocessing"),
    ("programs", "observer", "answers"),
    ("sources", "heads", "summaries", "mistakes"),
    ("rung", "pacing"),
    ("hyperband",),
    (
        "search",
        "workers",
        "evaluation",
        "checkup",
        "evidence",
        "forecast",
        "labels",
        "fitting",
        "rates",
        "leakage",
        "board",
    ),
    ("recalibration", "inputs", "refit"),
    ("ladder",),
    ("pricing",),
    ("verdict",),
    ("diagnosis", "description"),
    ("estimate",),
    ("export",),
    (
        "report",
        "progress",
        "jsonlines",
        "datatable",
        "diagnosistable",
        "predictiontable",
        "exporttable",
    ),
    ("printing", "__init__"),
    ("commands",),
    ("cli",),
)
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}
# Each of these takes longer to import than `tune --help` should take in all.
HEAVY = ("keras", "keras_tuner", "numpy", "scipy", "sklearn", "tensorboard", "tensorflow")


def module_of(path: Path) -> str:
    """Name on the floors of a file in tuner/; a subpackage counts as one module."""
    return path.relative_to(ROOT / "tuner").parts[0].removesuffix(".py")


def imported_names(source: str, package: str) -> Iterator[str]:
    """Absolute dotted names that a module of `package` imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = [*(parents if node.level else []), *([node.module] if node.module else [])]
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def imports_of(path: Path) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return set(imported_names(path.read_text(encoding="utf-8"), package))


def floor_name(imported: str) -> str | None:
    """The name on the floors that an absolute dotted name belongs to, None if it is not ours."""
    top, _, rest = imported.partition(".")
    if top == "search_spaces":
        return top
    if top != "tuner":
        return None
    module = rest.partition(".")[0]
    is_module = any((ROOT / "tuner" / name).exists() for name in (f"{module}.py", module))
    return module if module and is_module else "__init__"


def wrong_imports(module: str, imported: set[str]) -> set[str]:
    """Those of `imported` that do not lie on a floor before that of `module`."""
    return {
        name
        for name in imported
        if (target := floor_name(name)) not in (None, module)
        and FLOOR_OF.get(target, len(FLOORS)) >= FLOOR_OF[module]
    }


TUNER_FILES = sorted((ROOT / "tuner").rglob("*.py"))
SPACE_FILES = sorted((ROOT / "search_spaces").rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TUNER_FILES, ids=relative)
def test_tuner_imports_only_from_earlier_floors(path: Path) -> None:
    module = module_of(path)
    assert module in FLOOR_OF, f"{relative(path)} is on no floor: add it to FLOORS"
    assert wrong_imports(module, imports_of(path)) == set()


@pytest.mark.parametrize("path", SPACE_FILES, ids=relative)
def test_search_spaces_import_only_errors_and_no_tensorflow(path: Path) -> None:
    imported = imports_of(path)
    ours = {name for name in imported if name.partition(".")[0] == "tuner"}
    assert {floor_name(name) for name in ours} <= {"errors"}
    assert not {name for name in imported if name.partition(".")[0] == "tensorflow"}


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("errors", "from tuner.cli import main", {"tuner.cli.main"}),
        ("errors", "def f():\n    import tuner.cli", {"tuner.cli"}),
        ("errors", "from . import cli", {"tuner.cli"}),
        ("errors", "from .cli import main", {"tuner.cli.main"}),
        ("errors", "from tuner import search", {"tuner.search"}),
        ("errors", "from search_spaces import load_space", {"search_spaces.load_space"}),
        ("schedule", "import search_spaces", {"search_spaces"}),
        ("settings", "import keras\nfrom tuner.errors import SettingsError", set()),
        ("cli", "from tuner import errors, search\nimport search_spaces", set()),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, wrong: set[str]) -> None:
    assert wrong_imports(module, set(imported_names(source, "tuner"))) == wrong


def test_contributing_shows_every_module_on_its_floor() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    diagram = re.search(r"```floors\n(.*?)```", text, re.DOTALL)
    assert diagram, "CONTRIBUTING.md has no block ```floors"
    shown = [set(re.findall(r"\w+", floor)) for floor in diagram[1].split("->")]
    known = set().union(*shown)
    assert {module_of(path) for path in TUNER_FILES} <= known
    assert shown == [set(floor) & known for floor in FLOORS if set(floor) & known]


def run_python(code: str) -> list[str]:
    """Runs `code` in a fresh interpreter; returns the modules of HEAVY that it imported."""
    report = f"import json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{report}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_help_imports_nothing_heavy() -> None:
    assert (
        run_python(
            "from tuner.cli import main\n"
            "sys.argv = ['tune', '--help']\n"
            "try:\n"
            "    main()\n"
            "except SystemExit as end:\n"
            "    assert not end.code, end.code"
        )
        == []
    )


def test_import_tuner_imports_nothing_heavy() -> None:
    assert run_python("import tuner") == []


def test_heavy_imports_are_seen() -> None:
    assert run_python("import numpy") == ["numpy"]
