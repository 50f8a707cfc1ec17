"""Everything that this package raises on purpose.

    TuneError                 the program could not do its work            exit code 1
    ├── StoppedError           it was asked to stop                         exit code 130
    └── InputError            what the user gave is wrong                  exit code 2
        ├── SettingsError     an option or a hyperparameter
        ├── DataError         the images or their folder
        ├── WeightsError      the pretrained weights
        ├── ModelError        a model of the user's own
        ├── RunError          a run that is missing, taken or unfinished
        │   └── DamagedJournalError    its journal holds bytes that were not written so
        └── ExportError       an export folder or a file in it

Every message is one plain sentence, or two: what is wrong, and what to do about it.
"""


class TuneError(Exception):
    """The program could not do its work."""


class StoppedError(TuneError):
    """The program was asked to stop, and stopped where it can go on from.

    Attributes:
        begun: whether it has begun a run, or gone on with one.
    """

    begun = False


class InputError(TuneError):
    """What the user gave is wrong; the message says what to do."""


class SettingsError(InputError):
    """An option or a hyperparameter has a value that cannot be used."""


class DataError(InputError):
    """The images, or the folder that should hold them, cannot be used."""


class WeightsError(InputError):
    """The pretrained weights are missing, damaged or of another network."""


class ModelError(InputError):
    """A user's own model cannot be loaded, or not be examined."""


class RunError(InputError):
    """A run is missing, taken, or has nothing to show yet."""


class DamagedJournalError(RunError):
    """A run's journal holds bytes that were not written so."""


class ExportError(InputError):
    """An export folder, or a file in it, cannot be used."""


def first_line(error: Exception) -> str:
    """An exception's class and the first line of its message, without its full stop."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
