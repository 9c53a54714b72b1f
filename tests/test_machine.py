"""The machine's rates: the kernels do the work that is counted, and rates are work by time."""

from __future__ import annotations

import itertools

import pytest
import torch

from ase_nbody.compiler import machine

DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_sums", machine.SUMS)
def test_every_number_gets_its_multiply_adds(dtype, n_sums):
    width = machine.VECTOR_BYTES // dtype.itemsize
    sums = torch.zeros(2, n_sums, width, dtype=dtype)
    machine.add_repeatedly(sums, 1.0, 1.0)  # counts: exact in float32 up to 2^24
    assert (sums == machine.UNROLLED // n_sums * machine.REPEATS).all()
    assert int(sums.double().sum()) == 2 * machine.UNROLLED * machine.REPEATS * width


@pytest.mark.parametrize("dtype", DTYPES)
def test_they_multiply_too(dtype):
    sums = torch.full((1, 6, machine.VECTOR_BYTES // dtype.itemsize), 7.0, dtype=dtype)
    machine.add_repeatedly(sums, 0.5, 0.25)
    torch.testing.assert_close(sums, torch.full_like(sums, 0.5))  # x = x / 2 + 1 / 4


def test_the_copy_is_complete():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(1001, machine.ROW_BYTES // 4, generator=generator)
    target = torch.zeros_like(source)
    machine.copy_past_caches(source, target)
    assert torch.equal(source, target)


def test_rates_are_work_by_the_shortest_time(monkeypatch):
    """By a clock of which each look takes half a second, so that every run takes half a second."""
    monkeypatch.setattr(machine, "COPIED_BYTES", 2**20)
    monkeypatch.setattr(machine, "perf_counter", itertools.count(0.0, 0.5).__next__)
    measured = machine.measured_machine(torch.float64, seconds=1.0)
    threads = torch.get_num_threads()
    assert measured.threads == threads
    assert measured.multiply_adds_per_s == 2 * threads * machine.UNROLLED * machine.REPEATS * 8
    assert measured.copy_bytes_per_s == 2 * 2 * 2**20


def test_the_processor_has_a_name():
    assert machine.processor()
