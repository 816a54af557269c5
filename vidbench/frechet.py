"""Gaussian statistics in bounded memory, and the Fréchet distance between two of them.

    d² = |mu_a - mu_b|² + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))

(Dowson & Landau, J. Multivariate Analysis 1982; as FID: Heusel et al., arXiv 1706.08500; as FVD: Unterthiner et al.,
arXiv 1812.01717). The matrix square root is never formed. With any factors C_a = AᵀA and C_b = BᵀB,

    tr((C_a C_b)^(1/2)) = |A Bᵀ|_*   (nuclear norm: the sum of singular values)

because the non-zero eigenvalues of AᵀA BᵀB are the squared singular values of A Bᵀ. A state of n <= d rows is its own
factor (the centred rows), so few samples of many dimensions cost a small n_a × n_b decomposition and no d × d one; a
larger state takes its Cholesky factor. Singular values of the factors' product lose half the digits that eigenvalues
of the covariances' product would.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def _no_rows() -> FloatArray:
    return np.empty((0, 0))


@dataclass(slots=True)
class GaussianState:
    """What is kept of the feature rows seen: at most d rows, and beyond that their mean and scatter; float64.

    Memory is bounded by two d × d arrays, however many rows are added. The scatter is taken about the mean, not about
    zero, so features far from the origin lose no digits.
    """

    rows: FloatArray = field(default_factory=_no_rows)
    """(m, d) rows not folded yet, m <= d; (0, 0) before the first."""
    folded: int = 0
    """How many rows `mean` and `scatter` stand for."""
    folded_mean: FloatArray | None = None
    """(d,) mean of the folded rows."""
    scatter: FloatArray | None = None
    """(d, d) sum of outer products of the folded rows about their mean."""

    @property
    def n(self) -> int:
        """Rows seen."""
        return self.folded + len(self.rows)

    @property
    def dimensions(self) -> int:
        """Numbers in a row; 0 before the first."""
        return int(self.rows.shape[1])


def add_rows(state: GaussianState, rows: NDArray[np.floating]) -> GaussianState:
    """The state after more rows; changes and returns the state it was given.

    Args:
        state: any state, empty or not.
        rows: (m, d) finite features; m may be 0.

    Raises:
        ValueError: `rows` is not two-dimensional, has another d than the rows before, or is not finite.
    """
    new = np.asarray(rows, dtype=np.float64)
    if new.ndim != 2 or new.shape[1] == 0:
        raise ValueError(f"features must be (rows, dimensions), got shape {new.shape}")
    if state.dimensions not in (0, new.shape[1]):
        raise ValueError(f"features have {new.shape[1]} dimensions, those before had {state.dimensions}")
    if not np.isfinite(new).all():
        raise ValueError("features hold NaN or infinity")
    # Rows are taken in at most d at a time, so that a large call needs no more memory than many small ones.
    for start in range(0, len(new), new.shape[1]):
        part = new[start : start + new.shape[1]]
        state.rows = np.concatenate([state.rows, part]) if state.dimensions else part.copy()
        if len(state.rows) > state.dimensions:
            _fold(state)
    return state


def merge(a: GaussianState, b: GaussianState) -> GaussianState:
    """The state that has seen what both have seen; leaves both as they were.

    Raises:
        ValueError: the two have rows of different dimensions.
    """
    if a.dimensions and b.dimensions and a.dimensions != b.dimensions:
        raise ValueError(f"cannot merge features of {a.dimensions} and {b.dimensions} dimensions")
    merged = GaussianState(a.rows.copy(), a.folded, _copy(a.folded_mean), _copy(a.scatter))
    if b.folded_mean is not None and b.scatter is not None:
        if not merged.dimensions:
            merged.rows = np.empty((0, b.dimensions))
        _absorb(merged, b.folded, b.folded_mean, b.scatter)
    return add_rows(merged, b.rows) if len(b.rows) else merged


def mean(state: GaussianState) -> FloatArray:
    """(d,) mean of the rows seen.

    Raises:
        ValueError: no rows were seen.
    """
    if state.n == 0:
        raise ValueError("no rows were seen; 1 is needed for a mean")
    if state.folded_mean is None:
        return np.asarray(state.rows.mean(axis=0))
    total = state.folded_mean * state.folded + state.rows.sum(axis=0)
    return np.asarray(total / state.n)


def covariance(state: GaussianState, ddof: int = 1) -> FloatArray:
    """(d, d) covariance of the rows seen, divided by n - ddof.

    Raises:
        ValueError: not more than `ddof` rows were seen.
    """
    _check_count(state, ddof)
    whole = folded(state)
    if whole.scatter is None:
        raise ValueError("no rows were seen")
    return whole.scatter / (state.n - ddof)


def frechet_distance(a: GaussianState, b: GaussianState, ddof: int = 1, offset: float = 0.0) -> float:
    """Squared Fréchet (2-Wasserstein) distance between the Gaussians fitted to two sets of rows; lower is nearer.

    A result below its least value by rounding is returned as that.

    Args:
        a: one set.
        b: the other, of the same dimensions.
        ddof: what is taken from n in the covariance; 1 as in FID and VideoGPT's FVD, 0 as in StyleGAN-V's.
        offset: added to both diagonals inside the matrix square root and nowhere else, as some programs do; the least
            value is then -2 · offset · d instead of 0.

    Returns:
        In squared units of the features; biased upwards by about 1/n, so only values at equal n compare.

    Raises:
        ValueError: not more than `ddof` rows in either, or different dimensions.

    Example:
        >>> import numpy as np
        >>> a = add_rows(GaussianState(), np.array([[0.0], [2.0]]))
        >>> b = add_rows(GaussianState(), np.array([[3.0], [5.0]]))
        >>> round(frechet_distance(a, b), 9)
        9.0
    """
    for state in (a, b):
        _check_count(state, ddof)
    if a.dimensions != b.dimensions:
        raise ValueError(f"cannot compare features of {a.dimensions} and {b.dimensions} dimensions")
    shift, least = mean(a) - mean(b), -2 * offset * a.dimensions
    if offset and a.folded == b.folded == 0 and a.n + b.n < a.dimensions:
        # Beyond the few directions in which anything varies, both matrices are the offset alone.
        factors = [_factor(state, ddof) for state in (a, b)]
        basis = np.linalg.qr(np.concatenate(factors).T)[0]
        small = [factor @ basis for factor in factors]
        roots = [np.linalg.cholesky(f.T @ f + offset * np.eye(basis.shape[1])).T for f in small]
        overlap = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
        overlap += offset * (a.dimensions - basis.shape[1])
        traces = sum(np.vdot(factor, factor) for factor in factors)
    else:
        factor_a, factor_b = _factor(a, ddof, offset), _factor(b, ddof, offset)
        overlap = np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
        traces = np.vdot(factor_a, factor_a) + np.vdot(factor_b, factor_b) + least
    return max(least, float(shift @ shift + traces - 2 * overlap))


def _copy(array: FloatArray | None) -> FloatArray | None:
    return None if array is None else array.copy()


def _check_count(state: GaussianState, ddof: int) -> None:
    if state.n <= ddof:
        raise ValueError(f"{state.n} rows were seen; {ddof + 1} are needed")


def _absorb(state: GaussianState, count: int, part_mean: FloatArray, part_scatter: FloatArray) -> None:
    """Add a part's mean and scatter (Chan, Golub & LeVeque 1979: stable where sums of squares are not)."""
    if state.folded_mean is None or state.scatter is None:
        state.folded, state.folded_mean, state.scatter = count, part_mean.copy(), part_scatter.copy()
        return
    both = state.folded + count
    shift = part_mean - state.folded_mean
    state.scatter += part_scatter
    state.scatter += np.outer(shift, shift * (state.folded * count / both))
    state.folded_mean += shift * (count / both)
    state.folded = both


def _fold(state: GaussianState) -> None:
    """Move the kept rows into mean and scatter."""
    part_mean = np.asarray(state.rows.mean(axis=0))
    centred = state.rows - part_mean
    _absorb(state, len(state.rows), part_mean, centred.T @ centred)
    state.rows = np.empty((0, state.dimensions))


def folded(state: GaussianState) -> GaussianState:
    """The same state with every row folded into mean and scatter; leaves its argument as it was."""
    whole = GaussianState(state.rows, state.folded, _copy(state.folded_mean), _copy(state.scatter))
    if len(whole.rows):
        _fold(whole)
    return whole


def _factor(state: GaussianState, ddof: int, offset: float = 0.0) -> FloatArray:
    """F, (n, d) or (d, d), with FᵀF = the covariance (and `offset` on its diagonal)."""
    if state.folded == 0 and offset == 0:
        return np.asarray((state.rows - mean(state)) / np.sqrt(state.n - ddof))
    matrix = covariance(state, ddof) + offset * np.eye(state.dimensions)
    try:
        return np.asarray(np.linalg.cholesky(matrix).T)
    except np.linalg.LinAlgError:
        # Singular: a feature that never changes, or one that repeats others. Eigenvalues below the rounding error of
        # the largest are noise around zero.
        values, vectors = np.linalg.eigh(matrix)
        values[values < len(values) * np.finfo(np.float64).eps * values[-1]] = 0
        return np.asarray(np.sqrt(values)[:, None] * vectors.T)
