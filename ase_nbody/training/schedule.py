"""The learning rate over a training: a linear warm-up, then half a cosine."""

from __future__ import annotations

import math


def learning_rate_factor(progress: float, warm_up: float, final: float) -> float:
    """Learning rate as a fraction of its largest value.

    Args:
        progress: fraction of the budget that is used, 0 to 1; clamped.
        warm_up: fraction of the budget in which the factor rises linearly from `final` to 1.
        final: factor at the end.

    The decay is that of Loshchilov and Hutter 2017 (doi 10.48550/arXiv.1608.03983, eq. 5) without restarts.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warm_up:
        return final + (1.0 - final) * progress / warm_up
    decayed = (progress - warm_up) / (1.0 - warm_up)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * decayed))
