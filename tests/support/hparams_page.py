"""What TensorBoard reads from a folder: curves, and the HParams page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    get_experiment,
    list_session_groups,
)
from tensorboard.util import tensor_util

STATUSES = (
    api_pb2.STATUS_UNKNOWN,
    api_pb2.STATUS_SUCCESS,
    api_pb2.STATUS_FAILURE,
    api_pb2.STATUS_RUNNING,
)


@dataclass(frozen=True)
class Row:
    """A row of the HParams page.

    Attributes:
        hyperparameters: name to value.
        metrics: name to last value.
        status: as the page has it, such as "STATUS_SUCCESS".
    """

    hyperparameters: dict[str, Any]
    metrics: dict[str, float]
    status: str


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every curve in a folder, in the order in which they are read."""
    accumulator = EventAccumulator(str(folder), {"tensors": 0}).Reload()
    return {
        tag: [
            (event.step, tensor_util.make_ndarray(event.tensor_proto).item())
            for event in accumulator.Tensors(tag)
        ]
        for tag in accumulator.Tags()["tensors"]
        if accumulator.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def declared(folder: Path) -> dict[str, Any]:
    """What the HParams page knows of each hyperparameter, by name."""
    request = api_pb2.GetExperimentRequest()
    found = get_experiment.Handler(context.RequestContext(), _backend(folder), "", request).run()
    return {info.name: info for info in found.hparam_infos}


def rows(folder: Path) -> dict[str, Row]:
    """The rows of the HParams page, by the name of the trial."""
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=1000,
        allowed_statuses=STATUSES,
        aggregation_type=api_pb2.AGGREGATION_AVG,
        start_index=0,
    )
    handler = list_session_groups.Handler(context.RequestContext(), _backend(folder), "", request)
    return {group.name: _row(group) for group in handler.run().session_groups}


def _row(group: Any) -> Row:
    (session,) = group.sessions
    return Row(
        {name: getattr(v, v.WhichOneof("kind")) for name, v in group.hparams.items()},
        {metric.name.tag: metric.value for metric in session.metric_values},
        api_pb2.Status.Name(session.status),
    )


def _backend(folder: Path) -> backend_context.Context:
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    return backend_context.Context(base_plugin.TBContext(data_provider=provider))
