"""Several observers as one."""

import inspect
from unittest import mock

from tuner.observer import Observers, SearchObserver


def test_every_observer_is_told_everything_in_order() -> None:
    calls = mock.Mock(spec_set=["first", "second"])
    calls.first = mock.create_autospec(SearchObserver, instance=True)
    calls.second = mock.create_autospec(SearchObserver, instance=True)
    together = Observers(calls.first, calls.second)
    methods = [
        (name, method)
        for name, method in inspect.getmembers(SearchObserver, inspect.isfunction)
        if not name.startswith("_")
    ]
    for name, method in methods:
        arguments = [f"argument {n}" for n in range(len(inspect.signature(method).parameters) - 1)]
        getattr(together, name)(*arguments)
        for observer in (calls.first, calls.second):
            getattr(observer, name).assert_called_once_with(*arguments)
    assert len(methods) == 8
