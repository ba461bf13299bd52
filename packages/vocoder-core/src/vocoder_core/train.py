"""The one training loop: `fit` trains a model until `steps`, from its beginning or from where it was stopped.

    for step in 1 .. steps:   batch -> loss -> backward -> clip -> update -> average;   now and then: report, save

Every random draw of step n is a function of (seed, n, rank), and so is its batch: a run killed at any moment and
started again ends with the same bits as one that ran through (CPU; one process or two). Nothing here knows a vocoder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from . import checkpoint
from . import config as configs
from .journal import Journal, Window
from .memory import keep_freed
from .parallel import Processes, moved, processes
from .run_state import RunState
from .schedule import learning_rate, seed_step
from .signals import StopRequest
from .vocoder import Vocoder

Model = TypeVar("Model", bound=Vocoder)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Each vocoder's own config files override what they must."""

    steps: int = 150_000  # univoc's count; speech is intelligible after some 20,000
    batch_size: int = 32  # crops per process: N processes see N times as many per step
    lr: float = 4e-4  # bshall, fatchord and diffusion vocoders start within 2x of it
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0  # AdamW's; a vocoder sees hours of samples, it underfits
    schedule: Literal["constant", "halve", "cosine"] = "cosine"  # ends with the budget; "halve" starves long runs
    halve_every: int = 25_000  # steps, for "halve"
    warmup: int = 200  # steps of linear rise, while Adam's second moments settle
    min_lr_ratio: float = 0.05  # the floor of "cosine", as a part of lr
    clip_grad: float = 1.0  # gradient norm; spikes reach 40 x the median on real speech. 0: no clipping
    ema: float = 0.999  # decay of the averaged weights that are validated and shipped. 0: no average
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"  # bf16 where CUDA has it, else fp32: on CPUs bf16 is slower
    seed: int = 1234
    log_every: int = 50  # steps per row of metrics.jsonl
    valid_every: int = 5_000  # steps; validation synthesises, which costs minutes for autoregressive models
    save_every: int = 1_000  # steps lost at worst when the power fails
    max_bad_steps: int = 20  # non-finite in a row; fp16 needs 16 to bring its scale from 65,536 to 1
    tensorboard: bool = False  # also write RUN/tensorboard; needs the extra [tensorboard]

    def __post_init__(self) -> None:
        """Raise ValueError for a value no run can use."""
        for name in ("steps", "batch_size", "halve_every", "log_every", "valid_every", "save_every", "max_bad_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("weight_decay", "warmup", "clip_grad", "seed"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"train.{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; expected 0 up to, not including, 1")
        if not (0 < self.lr < inf and 0 <= self.min_lr_ratio <= 1):
            raise ValueError(f"train.lr is {self.lr}, train.min_lr_ratio {self.min_lr_ratio}; expected > 0, 0 to 1")


class Diverged(ValueError):
    """Too many steps in a row had a loss or gradient that is not finite."""


def fit(
    model: Model,
    loss_fn: Callable[[nn.Module, Any], dict[str, Any]],
    batches: Callable[[int, int, int], Any],
    config: TrainConfig,
    run_dir: str | Path,
    *,
    after_step: Callable[[Model, int], None] | None = None,
    validate: Callable[[Model, int, Path], dict[str, float]] | None = None,
    device: str | torch.device | None = None,
) -> int:
    """Train `model` to `config.steps` and return that number; resume when `run_dir` holds a run. Steps count from 1.

    model: ends in eval mode on the device with the averaged weights, those of run_dir/model.safetensors.
    loss_fn(model, batch): {"loss": scalar tensor, other figures for the log}; calls model(...) once. A figure "samples"
        gives samples_per_second. Where it has state_dict() and load_state_dict() (plain values and tensors, never
        changed in place), its state is kept with the run, for each process its own.
    batches(step, rank, world_size): the batch of a step, a pure function; tensors in it are moved to the device.
    after_step(model, step): after each update, on every process, for instance to renormalise a codebook.
    validate(model, step, run_dir): figures, in eval mode with averaged weights, on rank 0.
    Several processes: start the program with `torchrun --nproc-per-node N`.

    Raises KeyboardInterrupt after SIGINT or SIGTERM, once the step under way is done and saved; Diverged (a ValueError)
    after max_bad_steps non-finite steps in a row; ValueError when the folder holds another run; OSError when it cannot
    be written. Each of them leaves the last checkpoint whole.
    """
    run = Path(run_dir)
    keep_freed()
    with processes(device) as crew, StopRequest() as stop:
        state = RunState(model.to(crew.device), loss_fn, config)
        journal = _begin_or_resume(state, config, run, crew)
        report = partial(_report, state, config, run, journal, crew, validate)
        _train(state, batches, config, run, crew, stop, report, after_step)
        state.average.copy_into_model()
        model.eval()
    if state.step < config.steps or not state.reported:
        raise KeyboardInterrupt(f"stopped by {stop.name}: {run} is saved at step {state.step}; run it again to go on")
    return state.step


def _train(
    state: RunState[Model],
    batches: Callable[[int, int, int], Any],
    config: TrainConfig,
    run: Path,
    crew: Processes,
    stop: StopRequest,
    report: Callable[[], None],
    after_step: Callable[[Model, int], None] | None,
) -> None:
    """The loop. It ends at config.steps, or earlier when a process was asked to stop."""
    trained = crew.parallel(state.model)
    if not state.reported:  # the run was stopped between this step and its report
        report()
        _save(state, config, run, crew)
    began = time.perf_counter() - state.seconds
    bar = tqdm(total=config.steps, initial=state.step, unit="step", disable=None if crew.main else True)
    while state.step < config.steps:
        started, step = time.perf_counter(), state.step + 1
        seed_step(config.seed, step, crew.rank)
        batch = moved(batches(step, crew.rank, crew.size), crew.device)
        before = state.untouched()
        figures = state.backward(trained, batch, config.amp, crew.device)
        norm = nn.utils.clip_grad_norm_(state.parameters, config.clip_grad or inf)
        # one exchange and one wait per step: every process knows whether the step is good and whether to stop
        agreed = torch.stack([figures.pop("loss").detach().float(), norm.float(), norm.new_tensor(stop.asked).float()])
        loss, grad_norm, stopping = crew.mean(agreed).tolist()
        if isfinite(loss) and isfinite(grad_norm):
            state.update(learning_rate(step, config))
            if after_step:
                after_step(state.model, step)
            state.average.update(step)
            state.window.add({"loss": loss, "grad_norm": grad_norm, **figures})
        else:
            state.skip(before)
            logger.warning("step %d skipped: loss %g, gradient norm %g", step, loss, grad_norm)
            _stop_if_diverged(state, config, run)
        state.step, state.seconds, state.reported = step, time.perf_counter() - began, False
        state.window.add({"step_seconds": time.perf_counter() - started})
        bar.update()
        if not stopping:
            report()
        if stopping or step % config.save_every == 0 or step == config.steps:
            _save(state, config, run, crew)
        if stopping:
            break
    bar.close()


def _report(
    state: RunState[Model],
    config: TrainConfig,
    run: Path,
    journal: Journal | None,
    crew: Processes,
    validate: Callable[[Model, int, Path], dict[str, float]] | None,
) -> None:
    """Write the row of this step, if one is due: means since the last one, and validation."""
    step, last, row = state.step, state.step == config.steps, {}
    if last or step % config.log_every == 0:
        row = state.window.means()
        speed = 1 / row.pop("step_seconds")
        samples = {"samples_per_second": row.pop("samples") * crew.size * speed} if "samples" in row else {}
        row |= {"lr": learning_rate(step, config), "steps_per_second": speed, **samples, "bad_steps": state.bad_steps}
        state.window = Window()
    if crew.main:
        if validate and (last or step % config.valid_every == 0):
            seed_step(config.seed, step, crew.size)  # a stream that no rank trains with
            with state.average.swapped_in(), torch.no_grad():
                figures = validate(state.model.eval(), step, run)
            row |= {f"valid_{name}": float(value) for name, value in figures.items()}
            state.model.train()
        if row and journal:
            with checkpoint.writing(run, state.saved):
                journal.write({"step": step, "seconds": round(state.seconds, 3), **row})
            logger.info("step %d: %s", step, " ".join(f"{name} {value:.4g}" for name, value in row.items()))
    state.reported = True


def _begin_or_resume(state: RunState[Any], config: TrainConfig, run: Path, crew: Processes) -> Journal | None:
    """Bring the state and the folder to the same step: the folder's, or a new run's step 0."""
    saved = crew.from_main(lambda: checkpoint.read(run))
    settings = checkpoint.settings_of(state.model, config, crew.size)
    if saved:
        checkpoint.check_same_run(saved, settings, run)
        state.load_state_dict(saved, crew.rank)
        state.saved = state.step
        logger.info("%s goes on after step %d", run, state.step)
    state.model.train()
    if state.step == config.steps and state.reported:
        return None  # finished: nothing to train, nothing to write
    loss_states = crew.gather(moved(state.loss_state(), "cpu"))

    def prepare() -> None:
        with checkpoint.writing(run, state.saved):
            run.mkdir(parents=True, exist_ok=True)
            checkpoint.remove_leftovers(run)
            checkpoint.write_whole(run / checkpoint.TRAIN_NAME, configs.dump(config).encode())
            if not saved:  # a folder that cannot be written is noticed now, not after an hour
                checkpoint.write_resume(run, {"settings": settings, **state.state_dict(loss_states)})
            with state.average.swapped_in():  # level with resume.pt, should the run have died between its two writes
                state.model.save_pretrained(run)

    crew.from_main(prepare)
    state.saved = state.step
    if not crew.main:
        return None
    with checkpoint.writing(run, state.saved):
        return Journal(run, state.step - (not state.reported), config.tensorboard)


def _save(state: RunState[Any], config: TrainConfig, run: Path, crew: Processes) -> None:
    """First the model, which anyone may be waiting for, then the state from which training goes on."""
    settings = checkpoint.settings_of(state.model, config, crew.size)
    loss_states = crew.gather(moved(state.loss_state(), "cpu"))

    def write() -> None:
        with checkpoint.writing(run, state.saved):
            with state.average.swapped_in():
                state.model.save_pretrained(run)
            checkpoint.write_resume(run, {"settings": settings, **state.state_dict(loss_states)})

    crew.from_main(write)
    state.saved = state.step


def _stop_if_diverged(state: RunState[Any], config: TrainConfig, run: Path) -> None:
    if state.bad_in_row >= config.max_bad_steps:
        advice = f"the last good checkpoint is {run}, step {state.saved}: go on from it in a new folder with a lower lr"
        raise Diverged(f"{state.bad_in_row} steps in a row had a loss or gradient that is not finite; {advice}")
