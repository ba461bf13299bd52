"""What is freed stays with the process: counted in page faults, which are the same on a busy machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from vocoder_core.memory import keep_freed
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(16):
    if i == 8:  # by then the heap is as large as it has to be
        begin = faults()
    torch.ones(16_000_000)
print(faults() - begin)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it asks glibc")
def test_pages_are_faulted_in_once() -> None:
    """Eight times 64 MB, one after the other: 125,000 pages of 4 kB if each is new, and none if they are the same."""

    def faults(before: str) -> int:
        command = [sys.executable, "-c", FAULTS.format(before=before)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)

    assert 3 * faults("assert keep_freed()") < faults("") > 100
