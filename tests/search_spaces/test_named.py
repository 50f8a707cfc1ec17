"""`package.module:name`, in the current folder too."""

import sys
from pathlib import Path

import pytest

from search_spaces.named import import_named, is_named
from tuner.errors import ModelError, SettingsError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; the path for modules is set back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return tmp_path


def test_a_module_of_the_current_folder_and_its_neighbours_are_found(folder: Path) -> None:
    (folder / "neighbour_of_mine.py").write_text("VALUE = 3")
    (folder / "module_of_mine.py").write_text(
        "def value():\n    import neighbour_of_mine\n    return neighbour_of_mine.VALUE"
    )
    assert import_named("model", "module_of_mine:value", ModelError)[0]() == 3


def test_the_current_folder_comes_last(folder: Path) -> None:
    (folder / "colorsys.py").write_text("VALUE = 3")
    assert callable(import_named("model", "colorsys:rgb_to_hsv", ModelError)[0])
    assert str(folder) not in sys.path


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("import nothing_such", "ModuleNotFoundError: No module named 'nothing_such'"),
        ("1 +", "SyntaxError: invalid syntax"),
        ("raise ValueError", "ValueError"),
        ("VALUE = 1", "no attribute 'value'"),
    ],
)
def test_a_module_that_fails_is_told_in_a_sentence(folder: Path, source: str, part: str) -> None:
    name = f"failing_{abs(hash(source))}"
    (folder / f"{name}.py").write_text(source)
    with pytest.raises(SettingsError) as caught:
        import_named("search space", f"{name}:value", SettingsError)
    assert f"the search space '{name}:value' cannot be loaded" in str(caught.value)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a:b", True), ("a.b:c", True), ("a", False), ("a:", False), (":b", False), (".a:b", False)],
)
def test_names_have_a_module_and_an_attribute(name: str, expected: bool) -> None:
    assert is_named(name) is expected
