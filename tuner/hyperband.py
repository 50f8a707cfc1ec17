"""The tuner: joins the oracle's schedule, the training loop and the journal."""

import gc
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine import trial as kt_trial

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tuner.atomic import read_arrays, write_arrays
from tuner.errors import RunError
from tuner.journal import Journal, RungRecord, TrialRecord
from tuner.oracle import JournalOracle, declared_space, pin
from tuner.ranking import trial_name
from tuner.schedule import Schedule
from tuner.training import EpochMetrics, Rows, Trainer, restore_weights


class SearchObserver:
    """Is told what a search does; every method does nothing unless it is overridden."""

    def search_begins(self, schedule: Schedule, omitted_recipes: tuple[str, ...]) -> None:
        """The search is about to begin its first trial."""

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        """A trial is about to be trained up to `end_epoch`."""

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: EpochMetrics) -> None:
        """Epoch number `epoch`, counted from 1, is done."""

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """A trial finished its rung, or failed; `best` leads the search now."""

    def search_ends(self, trials: list[TrialRecord]) -> None:
        """The search is complete."""


class HyperbandTuner(keras_tuner.Tuner):
    """Hyperband whose trials are trained by `Trainer` and kept in a journal.

    Args:
        hypermodel: a search space; any keras_tuner.HyperModel whose `build` gives a compiled
            classifier with sparse labels.
        objective: "val_accuracy" or "val_loss".
        max_epochs: epochs of a trial that is never stopped.
        factor: each rung keeps about one trial in `factor`.
        hyperband_iterations: how often Hyperband is run.
        seed: seed of configurations, initial weights, dropout and the order of the images.
        batch_size: images of a training step.
        fixed: pinned hyperparameters by name, as text.
        directory: folder of the runs.
        project_name: name of this run's folder in it.
        overwrite: whether a run of that name is replaced.
        observer: is told what happens.
        journal: an empty journal in the run's folder; None makes folder and journal.
        backbone: the space's backbone, if it has been built already.

    Raises:
        RunError: a run of that name exists.
        SettingsError: a pinned name or value is not in the space.

    Example:
        >>> tuner = HyperbandTuner(ResNet50Space(num_classes=5), max_epochs=10)
        >>> tuner.search(x, y, validation_data=(x_val, y_val))
        >>> model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        hypermodel: keras_tuner.HyperModel,
        objective: str = "val_accuracy",
        max_epochs: int = 30,
        factor: int = 3,
        hyperband_iterations: int = 1,
        seed: int = 0,
        batch_size: int = 32,
        fixed: dict[str, str] | None = None,
        directory: str | Path = "runs",
        project_name: str = "search",
        overwrite: bool = False,
        observer: SearchObserver | None = None,
        journal: Journal | None = None,
        backbone: PretrainedBackbone | None = None,
    ) -> None:
        self._folder = Path(directory) / project_name
        self._seed = seed
        self._batch_size = batch_size
        self._observer = observer or SearchObserver()
        self._backbone = backbone
        hyperparameters = declared_space(hypermodel)
        pinned = pin(hyperparameters, fixed or {})
        oracle = JournalOracle(
            journal or _new_journal(self._folder, overwrite),
            hyperparameters,
            objective=objective,
            max_epochs=max_epochs,
            factor=factor,
            iterations=hyperband_iterations,
            seed=seed,
            pinned=pinned,
            recipes=hypermodel.recipes() if isinstance(hypermodel, ResNet50Space) else None,
        )
        super().__init__(oracle, hypermodel, directory=str(directory), project_name=project_name)

    def search(
        self,
        x: np.ndarray,
        y: np.ndarray,
        validation_data: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Runs the whole search.

        Args:
            x: training images, RGB values 0 to 255, shape (n, image_size, image_size, 3).
            y: their class numbers, shape (n,).
            validation_data: the same pair for the images that decide the score.
        """
        training, validation = Rows(x, np.asarray(y)), Rows(*map(np.asanyarray, validation_data))
        self.on_search_begin()
        while True:
            trial = self.oracle.create_trial(self.tuner_id)
            if trial.status != kt_trial.TrialStatus.RUNNING:
                break
            self.on_trial_begin(trial)
            self._try_trial(trial, training, validation)
            self.on_trial_end(trial)
        self.on_search_end()

    def run_trial(
        self, trial: kt_trial.Trial, training: Rows, validation: Rows
    ) -> dict[str, float]:
        """Trains one trial through one rung.

        Args:
            trial: as the oracle handed it out.
            training: rows to train on.
            validation: rows that decide the score.

        Returns:
            The metrics of the rung's last epoch.

        Raises:
            keras_tuner.errors.FailedTrialError: the loss became NaN or infinite.
        """
        begun = time.monotonic()
        start, end = (trial.hyperparameters[f"tuner/{n}"] for n in ("initial_epoch", "epochs"))
        record = self._record(trial)
        self._observer.rung_begins(record, end)
        trainer = self._trainer(record)
        epochs = []
        for epoch in range(start + 1, end + 1):
            metrics = trainer.run_epoch(training, validation)
            if not metrics.finite():
                raise keras_tuner.errors.FailedTrialError(
                    f"the loss became NaN or infinite in epoch {epoch}"
                )
            epochs.append(asdict(metrics))
            self._observer.epoch_ends(record, epoch, metrics)
            self.on_epoch_end(trial, trainer.model, epoch - 1, logs=epochs[-1])
        path = state_file(self._folder, record.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, trainer.state())
        score = epochs[-1][self.oracle.objective.name]
        rung = RungRecord(start, end, score, time.monotonic() - begun)
        self.oracle.finish_rung(trial, rung, epochs)
        return epochs[-1]

    def load_model(self, trial: kt_trial.Trial) -> keras.Model:
        """The whole network of a trial, compiled, with the weights that gave its score."""
        model = self.hypermodel.build(trial.hyperparameters)
        restore_weights(model, read_arrays(state_file(self._folder, int(trial.trial_id))))
        return model

    def on_search_begin(self) -> None:
        """Tells the observer."""
        self._observer.search_begins(self.oracle.schedule, self.oracle.omitted_recipes)

    def on_trial_end(self, trial: kt_trial.Trial) -> None:
        """Tells the oracle and the observer that a trial's rung has ended."""
        self.oracle.end_trial(trial)
        self._observer.rung_ends(self._record(trial), self.oracle.winner())

    def on_search_end(self) -> None:
        """Tells the observer."""
        self._observer.search_ends(self.oracle.records())

    def save(self) -> None:
        """Does nothing: the journal is written with every change."""

    def reload(self) -> None:
        """Does nothing: the journal is read whenever it is asked."""

    def _populate_initial_space(self) -> None:
        """Does nothing: the space is declared without building a network."""

    def _try_trial(self, trial: kt_trial.Trial, training: Rows, validation: Rows) -> None:
        try:
            self.run_trial(trial, training, validation)
            trial.status = kt_trial.TrialStatus.COMPLETED
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:  # a trial may fail in any way; the search goes on
            trial.status = kt_trial.TrialStatus.FAILED
            trial.message = str(error) or type(error).__name__
        gc.collect()  # a trial's graph and variables hang together in cycles

    def _record(self, trial: kt_trial.Trial) -> TrialRecord:
        return self.oracle.records()[int(trial.trial_id)]

    def _trainer(self, record: TrialRecord) -> Trainer:
        """The trial's trainer, at the epoch where its last rung ended."""
        model = self._build(record)
        trainer = Trainer(model, self._batch_size, (self._seed, record.id))
        self.oracle.note_parameters(record.id, trainer.parameters)
        if record.rungs:
            trainer.restore(read_arrays(state_file(self._folder, record.id)))
        return trainer

    def _build(self, record: TrialRecord) -> keras.Model:
        space = self.hypermodel
        if not isinstance(space, ResNet50Space):
            hyperparameters = self.oracle.get_space()
            hyperparameters.values = dict(record.hyperparameters)
            return space.build(hyperparameters)
        if self._backbone is None:
            self._backbone = PretrainedBackbone(space.build_backbone())
        configuration = Configuration.of(record.hyperparameters)
        seed = trial_seed(self._seed, record.id)
        model = space.build_whole(configuration, self._backbone.pristine(), seed)
        compile_classifier(model, configuration)
        return model


def state_file(folder: Path, trial: int) -> Path:
    """Where a run's folder holds everything that trial number `trial` has trained."""
    return folder / "trials" / trial_name(trial) / "state.npz"


def trial_seed(search_seed: int, trial: int) -> int:
    """Seed of a trial's initial weights and dropout; neighbouring seeds have nothing in common."""
    return int(np.random.SeedSequence((search_seed, trial)).generate_state(1)[0] >> 1)


def _new_journal(folder: Path, overwrite: bool) -> Journal:
    path = folder / "journal.db"
    if path.exists() and not overwrite:
        raise RunError(f"the run {folder} exists. Choose another name, or pass --overwrite.")
    if overwrite:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return Journal.create(path)
