"""Adam with a smaller step for the backbone than for the head."""

from typing import Any

import keras

from search_spaces.head import is_head


@keras.saving.register_keras_serializable(package="tune")
class TransferAdam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) whose update of backbone variables is scaled.

    The update is scaled, not the gradient: Adam divides by the gradient's own size, so a scaled
    gradient gives the same step.

    Args:
        learning_rate: step size of the head.
        backbone_lr_factor: the backbone's step size as a share of the head's.
            A scalar variable, once the optimizer is built.
        **kwargs: of `keras.optimizers.Adam`.
    """

    def __init__(
        self, learning_rate: float = 1e-3, backbone_lr_factor: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self._initial_factor = backbone_lr_factor

    def build(self, variables: list[Any]) -> None:
        """Create the slots and the factor, and note which variables belong to the head."""
        if self.built:
            return
        super().build(variables)
        self.backbone_lr_factor = self.add_variable(
            (), initializer=keras.initializers.Constant(self._initial_factor), name="factor"
        )
        self._in_head = [is_head(variable.path) for variable in variables]

    def learning_rate_of(self, variable: Any) -> Any:
        """The step size of a variable: that of the head, or the backbone's share of it."""
        if self._in_head[self._get_variable_index(variable)]:
            return self.learning_rate
        return self.learning_rate * self.backbone_lr_factor

    def slots(self, variable: Any) -> tuple[Any, Any]:
        """Adam's running means of a variable's gradient and of its square."""
        index = self._get_variable_index(variable)
        return self._momentums[index], self._velocities[index]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; Keras calls it for each trained variable of a step."""
        if not self._in_head[self._get_variable_index(variable)]:
            learning_rate = learning_rate * self.backbone_lr_factor
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        factor = float(self.backbone_lr_factor) if self.built else self._initial_factor
        return {**super().get_config(), "backbone_lr_factor": factor}
