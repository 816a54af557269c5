"""Kernel video distance: squared maximum mean discrepancy of I3D logits under a cubic kernel.

The kernel k(x, y) = (x·y / d + 1)³ and the blocks are those of KID (Bińkowski et al., arXiv 1801.01401) in
tensorflow/gan bc369b7 python/eval/classifier_metrics.py; Unterthiner et al., arXiv 1812.01717, use it on the features
of FVD. Unlike FVD its expectation does not depend on how many clips there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.metric import Score
from vidbench_metrics.feature_sets import RowSet, RowsMetric, shuffled
from vidbench_metrics.i3d_metric import I3DMetric
from vidbench_metrics.i3d_protocols import DESCRIBED, ProtocolParameters, caution, remark

MIN_WINDOWS = 2
ESTIMATORS = ("unbiased", "biased")

Floats = NDArray[np.floating]


def polynomial_kernel(x: Floats, y: Floats, degree: int = 3, coef0: float = 1.0) -> NDArray[np.float64]:
    """(m, n) values (x·y / d + coef0)^degree of the rows of (m, d) and (n, d), float64."""
    product = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    return np.asarray((product / x.shape[1] + coef0) ** degree)


def polynomial_mmd(x: Floats, y: Floats, *, unbiased: bool = True, degree: int = 3, coef0: float = 1.0) -> float:
    """Squared maximum mean discrepancy of two sets of rows under a polynomial kernel; lower is nearer.

    Args:
        x: (m, d), m >= 2.
        y: (n, d), n >= 2.
        unbiased: leave out each row's kernel with itself; the value may then be below 0. Else the mean over all pairs.
        degree: of the kernel.
        coef0: of the kernel.

    Raises:
        ValueError: fewer than two rows, or unequal dimensions.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[0.0], [1.0]])
        >>> polynomial_mmd(rows, rows, unbiased=False)
        0.0
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < MIN_WINDOWS:
        raise ValueError(f"needs (m, d) and (n, d) with m, n >= {MIN_WINDOWS}, got {x.shape} and {y.shape}")
    across = polynomial_kernel(x, y, degree, coef0).mean()
    within = 0.0
    for rows in (x, y):
        kernel, n = polynomial_kernel(rows, rows, degree, coef0), len(rows)
        within += (kernel.sum() - np.trace(kernel)) / (n * (n - 1)) if unbiased else kernel.mean()
    return float(within - 2 * across)


def block_sizes(rows: int, blocks: int) -> list[int]:
    """`rows` in `blocks` parts whose sizes differ by at most one, the larger first, as tfgan divides them."""
    size, larger = divmod(rows, blocks)
    return [size + 1] * larger + [size] * (blocks - larger)


def blockwise_mmd(x: Floats, y: Floats, *, unbiased: bool, most: int) -> tuple[float, float | None, int]:
    """Mean of `polynomial_mmd` over blocks of at most `most` rows in the given order.

    Returns:
        The mean, its standard error (None for one block), and how many blocks there were.
    """
    # A block of one row has no pairs: a set that is much smaller than the other limits how many blocks there can be.
    blocks = max(1, min(math.ceil(max(len(x), len(y)) / most), min(len(x), len(y)) // MIN_WINDOWS))
    ends = [np.cumsum([0, *block_sizes(len(rows), blocks)]) for rows in (x, y)]
    values = [
        polynomial_mmd(x[ends[0][i] : ends[0][i + 1]], y[ends[1][i] : ends[1][i + 1]], unbiased=unbiased)
        for i in range(blocks)
    ]
    error = float(np.std(values, ddof=1) / math.sqrt(blocks)) if blocks > 1 else None
    return float(np.mean(values)), error, blocks


@dataclass(frozen=True)
class KvdParameters(ProtocolParameters):
    """The protocol says how features are made; the estimator is KVD's own."""

    estimator: str = "unbiased"
    """`unbiased` or `biased`."""
    block: int = 1024
    """Most windows a block; the kernel of larger sets is a mean over blocks."""

    def __post_init__(self) -> None:
        ProtocolParameters.__post_init__(self)
        if self.estimator not in ESTIMATORS:
            raise InputError(f"kvd.estimator must be one of {', '.join(ESTIMATORS)}, got '{self.estimator}'")
        if self.block < MIN_WINDOWS:
            raise InputError(f"kvd.block must be at least {MIN_WINDOWS}, got {self.block}")


class Kvd(I3DMetric[KvdParameters], RowsMetric[KvdParameters]):
    """Squared kernel distance of I3D logits."""

    name = "kvd"
    version = "1"
    summary = (
        "how far the look and motion of short windows are from the reference set's (polynomial MMD² of I3D logits); "
        "the unbiased estimate does not fall as clips are added, and may be below 0"
    )
    reference = (
        "Unterthiner et al., arXiv 1812.01717; kernel and blocks of Bińkowski et al., arXiv 1801.01401 in "
        "tensorflow/gan bc369b7 classifier_metrics.py"
    )
    protocol = f"kernel (x·y / 400 + 1)³, blocks of at most 1024 windows, unbiased unless told; features by {DESCRIBED}"
    higher_is_better = False
    unit = "1"
    value_range = (-float("inf"), float("inf"))
    parameters_type = KvdParameters

    def compare(self, generated: RowSet, reference: RowSet) -> Score:
        """The squared distance, with what it rests on."""
        ours, theirs = shuffled(generated.stacked()), shuffled(reference.stacked())
        for what, rows in (("generated", ours), ("reference", theirs)):
            if len(rows) < MIN_WINDOWS:
                windows = "window" if len(rows) == 1 else "windows"
                return Score.unscored(f"the {what} set has {len(rows)} {windows}; {MIN_WINDOWS} are needed")
        unbiased = self.parameters.estimator == "unbiased"
        value, error, blocks = blockwise_mmd(ours, theirs, unbiased=unbiased, most=self.parameters.block)
        return Score(
            value,
            details={
                "protocol": self.parameters.protocol,
                "estimator": self.parameters.estimator,
                "clips": generated.facts.clips,
                "reference_clips": reference.facts.clips,
                "windows": len(ours),
                "reference_windows": len(theirs),
                "blocks": blocks,
                "standard_error": error,
                "caution": caution(generated.facts, reference.facts, (len(ours), len(theirs)), self.parameters),
                "remark": remark(generated.facts, reference.facts, self.parameters),
            },
        )
