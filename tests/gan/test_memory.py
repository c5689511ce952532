import resource
import sys
from pathlib import Path

import pytest
import torch

from ganaug.gan import memory
from ganaug.gan.memory import freed_memory_kept


def faults_of_allocating():
    """Pages that the system had to hand over for pieces of memory asked for, written to and freed again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [torch.ones(2**21) for _ in range(3)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(memory.ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_used_again_without_asking_the_system():
    with freed_memory_kept():
        faults_of_allocating()
        assert faults_of_allocating() < 1000  # of 20 x 3 x 2048 pages
    before = resident()
    with freed_memory_kept():
        faults_of_allocating()
    assert resident() < before + 2**23  # what was kept has gone back


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "win32")
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    with freed_memory_kept():
        assert torch.ones(3).sum() == 3


def test_an_error_passes_through():
    with pytest.raises(KeyError), freed_memory_kept():
        raise KeyError
