"""sevenn with the weights of SevenNet-0, which are also our `universal`: for all elements, not trained on mlearn."""

from __future__ import annotations

import torch
from ase.calculators.calculator import Calculator
from systems import box
from with_sevenn import calculator as made


def calculator(kind: str, symbol: str, folder: str, dtype: str) -> Calculator:
    """The calculator of a model that sevenn ships."""
    torch.set_num_threads(1)
    return made(box(symbol, 3), dtype, kind)
