"""Imports point one way, and the command line starts without TensorFlow."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.repository import ROOT

# A folder or file of tuner/ imports only from the floors before its own. "search_spaces" stands for
# that package as a whole and "__init__" for tuner/__init__.py.
FLOORS = (
    ("errors", "counting"),
    ("metrics",),
    ("text", "interrupt", "storage", "decoding", "search_spaces"),
    ("environment",),
    ("settings", "features", "untrusted"),
    ("data", "model_check", "command_lines"),
    ("runs",),
    ("training",),
    ("hyperband", "evaluate", "diagnose"),
    ("observer", "export", "report"),
    ("tensorboard", "terminal"),
    ("search", "__init__"),
    ("commands",),
    ("cli",),
)
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}
# Each of these takes longer to import than `tune --help` should take in all.
HEAVY = ("keras", "keras_tuner", "numpy", "scipy", "sklearn", "tensorboard", "tensorflow")


def module_of(path: Path) -> str:
    """Name on the floors of a file in tuner/: its folder, or itself where it stands in none."""
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
        ("metrics", "import search_spaces", {"search_spaces"}),
        ("settings", "import keras\nfrom tuner.errors import SettingsError", set()),
        ("cli", "from tuner import errors, search\nimport search_spaces", set()),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, wrong: set[str]) -> None:
    assert wrong_imports(module, set(imported_names(source, "tuner"))) == wrong


def test_contributing_shows_every_folder_on_its_floor() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    diagram = re.search(r"```floors\n(.*?)```", text, re.DOTALL)
    assert diagram, "CONTRIBUTING.md has no block ```floors"
    shown = [set(re.findall(r"\w+", floor)) for floor in diagram[1].split("->")]
    assert shown == [set(floor) for floor in FLOORS]


def test_no_module_imports_itself_in_a_circle() -> None:
    """Also inside a folder: the modules that a module needs never need it."""
    modules = {dotted(path): path for path in (*TUNER_FILES, *SPACE_FILES)}
    graph = {
        name: {home for each in imports_of(path) if (home := module_in(each, modules)) != name}
        for name, path in modules.items()
    }
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def module_in(imported: str, modules: Mapping[str, Path]) -> str | None:
    """The module that an absolute dotted name belongs to, None where it is none of ours."""
    return next((name for name in (imported, imported.rpartition(".")[0]) if name in modules), None)


@pytest.mark.parametrize("folder", sorted({path.parent for path in TUNER_FILES}), ids=relative)
def test_a_folder_fits_on_a_page(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 20


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
