"""Sobol sequence with a random digital shift, in NumPy.

The direction numbers are those of S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better two-dimensional
projections", SIAM J. Sci. Comput. 30 (2008): the first 40 dimensions of new-joe-kuo-6.21201. The recurrence is that of
P. Bratley and B. L. Fox, ACM Algorithm 659 (1988). Coordinates past the 40th are plain random numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BITS = 32

# (primitive polynomial over GF(2) as bits, initial direction integers m_1 ... m_degree) of dimensions 2 to 40
# fmt: off
_JOE_KUO = (
    (3, (1,)), (7, (1, 3)), (11, (1, 3, 1)), (13, (1, 1, 1)), (19, (1, 1, 3, 3)), (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)), (41, (1, 1, 5, 5, 5)), (47, (1, 1, 7, 11, 19)), (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)), (61, (1, 3, 5, 5, 31)), (67, (1, 3, 3, 9, 7, 49)), (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)), (103, (1, 1, 1, 15, 7, 5)), (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)), (131, (1, 3, 7, 11, 23, 15, 103)), (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)), (145, (1, 3, 5, 9, 1, 25, 53)), (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)), (171, (1, 1, 5, 11, 19, 41, 61)), (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)), (193, (1, 3, 7, 5, 13, 19, 59)), (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)), (213, (1, 3, 7, 3, 13, 59, 17)), (229, (1, 3, 1, 3, 5, 53, 69)),
    (239, (1, 1, 5, 5, 23, 33, 13)), (241, (1, 1, 7, 7, 1, 61, 123)), (247, (1, 1, 7, 9, 13, 61, 49)),
    (253, (1, 3, 3, 5, 3, 55, 33)), (285, (1, 3, 1, 15, 31, 13, 49, 245)), (299, (1, 3, 5, 15, 31, 59, 63, 97)),
    (301, (1, 3, 1, 11, 11, 11, 77, 249)),
)
# fmt: on


def _direction_numbers(n_dims: int) -> NDArray[np.uint64]:
    """Return the direction numbers v_i = m_i 2^(32 - i), (n_dims, 32), for at most 40 dimensions."""
    rows = [[1 << (_BITS - 1 - i) for i in range(_BITS)]]
    for polynomial, initial in _JOE_KUO[: n_dims - 1]:
        degree = len(initial)
        numbers = list(initial)
        # Bratley and Fox (1988), eq. 2, with s the polynomial's degree and a_k its coefficients:
        # m_i = 2 a_1 m_(i-1) ^ 2^2 a_2 m_(i-2) ^ ... ^ 2^s m_(i-s) ^ m_(i-s)
        for i in range(degree, _BITS):
            number = numbers[i - degree] ^ (numbers[i - degree] << degree)
            for k in range(1, degree):
                if polynomial >> (degree - k) & 1:
                    number ^= numbers[i - k] << k
            numbers.append(number)
        rows.append([number << (_BITS - 1 - i) for i, number in enumerate(numbers)])
    return np.array(rows[:n_dims], dtype=np.uint64).reshape(n_dims, _BITS)


class Sobol:
    """A shifted Sobol sequence, one point at a time.

    Args:
        n_dims: Number of coordinates.
        rng: Draws the shift.
        index: Number of points to skip.
    """

    def __init__(self, n_dims: int, rng: np.random.Generator, index: int = 0) -> None:
        self._n_dims = n_dims
        self._directions = _direction_numbers(min(n_dims, len(_JOE_KUO) + 1))
        self.shift: NDArray[np.uint64] = rng.integers(2**_BITS, size=len(self._directions), dtype=np.uint64)
        self.index = index

    def next(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the next point, (n_dims,), in [0, 1); ``rng`` draws the coordinates past the 40th."""
        # The point is the XOR of the direction numbers at the set bits of the index's Gray code, and of the shift.
        gray = self.index ^ (self.index >> 1)
        digits = self.shift.copy()
        for bit in range(gray.bit_length()):
            if gray >> bit & 1:
                digits ^= self._directions[:, bit]
        self.index += 1
        point = digits.astype(np.float64) / 2.0**_BITS
        return np.concatenate([point, rng.random(self._n_dims - len(point))])

    def get_state(self) -> dict[str, Any]:
        """Return the index and the shift as JSON values."""
        return {"index": self.index, "shift": self.shift.tolist()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` returned."""
        self.index = int(state["index"])
        self.shift = np.array(state["shift"], dtype=np.uint64)
