"""The exceptions that this package raises on purpose.

    TuneError                           the program failed                          exit code 1
    ├── StoppedError                    interrupted; can be resumed                 exit code 130
    └── InputError                      the user's input is wrong                   exit code 2
        ├── SettingsError               an option or a hyperparameter
        ├── DataError                   the images or their folder
        ├── WeightsError                the pretrained weights
        ├── ModelError                  a model of the user's own
        ├── RunError                    a run that is missing, in use or unfinished
        │   └── DamagedJournalError     its journal is corrupt
        └── ExportError                 an export folder or a file in it

Every message is one or two plain sentences: what is wrong, and what to do about it.
"""


class TuneError(Exception):
    """The program failed."""


class StoppedError(TuneError):
    """The program was interrupted, and everything done so far is saved.

    Attributes:
        begun: whether a run was begun or resumed, so that there is one to resume.
    """

    begun = False


class InputError(TuneError):
    """The user's input is wrong; the message says what to do."""


class SettingsError(InputError):
    """The value of an option or a hyperparameter is unusable."""


class DataError(InputError):
    """The images, or their folder, are unusable."""


class WeightsError(InputError):
    """The pretrained weights are missing, damaged or of another network."""


class ModelError(InputError):
    """A user's own model cannot be loaded or examined."""


class RunError(InputError):
    """A run is missing, in use by another process, or has no result yet."""


class DamagedJournalError(RunError):
    """A run's journal is corrupt."""


class ExportError(InputError):
    """An export folder, or a file in it, is unusable."""


def first_line(error: Exception) -> str:
    """An exception's class and the first line of its message, without the full stop."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
