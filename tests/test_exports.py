"""What the package exports: every name is there, and is the same the second time."""

import pytest

import tuner


@pytest.mark.parametrize("name", tuner.__all__)
def test_a_name_gives_the_same_twice(name: str) -> None:
    """A submodule of that name, once imported, would hide it."""
    first = getattr(tuner, name)
    assert callable(first)
    assert getattr(tuner, name) is first
