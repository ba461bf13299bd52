"""vocoder_core.vq against vector-quantize-pytorch 1.32.0: arrays by tools/golden_vq.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder_core.vq import QuantizerConfig, quantizer


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, torch.Tensor]:
    with np.load(golden / "vq.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


@pytest.mark.parametrize("estimator", ["straight_through", "rotation"])
def test_moving_averages_are_the_public_ones(estimator: str, arrays: dict[str, torch.Tensor]) -> None:
    """Codes of five batches, commitment loss, the decoder's gradient by either estimator, and where the table ends."""
    table = arrays["ema_first"]
    config = QuantizerConfig(
        kind="ema", size=len(table), dim=table.shape[1], decay=0.9, commitment=0.25, restart=0.0, kmeans=False,
        estimator=estimator,
    )  # fmt: skip
    model = quantizer(config)
    model.codebook.copy_(table)
    model.sums.copy_(table)  # it starts as if each code had been used once
    model.initialised.fill_(1)
    for i, (x, wanted) in enumerate(zip(arrays["ema_x"], arrays["ema_wanted"])):
        entered = x.clone().requires_grad_()
        seen = model(entered)
        assert torch.equal(seen.codes, arrays["ema_codes"][i])
        torch.testing.assert_close(seen.losses["commitment"], arrays["ema_loss"][i], rtol=1e-4, atol=0)
        (seen.quantized * wanted).sum().backward()
        torch.testing.assert_close(entered.grad, arrays[f"ema_gradient_{estimator}"][i], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(model.counts, arrays["ema_counts"])
    torch.testing.assert_close(model.codebook, arrays["ema_last"], rtol=1e-4, atol=1e-5)


def test_finite_scalars_are_the_public_ones(arrays: dict[str, torch.Tensor]) -> None:
    model = quantizer(QuantizerConfig(kind="fsq", dim=3, levels=(8, 5, 4)))
    seen = model(arrays["fsq_x"])
    assert torch.equal(seen.codes, arrays["fsq_codes"].long())
    torch.testing.assert_close(seen.quantized, arrays["fsq_quantized"])
    torch.testing.assert_close(model.decode(seen.codes), arrays["fsq_quantized"])
