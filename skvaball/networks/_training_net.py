"""The skorch net inside of DeepClassifier."""

from collections.abc import Callable
from typing import Any

import torch
from skorch import NeuralNetClassifier
from skorch.utils import to_tensor


class TrainingNet(NeuralNetClassifier):
    """Skorch net that can train in mixed precision and compiled, and that never waits in an epoch.

    Only training is changed. Predictions come from the plain module in float32: its layers
    keep their names and run their hooks, and equal rows have equal predictions to the last
    digits that selectors compare.

    Parameters
    ----------
    precision : {"float32", "bfloat16"}, default="float32"
        Type of the products in the forward pass; weights and loss stay in float32.
    compiler : str or None, default=None
        Backend of torch.compile for the forward pass; None leaves it as it is. (skorch's own
        ``compile`` puts the module into a wrapper, which renames the layers and passes over
        their hooks.)
    """

    def __init__(
        self,
        module: Any,
        *args: Any,
        precision: str = "float32",
        compiler: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, **kwargs)
        self.precision = precision
        self.compiler = compiler

    #: The compiled forward pass. It lives while the net trains, because it cannot be pickled.
    _compiled: Callable[..., Any] | None = None

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **params: Any) -> Any:
        """Train for a number of epochs."""
        if self.compiler is not None:
            self._compiled = torch.compile(self.module_.forward, backend=self.compiler)
        try:
            return super().fit_loop(X, y, epochs, **params)
        finally:
            self._compiled = None

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Logits of a batch."""
        if not self.module_.training or self.precision == "float32":
            return self._logits(x, **fit_params)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            return self._logits(x, **fit_params).float()

    def _logits(self, x: Any, **fit_params: Any) -> Any:
        if not self.module_.training or self._compiled is None:
            return super().infer(x, **fit_params)
        return self._compiled(to_tensor(x, self.device), **fit_params)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Make one step of the optimizer, without what only other optimizers need of skorch."""
        X, y = batch
        self.optimizer_.zero_grad()
        logits = self.infer(X, **fit_params)
        loss = self.get_loss(logits, y, X=X, training=True)
        loss.backward()
        self.optimizer_.step()
        return {"loss": loss}

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Run one epoch as skorch does, but fetch the losses from the device once, at its end.

        To ask for a loss is to wait until the device is done, so that it stands idle while
        the next batch is prepared. Callbacks hear of epochs only.
        """
        if iterator is None:
            return
        self._set_training(training)
        losses, sizes = [], []
        for batch in iterator:
            losses.append(step_fn(batch, **fit_params)["loss"].detach())
            sizes.append(len(batch[1]))
        for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=True):
            self.history.new_batch()
            self.history.record_batch(f"{prefix}_loss", loss)
            self.history.record_batch(f"{prefix}_batch_size", size)
        self.history.record(f"{prefix}_batch_count", len(losses))
