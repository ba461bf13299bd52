"""RunState: all that training changes: weights, their average, optimiser, counters. What is saved is what is here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from .journal import Window
from .parallel import moved
from .schedule import Average
from .vocoder import Vocoder

Model = TypeVar("Model", bound=Vocoder)


class RunState(Generic[Model]):
    """A model in training. `step` is the last finished step (0: none), `seconds` the time of all resumptions."""

    def __init__(self, model: Model, loss_fn: Callable[[nn.Module, Any], dict[str, Any]], config: Any) -> None:
        self.model, self.loss_fn = model, loss_fn
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, config.lr, (config.beta1, config.beta2), weight_decay=config.weight_decay
        )
        device = self.parameters[0].device.type
        self.scaler = torch.amp.GradScaler(device, enabled=config.amp == "fp16")  # bf16 has fp32's range: no scale
        self.average = Average(model, config.ema)
        self.window = Window()
        self.step, self.seconds = 0, 0.0
        self.saved: int | None = None  # the step of the checkpoint on disk
        self.bad_steps, self.bad_in_row = 0, 0
        self.reported = True  # False: the step is done, its report is not

    def backward(self, trained: nn.Module, batch: Any, amp: str, device: torch.device) -> dict[str, Any]:
        """Gradients of one batch, unscaled, in the parameters; returns the loss function's figures."""
        dtype = _precision(amp, device)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            figures = dict(self.loss_fn(trained, batch))
        self.scaler.scale(figures["loss"]).backward()
        self.scaler.unscale_(self.optimizer)
        return figures

    def update(self, lr: float) -> None:
        """One optimiser step with the gradients at hand."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.bad_in_row = 0

    def untouched(self) -> tuple[list[torch.Tensor], Any]:
        """What a forward pass may change: buffers (running statistics, codebooks) and the loss function's state."""
        buffers = [buffer.detach().clone() for buffer in self.model.buffers()]
        return buffers, copy.deepcopy(self.loss_state())

    def skip(self, before: tuple[list[torch.Tensor], Any]) -> None:
        """Undo a step that went wrong, so that it leaves no trace but the count."""
        buffers, loss_state = before
        with torch.no_grad():
            for buffer, value in zip(self.model.buffers(), buffers):
                buffer.copy_(value)
        if loss_state is not None:
            self.loss_fn.load_state_dict(loss_state)  # type: ignore[attr-defined]
        self.scaler.update()  # fp16: a smaller scale for the next step
        self.bad_steps += 1
        self.bad_in_row += 1

    def loss_state(self) -> Any:
        """The loss function's state; None when it keeps none."""
        return self.loss_fn.state_dict() if hasattr(self.loss_fn, "state_dict") else None

    def state_dict(self, loss_states: list[Any]) -> dict[str, Any]:
        """Plain values and CPU tensors; `loss_states`: that of every process, in rank order."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "window": {"sums": self.window.sums, "counts": self.window.counts},
            "loss_states": loss_states,
            **{name: getattr(self, name) for name in _COUNTERS},
        }
        return moved(state, "cpu")

    def load_state_dict(self, state: dict[str, Any], rank: int) -> None:
        """Take over a saved state on this model's device."""
        device = self.parameters[0].device
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.average.values = moved(state["average"], device)
        self.window.sums, self.window.counts = moved(state["window"]["sums"], device), dict(state["window"]["counts"])
        if hasattr(self.loss_fn, "load_state_dict"):
            self.loss_fn.load_state_dict(moved(state["loss_states"][rank], device))
        for name in _COUNTERS:
            setattr(self, name, state[name])


_COUNTERS = ("step", "seconds", "bad_steps", "bad_in_row", "reported")


def _precision(amp: str, device: torch.device) -> torch.dtype | None:
    """The autocast type; None: fp32 throughout."""
    if amp == "auto":
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else None
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
