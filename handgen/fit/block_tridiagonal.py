"""Symmetric positive definite block-tridiagonal systems: solutions, and those blocks of the inverse.

Cyclic reduction: every second block is eliminated at once, which leaves a system of the same form and half the size; so
the work is a few batched products on any device, in a logarithmic number of steps. Source: Heller, "Some aspects of the
cyclic reduction algorithm for block tridiagonal linear systems", SIAM J. Numerical Analysis 13(4), 1976. The blocks of
the inverse follow backwards from those of the smaller system (Takahashi's equations, 1973).

A system is given by its diagonal blocks (m, b, b) and those right of them, upper[i] = A[i, i + 1] (m - 1, b, b).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Factor:
    """One level of the reduction: the odd blocks' factors, what they take from their neighbours, and the rest.

    inverse: of the odd diagonal blocks. left, right: inverse times the blocks that couple them to their neighbours.
    """

    count: int
    inverse: Float[Tensor, "odd b b"]
    left: Float[Tensor, "odd b b"]
    right: Float[Tensor, "odd b b"]
    rest: Factor | None
    last: Float[Tensor, "b b"] | None  # inverse of the only block, at the end

    def solve(self, right_side: Float[Tensor, "m b k"]) -> Float[Tensor, "m b k"]:
        """Solve for `right_side`."""
        if self.last is not None:
            return self.last @ right_side
        assert self.rest is not None
        odd = len(self.inverse)
        padded = _padded(right_side, 2 * odd + 1)
        middle = padded[1::2]
        reduced = padded[0::2].clone()
        reduced[:-1] -= self.left.transpose(1, 2) @ middle
        reduced[1:] -= self.right.transpose(1, 2) @ middle
        even = _padded(self.rest.solve(reduced[: self.rest.count]), odd + 1)
        solution = torch.empty_like(padded)
        solution[0::2] = even
        solution[1::2] = self.inverse @ middle - self.left @ even[:-1] - self.right @ even[1:]
        return solution[: self.count]

    def inverse_blocks(self) -> tuple[Float[Tensor, "m b b"], Float[Tensor, "links b b"]]:
        """The diagonal blocks of the inverse, and those right of them."""
        if self.last is not None:
            return self.last, self.last.new_zeros(0, *self.last.shape[1:])
        assert self.rest is not None
        odd, b = len(self.inverse), self.inverse.shape[-1]
        even, link = self.rest.inverse_blocks()
        even, link = _padded(even, odd + 1), _padded(link, odd)  # beyond an even number of blocks there is nothing
        towards_left = self.left @ even[:-1] + self.right @ link.transpose(1, 2)
        towards_right = self.left @ link + self.right @ even[1:]
        diagonal = even.new_empty(2 * odd + 1, b, b)
        diagonal[0::2] = even
        taken = towards_left @ self.left.transpose(1, 2), towards_right @ self.right.transpose(1, 2)
        diagonal[1::2] = self.inverse + taken[0] + taken[1]
        upper = even.new_empty(2 * odd, b, b)
        upper[0::2] = -towards_left.transpose(1, 2)
        upper[1::2] = -towards_right
        return diagonal[: self.count], upper[: self.count - 1]


def factorise(diagonal: Float[Tensor, "m b b"], upper: Float[Tensor, "links b b"]) -> Factor:
    """Reduce a system; raises `torch.linalg.LinAlgError` if it is not positive definite."""
    count, b = diagonal.shape[:2]
    nothing = diagonal.new_zeros(0, b, b)
    if count == 1:
        return Factor(1, nothing, nothing, nothing, None, _inverse(diagonal))
    odd = count // 2
    blocks = _padded(diagonal, 2 * odd + 1)
    links = _padded(upper, 2 * odd)
    inverse = _inverse(blocks[1::2])
    to_left, to_right = links[0::2].transpose(1, 2), links[1::2]  # A[odd, odd - 1], A[odd, odd + 1]
    left, right = inverse @ to_left, inverse @ to_right
    reduced = blocks[0::2].clone()
    reduced[:-1] -= to_left.transpose(1, 2) @ left
    reduced[1:] -= to_right.transpose(1, 2) @ right
    kept = count - odd
    reduced_links = -(to_left.transpose(1, 2) @ right)
    rest = factorise(reduced[:kept], reduced_links[: kept - 1])
    return Factor(count, inverse, left, right, rest, None)


def _inverse(blocks: Float[Tensor, "m b b"]) -> Float[Tensor, "m b b"]:
    return torch.cholesky_inverse(torch.linalg.cholesky(blocks))


def _padded(array: Tensor, count: int) -> Tensor:
    """A copy with zeros appended until it has `count` rows."""
    longer = array.new_zeros(count, *array.shape[1:])
    longer[: len(array)] = array
    return longer
