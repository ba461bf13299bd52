"""What goes wrong in the public code around the network: loaders, training, validation. As in test_original_defects.py.

D4  the loader never ends, and the loss of nothing is NaN       clip  gradients are clipped where they never are
D5  an epoch is as long as there are utterances, by batches     test  every step synthesises ten utterances first
-   the paper's ends when the first slot is empty               10    fewer than ten held-out utterances are an error
-   tails and utterances below 65 ms are dropped, or break      bool  what is true by default cannot be turned off
-   the order is nobody's seed                                  ckpt  data of other settings are used in silence
-   a resumed run has forgotten its states                      NaN   one batch that is no number, and no weight is one
D5  validation hears beginnings                                 -1e10 a pitch that is none is a number like others
D8  who was not in training is an error
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from samplernn_pase import SampleRNNPASE, check, content, features
from samplernn_pase.check import Check, CheckConfig, spoken_by
from samplernn_pase.content import ContentConfig
from samplernn_pase.features import Features
from samplernn_pase.sequence import EMPTY, Epoch, Epochs, Row
from samplernn_pase.settings import Settings
from samplernn_pase.train import Loss
from vocoder_core import config as configs
from vocoder_core import train, validation
from vocoder_core.validation import HeldOut

sys.path.append(str(Path(__file__).parent))
from noise_world import (
    CHUNK,
    FRAMES,
    MODEL,
    SMALL_MEL,
    Patch,
    Promise,
    World,
    cut,
    fitted,
    kept_and_broken,
    mels,
    network,
    noise,
    prepared,
    weights,
)

STEPS = 12  # more than an epoch of the small world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return prepared(tmp_path_factory.mktemp("corpus"))


# ---- what is promised


def every_step_has_a_loss(world: World) -> None:
    batches, made, loss = cut(world), network(), Loss()
    for step in range(1, STEPS + 1):
        batch = batches(step)
        assert (batch.reset != EMPTY).any()
        assert 4 < float(loss(made, batch)["loss"].detach()) < 8


def a_slot_that_is_empty_counts_for_nothing(_: World) -> None:
    """Also where all are."""
    made, wav, told = network(), noise(4, 3), mels(4, 3)
    found = made(wav, told, "p225")
    active = torch.tensor([True, False, True])[:, None].expand(-1, 240)
    both = replace(found, logits=found.logits[::2], targets=found.targets[::2])
    torch.testing.assert_close(made.loss(found, active)["loss"], made.loss(both)["loss"])
    assert float(made.loss(found, torch.zeros_like(active))["loss"].detach()) == 0


def every_frame_is_heard_once_an_epoch(world: World) -> None:
    """Of every utterance, from its beginning to its end, shorter than a chunk or not."""
    batches = cut(world)
    batches.row(1)
    epoch, lengths = batches.epochs[1].epoch, batches.audio.frames
    heard = [np.zeros(length, int) for length in lengths]
    for step in range(1, len(epoch) + 1):
        row, active = batches.row(step), batches(step).active[:, ::80]
        for slot, (which, first) in enumerate(zip(row.utterance, row.frame)):
            count = int(active[slot].sum())
            heard[which][first : first + count] += 1
            assert count == (0 if row.reset[slot] == EMPTY else min(CHUNK, lengths[which] - first))
    assert sorted(len(each) for each in heard) == sorted(FRAMES[name] for name in "0123")
    assert all((each == 1).all() for each in heard)


def the_order_is_the_seeds(_: World) -> None:
    lengths = np.arange(1, 60)
    one, again, other = (Epochs(lengths, 2, CHUNK, seed) for seed in (0, 0, 1))
    orders = [[each.row(step).utterance.tolist() for step in range(1, 200)] for each in (one, again, other)]
    assert orders[0] == orders[1] != orders[2]


def a_run_goes_on_as_if_it_had_never_stopped(world: World) -> None:
    whole = fitted(world, "whole", 5)
    fitted(world, "parts", 3)
    assert torch.equal(weights(fitted(world, "parts", 5)), weights(whole))


def an_update_is_never_by_more_than_a_norm_of_one(world: World) -> None:
    """Here of a loss a thousand times as steep."""
    norms = []

    def steep(made: SampleRNNPASE, batch: Any) -> dict[str, Tensor]:
        return {"loss": 1000 * loss(made, batch)["loss"]}

    def seen(optimizer: Any, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))

    loss = Loss()
    handle = register_optimizer_step_pre_hook(seen)
    try:
        fitted(world, "run", 4, steep)
    finally:
        handle.remove()
    assert len(norms) == 4
    assert 0.9 < max(norms) <= 1 + 1e-4


def a_step_trains_and_does_nothing_else(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SampleRNNPASE, "synthesize", refused)
        fitted(world, "run", 2)


def refused(*_: Any, **__: Any) -> Tensor:
    raise AssertionError("it speaks")


def as_much_is_measured_as_is_there(world: World) -> None:
    told = Check(world.corpus, world.features, CheckConfig(clips=10, synthesize=0))(network(), 1, world.folder)
    assert set(told) == {"seen_bits", "unseen_bits"}
    assert all(6 < bits < 10 for bits in told.values())


def the_whole_clip_is_measured(world: World) -> None:
    measured = Check(world.corpus, world.features, CheckConfig(clips=1, synthesize=0))
    (entry,), made = measured.held_out.groups["seen"][:1], network()
    wav, told = (torch.from_numpy(np.array(each)) for each in (world.corpus.wav(entry), world.features.of(entry)))
    found = check.bits_of(made, wav[None], told[None].float(), None, [entry.speaker])
    assert measured.bits(made, entry, torch.device("cpu")) == pytest.approx(found, abs=1e-5)


def whoever_speaks_can_be_copied(world: World) -> None:
    made = network()
    assert made.synthesize(mels(1).mT, spoken_by(made, ["p999"]), seed=0, backend="torch").isfinite().all()


def what_is_on_can_be_turned_off(_: World) -> None:
    settings = configs.load(Settings, None, ["crop.carry=false", "model.weight_norm=no"])
    assert (settings.crop.carry, settings.model.weight_norm) == (False, False)


def data_of_other_settings_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="fmax"):
        Features.open(world.corpus, "mel80", mel=replace(SMALL_MEL, fmax=4000.0))


def a_batch_that_is_no_number_leaves_no_trace(world: World) -> None:
    def once(made: SampleRNNPASE, batch: Any) -> dict[str, Any]:
        steps.append(1)
        return loss(made, replace(batch, wav=batch.wav * float("nan")) if len(steps) == 2 else batch)

    loss, steps = Unlabelled(), list[int]()
    assert weights(fitted(world, "run", 4, once)).isfinite().all()
    assert len(steps) == 4


class Unlabelled(Loss):
    """Of a wave that is no number, a loss that is none; the quantiser would refuse it."""

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        if batch.wav.isnan().any():
            return {"loss": sum(p.sum() for p in model.parameters()) * float("nan")}
        return super().__call__(model, batch)


def a_pitch_that_is_none_is_bounded(_: World) -> None:
    """-1e10, as its tracker says of a recording without a voice."""
    made = network(content=ContentConfig("world43"))
    told = torch.randn(1, 4, 43, generator=torch.Generator().manual_seed(0))
    told[..., 41] = -1e10
    found = made.loss(made(noise(4), told, "p225"))["loss"]
    found.backward()
    assert float(found.detach()) < 10
    assert float(nn.utils.clip_grad_norm_(made.parameters(), 1.0)) < 15


# ---- what was done instead


def only_once(self: Epochs, step: int) -> Row:
    """The first epoch, and nothing after it for ever."""
    return self._plan(0).row(step - 1)


def mean_of_what_is_there(self: SampleRNNPASE, made: Any, active: Tensor | None = None) -> dict[str, Tensor]:
    logits, targets = made.logits, made.targets
    chosen = torch.ones_like(targets, dtype=torch.bool) if active is None else active
    return {"loss": nn.functional.cross_entropy(logits[chosen], targets[chosen])}


def mean_of_everything(self: SampleRNNPASE, made: Any, _: Tensor | None = None) -> dict[str, Tensor]:
    return LOSS(self, made, None)


def by_utterances(self: Epoch) -> int:
    return -(-sum(len(taken) for taken in self.taken) // self.slots)


def by_the_first_empty_slot(self: Epoch) -> int:
    return min(self.ends)


def without_tails(self: Epoch, frames: Any, slots: int, chunk: int, seed: int, epoch: int) -> None:
    EPOCH(self, np.asarray(frames) // chunk * chunk, slots, chunk, seed, epoch)


def unseeded(self: Epochs, number: int) -> Epoch:
    return Epoch(self.frames, self.slots, self.chunk, random.randrange(10**6), number)


def forgotten(self: Loss, values: dict[str, Any]) -> None:
    self.state = None


def each_by_itself(parameters: Any, most: float) -> Tensor:
    """Norms as they were: every element by itself is bounded."""
    owned = list(parameters)
    norm = torch.stack([p.grad.norm() for p in owned if p.grad is not None]).norm()
    nn.utils.clip_grad_value_(owned, most)
    return norm


def speaking_first(self: Loss, made: Any, batch: Any) -> dict[str, Any]:
    made.synthesize(mels(1).mT, "p225", seed=0)
    return CALL(self, made, batch)


def ten_of(entries: list[Any], count: int) -> list[Any]:
    return random.sample(entries, count)


def beginning(self: HeldOut, *told: Any) -> Tensor:
    return CLIP(self, *told)[: CHUNK * 80]


def by_name(made: SampleRNNPASE, names: Any) -> Tensor:
    return made.voices.table(torch.tensor([MODEL.speakers.index(name) for name in names]))  # type: ignore[union-attr, operator]


def true_of_any_text(hint: Any, value: Any, key: str) -> Any:
    return bool(str(value.content)) if hint is bool else SCALAR(hint, value, key)


LOSS, EPOCH, CALL, CLIP, SCALAR = SampleRNNPASE.loss, Epoch.__init__, Loss.__call__, HeldOut.clip, configs._scalar
DEFECTS: dict[str, tuple[Promise, list[Patch]]] = {
    "D4": (every_step_has_a_loss, [(Epochs, "row", only_once), (SampleRNNPASE, "loss", mean_of_what_is_there)]),
    "D4 NaN": (a_slot_that_is_empty_counts_for_nothing, [(SampleRNNPASE, "loss", mean_of_what_is_there)]),
    "empty": (a_slot_that_is_empty_counts_for_nothing, [(SampleRNNPASE, "loss", mean_of_everything)]),
    "D5": (every_frame_is_heard_once_an_epoch, [(Epoch, "__len__", by_utterances)]),
    "first empty slot": (every_frame_is_heard_once_an_epoch, [(Epoch, "__len__", by_the_first_empty_slot)]),
    "tails": (every_frame_is_heard_once_an_epoch, [(Epoch, "__init__", without_tails)]),
    "seed": (the_order_is_the_seeds, [(Epochs, "_plan", unseeded)]),
    "resume": (a_run_goes_on_as_if_it_had_never_stopped, [(Loss, "load_state_dict", forgotten)]),
    "clip": (an_update_is_never_by_more_than_a_norm_of_one, [(train.nn.utils, "clip_grad_norm_", each_by_itself)]),
    "test": (a_step_trains_and_does_nothing_else, [(Loss, "__call__", speaking_first)]),
    "10": (as_much_is_measured_as_is_there, [(validation, "spread", ten_of)]),
    "D5 validation": (the_whole_clip_is_measured, [(HeldOut, "clip", beginning)]),
    "D8": (whoever_speaks_can_be_copied, [(sys.modules[__name__], "spoken_by", by_name)]),
    "bool": (what_is_on_can_be_turned_off, [(configs, "_scalar", true_of_any_text)]),
    "ckpt": (data_of_other_settings_are_refused, [(features, "_check_mel", lambda *_: None)]),
    "NaN": (a_batch_that_is_no_number_leaves_no_trace, [(train, "isfinite", lambda _: True)]),
    "-1e10": (a_pitch_that_is_none_is_bounded, [(content, "CLIP", 1e30)]),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_promise_is_kept_and_broken_by_its_defect(
    name: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise, patches = DEFECTS[name]
    kept_and_broken(promise, patches, replace(world, folder=tmp_path), monkeypatch)
