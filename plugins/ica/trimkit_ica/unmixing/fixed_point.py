"""Symmetric FastICA of one or many white data sets at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trimkit.data.laws import random_rotation
from trimkit.errors import DataError, OptionError, ShapeError

CHUNK = 2**16
"""Entries that are worked on at once, so that they stay in the processor's cache: n is cut, k is not."""

WHITE = 0.02
"""How far an entry of the covariance may be from the identity's: above what rounding data to bfloat16 does."""

LAST = 2
"""Sweeps in double precision, at least, after those in single precision."""


@dataclass(frozen=True)
class Rotation:
    """An orthogonal unmixing of white data, s = z Qᵀ.

    Attributes:
        matrix: Q (k, k) or (B, k, k) in float64, a direction of z in each row.
        converged: whether the last sweep moved no direction by more than the tolerance; (B,) of a batch.
        iterations: sweeps that were made; (B,) of a batch.
    """

    matrix: Tensor
    converged: bool | Tensor
    iterations: int | Tensor


@torch.no_grad()
def fastica(
    z: Tensor,
    *,
    tol: float = 1e-6,
    max_iter: int = 500,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Rotation:
    """The rotation of white data whose components are least Gaussian, by symmetric fixed-point iteration on log cosh.

    A sweep is Q ← polar(E[tanh(y) zᵀ] − diag(E[1 − tanh²(y)]) Q) with y = Q z. It ends when every direction's
    1 − |cos(old, new)| is below tol; problems of a batch end one by one and are no longer worked on. Hyvärinen 1999.
    Two or more Gaussian sources cannot be told apart: the fit then often does not converge, and where it does, their
    directions are the sample's chance.

    Args:
        z: (n, k) or (B, n, k) white data: mean 0, covariance I with ddof 0, as `whiten` gives them.
        tol: > 0, see above. Moves shrink fast, so that the error which is left is far smaller than the last of them.
        max_iter: sweeps at most, ≥ 1.
        generator: for random starts; one of seed 0 by default.
        start: (k, k) or (B, k, k) to start from; it is made orthogonal.
        dtype: of the sweeps, float64 by default. In float32 they take half the time on a CPU; the last two or more are
            in float64, in which the fit must converge.
    Returns:
        The rotation, on z's device.
    Raises:
        ShapeError: z or start of another shape, or not floating.
        DataError: data that are not white.
        OptionError: settings out of range.
    """
    problems = _problems(z)
    if not tol > 0 or max_iter < 1:
        raise OptionError(f"fastica: expected tol > 0 and max_iter ≥ 1, got tol={tol}, max_iter={max_iter}")
    if dtype not in (None, torch.float32, torch.float64):
        raise OptionError(f"fastica: expected sweeps in torch.float32 or torch.float64, got {dtype}")
    chunks = columns(problems, dtype or torch.float64)
    _require_white(chunks)
    count, _, k = problems.shape
    q = _starts(start, count, k, generator).to(problems.device)
    state = _State(q, torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.long))
    if dtype == torch.float32:
        _iterate(chunks, state, tol, max(0, max_iter - LAST), ahead=LAST)
        _iterate(columns(problems), state, tol, max_iter - int(state.iterations.max()), least=LAST)
    else:
        _iterate(chunks, state, tol, max_iter)
    if z.ndim == 3:
        return Rotation(state.q, state.converged, state.iterations)
    return Rotation(state.q[0], bool(state.converged[0]), int(state.iterations[0]))


@dataclass(frozen=True)
class _State:
    """Where the problems of a batch are: q (B, k, k), converged (B,), iterations (B,)."""

    q: Tensor
    converged: Tensor
    iterations: Tensor


def _iterate(chunks: list[Tensor], state: _State, tol: float, most: int, *, least: int = 1, ahead: int = 0) -> None:
    """Sweep until all problems have converged; those that have are dropped from the data that are worked on.

    Args:
        chunks: of all problems.
        state: where they are, and will be.
        tol: of a sweep's largest move.
        most: sweeps at most.
        least: sweeps at least.
        ahead: stop a problem so many sweeps before it converges, if its moves go on to shrink at their present rate.
    """
    active = torch.arange(len(chunks[0]))
    before = torch.ones(len(active), dtype=torch.float64)
    for sweep in range(1, most + 1):
        old = state.q[active]
        new = orthogonalised(_step(chunks, old))
        moved = (1 - (new * old).sum(-1).abs()).abs().amax(-1).cpu()
        state.q[active] = new
        state.iterations[active] += 1
        done = (moved * (moved / before).pow(ahead) < tol) & (sweep >= least)
        state.converged[active] = done
        if bool(done.all()):
            return
        if bool(done.any()):
            chunks = [chunk[~done.to(chunk.device)] for chunk in chunks]
        active, before = active[~done], moved[~done]


def _step(chunks: list[Tensor], q: Tensor) -> Tensor:
    """E[tanh(y) zᵀ] − diag(E[1 − tanh²(y)]) Q, (B, k, k) in float64."""
    n, directions = _samples(chunks), q.to(chunks[0].dtype)
    sums, squares = torch.zeros_like(q), q.new_zeros(*q.shape[:2], 1)
    for chunk in chunks:
        y = directions @ chunk
        _tanh(y)
        sums += y @ chunk.mT
        squares += torch.linalg.vecdot(y, y)[..., None]
    return sums / n - (1 - squares / n) * q


def _samples(chunks: list[Tensor]) -> int:
    return sum(chunk.shape[-1] for chunk in chunks)


def _tanh(y: Tensor) -> None:
    """In place; numpy takes half of torch's time on a CPU."""
    if y.device.type == "cpu":
        array = y.numpy()
        np.tanh(array, out=array)
    else:
        y.tanh_()


def columns(z: Tensor, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Data in pieces that a cache can hold, one sample a column: as sums over samples read them fastest.

    Args:
        z: (..., n, k).
        dtype: of the pieces.
    Returns:
        Contiguous pieces (..., k, c), whose c add up to n.
    """
    rows = max(1, CHUNK // (z.numel() // z.shape[-2]))
    return [piece.mT.to(dtype).contiguous() for piece in z.split(rows, -2)]


def orthogonalised(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix, (W Wᵀ)^−½ W, of each matrix W (..., k, k)."""
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def _starts(start: Tensor | None, count: int, k: int, generator: torch.Generator | None) -> Tensor:
    """Where each problem starts: (B, k, k)."""
    if start is None:
        generator = generator or torch.Generator().manual_seed(0)
        return torch.stack([random_rotation(k, generator) for _ in range(count)])
    if start.shape not in ((k, k), (count, k, k)):
        raise ShapeError(
            f"fastica: expected a start of shape ({k}, {k}), one for each problem, got {tuple(start.shape)}"
        )
    return orthogonalised(start.double()).expand(count, k, k).clone()


def _problems(z: Tensor) -> Tensor:
    """White data as a batch (B, n, k)."""
    if not isinstance(z, Tensor) or not z.is_floating_point() or z.ndim not in (2, 3) or 0 in z.shape:
        got = f"{z.dtype} {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
        raise ShapeError(f"fastica: expected floating white data (n, k) or (B, n, k), got {got}")
    return z if z.ndim == 3 else z[None]


def _require_white(chunks: list[Tensor]) -> None:
    """Refuse data whose mean or covariance is off: what whitening in single precision gives, or none."""
    count, k, _ = chunks[0].shape
    eye = torch.eye(k, dtype=torch.float64, device=chunks[0].device)
    means, second = eye.new_zeros(count, k), eye.new_zeros(count, k, k)
    for chunk in chunks:
        means += chunk.sum(2)
        second += chunk @ chunk.mT
    n = _samples(chunks)
    off = max(float((means / n).abs().max()), float((second / n - eye).abs().max()))
    if not off <= WHITE:  # also NaN
        raise DataError(
            f"fastica: expected white data of mean 0 and covariance I, got entries that are {off:.2g} off; whiten them "
            "with trimkit_ica.unmixing.whiten(x).apply(x), each data set of a batch by itself"
        )
