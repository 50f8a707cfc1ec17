"""Adam with a smaller step for the backbone than for the head."""

from typing import Any

import keras

from search_spaces.head import is_head


@keras.saving.register_keras_serializable(package="tune")
class TransferAdam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) whose update of backbone variables is scaled.

    The update is scaled, and not the gradient: Adam divides by the gradient's own size, so that a
    scaled gradient gives the same step.

    Args:
        learning_rate: step size of the head.
        backbone_lr_factor: the backbone's step size as a share of the head's.
        **kwargs: as `keras.optimizers.Adam` takes them.
    """

    def __init__(
        self, learning_rate: float = 1e-3, backbone_lr_factor: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.backbone_lr_factor = backbone_lr_factor

    def build(self, variables: list[Any]) -> None:
        """Makes the slots, and notes which variables are the backbone's."""
        super().build(variables)
        self._factors = [
            1.0 if is_head(variable.path) else self.backbone_lr_factor for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable; Keras calls it for each trained variable of a step."""
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "backbone_lr_factor": self.backbone_lr_factor}
