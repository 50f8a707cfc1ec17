"""Events of TensorBoard's HParams page: the domains of hyperparameters, and one row per trial.

TensorBoard has three types, text, boolean and 64-bit float, and no scales: integers become floats,
and a hyperparameter searched on a logarithmic scale says so in its display name. The user chooses
"Logarithmic" for a column on the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras_tuner
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api, api_pb2
from tensorboard.plugins.hparams.summary import experiment_pb, session_end_pb

from tuner.metrics.objective import Objective
from tuner.runs.records import TrialRecord

SCORE, EPOCHS, SECONDS, WINNER = "trial/score", "trial/epochs", "trial/seconds", "trial/winner"


@dataclass(frozen=True)
class Searched:
    """The space and objective of a search.

    Attributes:
        space: the declared hyperparameters.
        pinned: names and values of those that are not searched.
        objective: name of the score.
    """

    space: keras_tuner.HyperParameters
    pinned: Mapping[str, Any]
    objective: str

    @property
    def direction(self) -> str:
        """Whether the best score is the largest: "max" or "min"."""
        return Objective(self.objective).direction

    def may_be_active(self, declared: Any) -> bool:
        """Whether a declared hyperparameter can be active with the pinned values."""
        return all(
            condition.is_active(self.pinned)
            for condition in declared.conditions
            if condition.name in self.pinned
        )


def experiment(searches: Sequence[Searched], wall_time: float) -> Event:
    """The domains of all hyperparameters, and the metrics of a trial.

    Args:
        searches: one or several, whose domains are joined.
        wall_time: start of the first, in seconds since 1970.
    """
    objectives = " or ".join(sorted({search.objective for search in searches}))
    metrics = [
        api.Metric(SCORE, display_name="score", description=f"{objectives} at the last epoch"),
        api.Metric(EPOCHS, display_name="epochs", description="epochs that gave the score"),
        api.Metric(SECONDS, display_name="seconds", description="training time"),
        api.Metric(WINNER, display_name="winner", description="1: the best trial, 0: another"),
    ]
    infos = [metric.as_proto() for metric in metrics]
    described = experiment_pb(_declared(searches), infos, time_created_secs=wall_time)
    return _event(described, wall_time)


def session_start(trial: TrialRecord, wall_time: float) -> Event:
    """The row of a trial, with its hyperparameters."""
    # An empty name shows the name of the folder, which differs between runs.
    return _event(api.hparams_pb(trial.hyperparameters, "", wall_time), wall_time)


def session_end(failed: bool, wall_time: float) -> Event:
    """The status of a trial that ended."""
    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    return _event(session_end_pb(status, wall_time), wall_time)


def domain(hyperparameter: Any) -> api.Domain:
    """The values of a declared hyperparameter, or their range."""
    if not hasattr(hyperparameter, "min_value"):
        return api.Discrete(list(hyperparameter.values))
    low, high = hyperparameter.min_value, hyperparameter.max_value
    if isinstance(low, int) and isinstance(high, int):
        return api.IntInterval(low, high)
    return api.RealInterval(float(low), float(high))


def joined(one: api.Domain, other: api.Domain) -> api.Domain | None:
    """The smallest domain that contains both; None if there is none."""
    if isinstance(one, api.Discrete) and isinstance(other, api.Discrete):
        values = {*one.values, *other.values}
        return api.Discrete(list(values)) if len({*map(type, values)}) == 1 else None
    bounds = [*_bounds(one), *_bounds(other)]
    if not all(isinstance(bound, (int, float)) for bound in bounds):
        return None
    kind = api.IntInterval if all(isinstance(bound, int) for bound in bounds) else api.RealInterval
    number = int if kind is api.IntInterval else float
    return kind(number(min(bounds)), number(max(bounds)))


def _bounds(one: api.Domain) -> list[Any]:
    return list(one.values) if isinstance(one, api.Discrete) else [one.min_value, one.max_value]


def _declared(searches: Sequence[Searched]) -> list[api_pb2.HParamInfo]:
    """The hyperparameters that can be active in one of the searches."""
    domains: dict[str, api.Domain | None] = {}
    infos: dict[str, api_pb2.HParamInfo] = {}
    for search in searches:
        for declared in filter(search.may_be_active, search.space.space):
            name, pinned = declared.name, declared.name in search.pinned
            found = api.Discrete([search.pinned[name]]) if pinned else domain(declared)
            known = domains.get(name, found)
            domains[name] = None if known is None else joined(known, found)
            # The page first shows five columns, those marked as differing. Its plots omit trials
            # without a value in a shown column, so conditional ones are not marked.
            info = infos.setdefault(name, api_pb2.HParamInfo(name=name))
            info.differs |= not pinned and not declared.conditions
            info.display_name = info.display_name or _display_name(declared, pinned)
    for name, found in domains.items():
        if found is not None:
            found.update_hparam_info(infos[name])
    return list(infos.values())


def _display_name(declared: Any, pinned: bool) -> str:
    scale = (getattr(declared, "sampling", None) or "linear").replace("_", " ")
    return "" if pinned or scale == "linear" else f"{declared.name} ({scale} scale)"


def _event(summary: Any, wall_time: float) -> Event:
    # `session_end_pb` returns TensorFlow's class of the same proto.
    return Event(wall_time=wall_time, summary=Summary.FromString(summary.SerializeToString()))
