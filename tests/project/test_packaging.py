"""What is shipped: the wheel's content, its entry point and its lower bounds."""

import configparser
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import ROOT

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)>=(?P<version>[\d.]+)")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_every_module_and_nothing_else(wheel: Path, project: dict[str, Any]) -> None:
    packages = ("tuner", "search_spaces")
    modules = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*.py")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"tune_resnet50-{project['version']}.dist-info"
    assert {name.partition("/")[0] for name in names} == {*packages, info}
    assert {name for name in names if name.endswith(".py")} == modules
    assert f"{info}/licenses/LICENSE" in names
    assets = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tuner" / "report" / "assets").rglob("*")
        if path.is_file()
    }
    assert len(assets) == 6  # templates, style, script
    assert assets <= names


@pytest.mark.slow
def test_wheel_installs_the_command(wheel: Path, project: dict[str, Any]) -> None:
    info = f"tune_resnet50-{project['version']}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        entry_points = configparser.ConfigParser()
        entry_points.read_string(archive.read(f"{info}/entry_points.txt").decode())
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert dict(entry_points["console_scripts"]) == {"tune": "tuner.cli:main"}
    assert metadata["Name"] == "tune-resnet50"
    assert metadata["Version"] == project["version"]
    assert metadata["License-Expression"] == "Apache-2.0"


def test_lowest_constraints_are_the_lower_bounds(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    bounds = {}
    for requirement in project["dependencies"]:
        match = REQUIREMENT.fullmatch(requirement)
        assert match, f"{requirement!r} is not NAME>=VERSION"
        bounds[match["name"]] = release(match["version"])
    assert {name: release(version) for name, version in pins.items()} == bounds


def release(version: str) -> tuple[int, ...]:
    """Numbers of a version, without zeros at the end: 3.13 is 3.13.0."""
    numbers = [int(number) for number in version.split(".")]
    while numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
