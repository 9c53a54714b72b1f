"""Radial distribution functions of water with their noise, and what a set of frames of one trajectory is.

The frames of the DeePMD water set are not in order of time, and lie so close together that they are not independent:
blocks of consecutive frames, of the same length as those of the simulation, give their noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.data import atomic_masses, atomic_numbers
from ase.geometry.rdf import get_rdf

from ase_nbody import NBodyCalculator

Array = npt.NDArray[np.float64]

PAIRS = (("O", "O"), ("O", "H"), ("H", "H"))
FARTHEST = 6.0  # angstrom, less than half of the box of 12.44
BINS = 120
BALLISTIC = 0.05  # angstrom; oxygen at 330 K flies that far in 7 fs, before it meets anything
LEAST_DENSITY = 0.1  # of a distribution; the noise of bins with hardly an atom cannot be told from a few blocks
PERMUTATIONS = 2000


@dataclass(frozen=True)
class Comparison:
    """Radial distribution functions of one pair of elements from a model and from the reference.

    Attributes:
        radii: centres of the bins, (R,), angstrom.
        ours: mean over the blocks of the simulation, (R,).
        reference: mean over the blocks of the reference, (R,).
        noise: standard errors of both combined, (R,).
        reference_noise: standard error of the reference, (R,).
        deviation: largest difference in units of the combined noise.
        radius: where it is, angstrom.
        chance: probability of such a deviation between blocks of one origin, by permuting the blocks.
        mean_difference: mean absolute difference over the bins.
    """

    radii: Array
    ours: Array
    reference: Array
    noise: Array
    reference_noise: Array
    deviation: float
    radius: float
    chance: float
    mean_difference: float


def distributions(frames: Sequence[Atoms]) -> Array:
    """Radial distribution functions of each frame for PAIRS, (F, 3, BINS)."""
    found = np.empty((len(frames), len(PAIRS), BINS))
    for number, atoms in enumerate(frames):
        distances = atoms.get_all_distances(mic=True)
        for pair, elements in enumerate(PAIRS):
            found[number, pair] = get_rdf(
                atoms, FARTHEST, BINS, distance_matrix=distances, elements=elements, no_dists=True
            )
    return found


def block_means(values: Array, blocks: int) -> Array:
    """Means over `blocks` blocks of consecutive entries, nearly equal in length; (B, ...)."""
    return np.array([part.mean(axis=0) for part in np.array_split(values, blocks)])


def compare(ours: Array, reference: Array, generator: np.random.Generator) -> Comparison:
    """Compare block means (B, R) of one pair of elements with those of the reference (B', R).

    Bins where both are below LEAST_DENSITY are left out of the largest deviation.
    """
    radii = (np.arange(ours.shape[1]) + 0.5) * FARTHEST / ours.shape[1]
    scores, noise = deviations(ours, reference)
    pool = np.concatenate((ours, reference))
    least = scores.max() * (1 - 1e-9)  # the same division into two sides may be summed in another order
    as_large = 1  # the division that was found is one of those possible
    for _ in range(PERMUTATIONS):
        shuffled = generator.permutation(pool)
        as_large += bool(deviations(shuffled[: len(ours)], shuffled[len(ours) :])[0].max() >= least)
    return Comparison(
        radii=radii,
        ours=ours.mean(axis=0),
        reference=reference.mean(axis=0),
        noise=noise,
        reference_noise=reference.std(axis=0, ddof=1) / np.sqrt(len(reference)),
        deviation=float(scores.max()),
        radius=float(radii[scores.argmax()]),
        chance=as_large / (PERMUTATIONS + 1),
        mean_difference=float(np.abs(ours.mean(axis=0) - reference.mean(axis=0)).mean()),
    )


def deviations(first: Array, second: Array) -> tuple[Array, Array]:
    """Differences of the means of blocks in units of their standard error, and that error, (R,) each.

    Blocks of equal time have one variance, whichever side they are of: it is pooled, as in Student's test.
    """
    means = first.mean(axis=0), second.mean(axis=0)
    squares = sum(((blocks - mean) ** 2).sum(axis=0) for blocks, mean in zip((first, second), means, strict=True))
    noise = np.sqrt(squares / (len(first) + len(second) - 2) * (1 / len(first) + 1 / len(second)))
    counted = (np.maximum(*means) > LEAST_DENSITY) & (noise > 0)
    return np.divide(np.abs(means[0] - means[1]), noise, out=np.zeros_like(noise), where=counted), noise


def frame_distances(frames: Sequence[Atoms]) -> Array:
    """Root mean square distances of the oxygen atoms between frames whose atoms are not wrapped, (F, F), angstrom."""
    positions = np.array([atoms.positions[atoms.symbols == "O"] for atoms in frames])
    positions -= positions.mean(axis=1, keepdims=True)
    flat = positions.reshape(len(frames), -1)
    squares = (flat**2).sum(axis=1)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / positions.shape[1])


def order_of_time(distances: Array) -> npt.NDArray[np.int64]:
    """Frames of one diffusive trajectory in order of time, forwards or backwards, (F,).

    Sorted by the Fiedler vector of their similarity: Atkins, Boman and Hendrickson 1998, doi 10.1137/S0097539795285771.
    """
    similarity = np.exp(-(distances**2))  # 1 angstrom: as far as oxygen diffuses in about a picosecond
    laplacian = np.diag(similarity.sum(axis=1)) - similarity
    return np.argsort(np.linalg.eigh(laplacian)[1][:, 1])


def spanned_time(distances: Array, temperature: float) -> float:
    """Length of the trajectory that frames were drawn from at random, picoseconds.

    Of F (F - 1) / 2 pairs of frames out of a time T, a share 2 t / T is less than t apart; t is how long oxygen flies
    freely at its thermal velocity to move by BALLISTIC.
    """
    velocity = np.sqrt(3 * units.kB * temperature / atomic_masses[atomic_numbers["O"]])
    pairs = distances[np.triu_indices(len(distances), 1)]
    close = np.count_nonzero(pairs < BALLISTIC)
    return float(2 * BALLISTIC / velocity * len(pairs) / close / units.fs / 1000)


def configurational_temperature(frames: Sequence[Atoms], calculator: NBodyCalculator) -> tuple[float, float]:
    """Temperature of labelled frames from their forces, <F²> / <trace of the Hessian>, and its standard error, kelvin.

    The trace comes from the model, by Hutchinson's estimate: the change of its forces along one random vector of signs
    a frame (Rugh 1997, doi 10.1103/PhysRevLett.78.772).
    """
    generator = np.random.default_rng(0)
    step = 0.01  # angstrom
    signs = [generator.choice((-1.0, 1.0), size=atoms.positions.shape) for atoms in frames]
    moved: list[list[Atoms]] = [[], []]
    for atoms, sign in zip(frames, signs, strict=True):
        for side, images in zip((step, -step), moved, strict=True):
            image = atoms.copy()
            image.positions += side * sign
            images.append(image)
    ahead, behind = ([found["forces"] for found in calculator.calculate_many(images)] for images in moved)
    traces = np.array([-(s * (a - b)).sum() / (2 * step) for s, a, b in zip(signs, ahead, behind, strict=True)])
    squares = np.array([(atoms.get_forces() ** 2).sum() for atoms in frames])
    temperature = squares.mean() / traces.mean() / units.kB
    parts = [block_means(values, 8) / values.mean() for values in (squares, traces)]
    return float(temperature), float(temperature * (parts[0] - parts[1]).std(ddof=1) / np.sqrt(8))


def diffusion(frames: Sequence[Atoms], interval: float, blocks: int) -> tuple[float, float]:
    """Diffusion coefficient of the oxygen atoms and its standard error over blocks, angstrom²/ps.

    Args:
        frames: consecutive frames, atoms not wrapped.
        interval: time between frames, picoseconds.
        blocks: parts of the trajectory, each with its own slope of the mean square displacement from 1 to 4 ps (or a
            quarter and all of half the part, where that is shorter).

    The size of the box is not corrected for (Yeh and Hummer 2004, doi 10.1021/jp0477147).
    """
    positions = np.array([atoms.positions[atoms.symbols == "O"] for atoms in frames])
    found = []
    for part in np.array_split(positions, blocks):
        longest = min(round(4 / interval), len(part) // 2)
        lags = np.arange(max(1, longest // 4), longest + 1)
        squares = [((part[lag:] - part[:-lag]) ** 2).sum(axis=-1).mean() for lag in lags]
        found.append(np.polyfit(lags * interval, squares, 1)[0] / 6)
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(blocks))
