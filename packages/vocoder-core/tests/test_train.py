"""fit's arithmetic against a hand-written loop and closed forms: update, schedule, clipping, average, skipping, AMP."""

from __future__ import annotations

import json
import math
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vocoder_core.schedule import Average, learning_rate, seed_step
from vocoder_core.train import Diverged, TrainConfig, fit

sys.path.append(str(Path(__file__).parent))
import tiny_run as tiny

STILL = tiny.TinyConfig(dropout=0.0)
PLAIN = {"steps": 8, "ema": 0.0, "warmup": 0, "schedule": "constant", "clip_grad": 0.0}


def train(run: Path, loss=tiny.plain_loss, model=None, batches=tiny.batches, **more) -> tiny.Tiny:
    options = {name: more.pop(name) for name in ("after_step", "validate", "device") if name in more}
    model = model or tiny.new_model(STILL)
    fit(model, loss, batches, tiny.tiny_config(**{**PLAIN, **more}), run, **{"device": "cpu", **options})
    return model


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def by_hand(steps: list[int], lr=lambda step: 0.02, clip: float = math.inf, betas=(0.9, 0.999), decay: float = 0.0):
    """The same training without fit: yields the model after each step."""
    model = tiny.new_model(STILL).train()
    optimizer = torch.optim.AdamW(model.parameters(), betas=betas, weight_decay=decay)
    for step in steps:
        optimizer.param_groups[0]["lr"] = lr(step)
        optimizer.zero_grad()
        tiny.plain_loss(model, tiny.batches(step, 0, 1))["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        yield model


def last(models):
    return list(models)[-1]


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_fit_is_the_loop_one_would_write_by_hand(tmp_path):
    model = train(tmp_path, beta1=0.8, beta2=0.95, weight_decay=0.1)
    assert_same(model, last(by_hand(range(1, 9), betas=(0.8, 0.95), decay=0.1)))


def test_clipping_is_torchs_and_the_norm_in_the_log_is_the_one_before_it(tmp_path):
    model = train(tmp_path, clip_grad=0.3)
    assert_same(model, last(by_hand(range(1, 9), clip=0.3)))
    norms = [row["grad_norm"] for row in rows(tmp_path)]
    gradients = [p.grad for p in last(by_hand([1])).parameters()]
    assert norms[0] == pytest.approx(torch.cat([g.flatten() for g in gradients]).norm().item(), rel=1e-6)
    assert min(norms) > 0.3


def torch_rates(make_scheduler, steps: int, lr: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)
    scheduler, rates = make_scheduler(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_halving_is_torchs_step_lr():
    config = TrainConfig(steps=40, lr=3e-3, schedule="halve", halve_every=7, warmup=0)
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.5), 40, 3e-3)
    assert [learning_rate(n, config) for n in range(1, 41)] == pytest.approx(expected, rel=1e-12)


def test_cosine_is_torchs_and_follows_a_linear_rise():
    config = TrainConfig(steps=50, lr=3e-3, schedule="cosine", warmup=10, min_lr_ratio=0.1)
    rates = [learning_rate(n, config) for n in range(1, 51)]
    assert rates[:10] == pytest.approx([3e-4 * n for n in range(1, 11)])
    after = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40, 3e-4), 40, 3e-3)
    assert rates[10:] == pytest.approx(after, rel=1e-9)
    assert learning_rate(51, config) == pytest.approx(3e-4)


def test_the_rate_of_the_log_is_the_rate_of_the_update(tmp_path):
    config = {"schedule": "halve", "halve_every": 3, "warmup": 4}
    model = train(tmp_path, **config)
    rate = [0.02 * min(1, n / 4) * 0.5 ** ((n - 1) // 3) for n in range(1, 9)]
    assert [row["lr"] for row in rows(tmp_path)] == pytest.approx(rate)
    assert_same(model, last(by_hand(range(1, 9), lr=lambda n: rate[n - 1])))


def test_averaged_weights_equal_their_closed_form(tmp_path):
    """w' = sum_n (1 - d_n) prod_{m>n} d_m w_n + prod d_m w_0, in float64; it is saved, returned and validated."""
    seen = []

    def keep(model: tiny.Tiny, step: int) -> None:
        seen.append(model.out.weight.double().numpy(force=True).copy())

    def bias(model: tiny.Tiny, step: int, run: Path) -> dict[str, float]:
        return {"bias": model.out.bias.item()}

    model = train(tmp_path, ema=0.6, after_step=keep, validate=bias, valid_every=100)
    decays = [min(0.6, n / (n + 9)) for n in range(1, 9)]
    assert decays[0] == 0.1
    expected = np.prod(decays) * tiny.new_model(STILL).out.weight.double().numpy(force=True)
    for n, weights in enumerate(seen):
        expected = expected + (1 - decays[n]) * np.prod(decays[n + 1 :]) * weights
    assert np.abs(expected - seen[-1]).max() > 1e-3
    np.testing.assert_allclose(model.out.weight.numpy(force=True), expected, atol=1e-7)
    assert_same(model, tiny.Tiny.from_pretrained(tmp_path))
    assert rows(tmp_path)[-1]["valid_bias"] == model.out.bias.item()


def test_swapping_the_average_in_and_out_leaves_the_own_weights_even_after_an_error():
    model = tiny.new_model()
    average = Average(model, 0.5)
    with torch.no_grad():
        model.out.weight += 1
    own = model.out.weight.detach().clone()
    with suppress(RuntimeError), average.swapped_in():
        assert torch.equal(model.out.weight, tiny.new_model().out.weight)
        raise RuntimeError
    assert torch.equal(model.out.weight, own)


def poisoned(bad: set[int], value: float):
    def batches(step: int, rank: int, size: int) -> tiny.Batch:
        x, y = tiny.batches(step, rank, size)
        return tiny.Batch(x * value if step in bad else x, y)

    return batches


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_that_is_not_finite_is_skipped_counted_and_leaves_no_trace(tmp_path, value):
    """Weights, optimiser moments, the buffer that forward changed, the loss's own state: all as if it had not been."""
    model = train(tmp_path, batches=poisoned({3, 4, 6}, value))
    assert_same(model, last(by_hand([1, 2, 5, 7, 8])))
    assert [row["bad_steps"] for row in rows(tmp_path)] == [0, 0, 1, 2, 2, 3, 3, 3]
    assert "loss" not in rows(tmp_path)[2]
    loss = tiny.NoisyLoss()
    train(tmp_path / "noisy", loss=loss, batches=poisoned({8}, value))
    assert loss.hidden.isfinite().all()


def test_a_loss_that_is_not_finite_while_its_gradient_is_counts_too(tmp_path):
    def loss(model: nn.Module, batch: tiny.Batch) -> dict:
        bad = torch.equal(batch.x, tiny.batches(2, 0, 1).x)
        return {"loss": tiny.plain_loss(model, batch)["loss"] + (math.inf if bad else 0)}

    assert_same(train(tmp_path, loss=loss), last(by_hand([1, 3, 4, 5, 6, 7, 8])))


def test_too_many_bad_steps_in_a_row_stop_with_the_name_of_the_last_good_checkpoint(tmp_path):
    batches = poisoned({2, 3, *range(5, 100)}, math.nan)
    with pytest.raises(Diverged, match=rf"3 steps in a row.* {tmp_path}, step 6"):
        train(tmp_path, batches=batches, max_bad_steps=3, steps=50, save_every=3)
    kept = tiny.Tiny.from_pretrained(tmp_path)
    assert_same(kept.train(), last(by_hand([1, 4])))


def test_after_step_works_on_the_updated_model_and_before_the_average(tmp_path):
    def renormalise(model: tiny.Tiny, step: int) -> None:
        with torch.no_grad():
            model.out.weight.fill_(step)

    model = train(tmp_path, after_step=renormalise, ema=0.5, steps=2)
    first = 0.1 * tiny.new_model(STILL).out.weight + 0.9 * 1
    torch.testing.assert_close(model.out.weight, 2 / 11 * first + 9 / 11 * 2)


def test_the_log_holds_means_since_the_last_row_and_null_for_what_is_not_a_number(tmp_path):
    def loss(model: nn.Module, batch: tiny.Batch) -> dict:
        return {**tiny.plain_loss(model, batch), "mean_x": batch.x.mean(), "samples": 20}

    train(tmp_path, loss=loss, log_every=5, valid_every=4, validate=lambda *_: {"nothing": math.nan})
    log = rows(tmp_path)
    assert [row["step"] for row in log] == [4, 5, 8]
    assert log[1]["mean_x"] == pytest.approx(np.mean([tiny.batches(n, 0, 1).x.mean() for n in range(1, 6)]), abs=1e-6)
    assert log[2]["mean_x"] == pytest.approx(np.mean([tiny.batches(n, 0, 1).x.mean() for n in range(6, 9)]), abs=1e-6)
    assert log[2]["samples_per_second"] == pytest.approx(20 * log[2]["steps_per_second"])
    assert log[0] == {"step": 4, "seconds": log[0]["seconds"], "valid_nothing": None}
    assert log[0]["seconds"] <= log[1]["seconds"] <= log[2]["seconds"]


def test_every_rank_and_step_draws_its_own_noise_and_the_same_again():
    def draw(*key: int) -> tuple:
        seed_step(*key)
        return torch.rand(()).item(), float(np.random.rand()), tiny.random.random()  # noqa: NPY002

    keys = [(seed, step, rank) for seed in (0, 1) for step in (1, 2) for rank in (0, 1)]
    draws = [draw(*key) for key in keys]
    assert len({d for trio in draws for d in trio}) == 3 * len(keys)
    assert draws == [draw(*key) for key in keys]


def test_fit_runs_outside_the_main_thread(tmp_path):
    thread = threading.Thread(target=train, args=[tmp_path])
    thread.start()
    thread.join()
    assert rows(tmp_path)[-1]["step"] == 8


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_autocast_lowers_the_precision_of_the_pass_and_not_of_the_weights(tmp_path, amp):
    kinds = set()

    def loss(model: nn.Module, batch: tiny.Batch) -> dict:
        y, _ = model(batch.x)
        kinds.add(y.dtype)
        return {"loss": (y.float() - batch.y).square().mean()}

    model = train(tmp_path, loss=loss, amp=amp)
    assert kinds == {torch.bfloat16 if amp == "bf16" else torch.float16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    if amp == "bf16":  # fp16 begins with a few skipped steps, while its scale comes down
        exact = last(by_hand(range(1, 9)))
        for a, b in zip(model.parameters(), exact.parameters()):
            assert 0 < (a - b).abs().max() < 0.1


def test_fp16_scales_the_loss_and_resumes_its_scale(tmp_path):
    whole = train(tmp_path / "whole", amp="fp16", steps=12)
    assert rows(tmp_path / "whole")[0]["bad_steps"] == 1  # 65,536 is too much for the first gradient
    assert 0 < rows(tmp_path / "whole")[-1]["bad_steps"] < 10
    train(tmp_path / "parts", amp="fp16", steps=1)
    assert_same(whole, train(tmp_path / "parts", amp="fp16", steps=12))


def test_auto_is_fp32_on_the_cpu(tmp_path):
    assert_same(train(tmp_path, amp="auto"), last(by_hand(range(1, 9))))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("amp", ["auto", "off", "bf16", "fp16"])
def test_fit_trains_on_a_gpu(tmp_path, amp):
    kinds = set()

    def loss(model: nn.Module, batch: tiny.Batch) -> dict:
        assert batch.x.is_cuda
        y, _ = model(batch.x)
        kinds.add(y.dtype)
        return {"loss": (y.float() - batch.y).square().mean()}

    model = train(tmp_path, loss=loss, amp=amp, steps=60, device=None, lr=0.05)
    lowered = {"auto": torch.bfloat16, "off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    assert model.out.weight.is_cuda
    assert kinds == {lowered}
    log = rows(tmp_path)
    assert np.mean([r["loss"] for r in log[-10:]]) < 0.8 * np.mean([r["loss"] for r in log[5:15]])
    train(tmp_path, loss=loss, amp=amp, steps=70, device=None, lr=0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("ema", 1.0),
        ("beta2", 1.0),
        ("clip_grad", -1),
        ("min_lr_ratio", 2),
    ],
)
def test_settings_that_no_run_can_use_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"train\.{field} is|train\.{field} "):
        TrainConfig(**{field: value})
