import pytest
import torch

from handgen.fit.block_tridiagonal import factorise


def system(m, b=5, seed=0):
    """A random positive definite block-tridiagonal system: its blocks, and the whole matrix."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.zeros(m * b, m * b, dtype=torch.float64)
    for i in range(m):
        here = slice(i * b, i * b + b)
        factor[here, here] = torch.randn(b, b, generator=generator, dtype=torch.float64) + 4 * torch.eye(b)
        if i:
            factor[here, (i - 1) * b : i * b] = torch.randn(b, b, generator=generator, dtype=torch.float64)
    whole = factor @ factor.T
    blocks = whole.reshape(m, b, m, b).transpose(1, 2)
    diagonal = torch.stack([blocks[i, i] for i in range(m)])
    upper = torch.stack([blocks[i, i + 1] for i in range(m - 1)]) if m > 1 else torch.zeros(0, b, b, dtype=whole.dtype)
    return diagonal, upper, whole


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 8, 21])
def test_solution_and_inverse_are_those_of_the_dense_matrix(m):
    diagonal, upper, whole = system(m)
    b = diagonal.shape[1]
    right = torch.randn(m, b, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    factor = factorise(diagonal, upper)
    torch.testing.assert_close(factor.solve(right).reshape(-1, 2), torch.linalg.solve(whole, right.reshape(-1, 2)))
    inverse = torch.linalg.inv(whole).reshape(m, b, m, b).transpose(1, 2)
    found, found_upper = factor.inverse_blocks()
    assert found.shape == (m, b, b) and found_upper.shape == (m - 1, b, b)
    for i in range(m):
        torch.testing.assert_close(found[i], inverse[i, i])
        if i + 1 < m:
            torch.testing.assert_close(found_upper[i], inverse[i, i + 1])


def test_a_system_that_is_not_positive_definite_is_refused():
    diagonal, upper, _ = system(5)
    diagonal[2] = -diagonal[2]
    with pytest.raises(torch.linalg.LinAlgError):
        factorise(diagonal, upper)
