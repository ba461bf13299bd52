"""Seeds of rows."""

from __future__ import annotations

import pytest

from vocoder_core.seeds import of_rows


def test_rows_get_their_own_seed_the_same_one_or_any() -> None:
    assert of_rows([3, 1], 2) == [3, 1]
    assert of_rows(7, 3) == [7, 7, 7]
    drawn = of_rows(None, 50)
    assert len(set(drawn)) == 50 and all(0 <= seed < 2**63 for seed in drawn)
    with pytest.raises(ValueError, match="2 seeds for 3 mels"):
        of_rows((1, 2), 3)
