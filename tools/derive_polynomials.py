"""Derive the polynomials of src_c/kernels/coefficients.h and print that file.

    python tools/derive_polynomials.py > src_c/kernels/coefficients.h

Each polynomial is the minimax one (Remez exchange in multiple precision) for the relative error of
the function it serves. The error of each is printed as a comment above its table.
"""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 60
GRID = 1200
EXCHANGES = 8
HEADER = """\
/* Coefficients of the vector mathematics, lowest power first; written by
 * tools/derive_polynomials.py. The tables named f32 serve float32 functions: those that compute in
 * float32 (each coefficient then is rounded to it) and those that compute in float64. */
#ifndef FBP_KERNELS_COEFFICIENTS_H
#define FBP_KERNELS_COEFFICIENTS_H

/* clang-format off */"""

Function = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True)
class Polynomial:
    """A polynomial to derive: `approximand` over `interval`, the error multiplied by `weight`."""

    name: str
    meaning: str
    approximand: Function
    weight: Function
    interval: tuple[mp.mpf, mp.mpf]
    n_coefficients: int


def exp_quadratic(r: mp.mpf) -> mp.mpf:
    """Return (e^r - 1 - r) / r^2."""
    return mp.nsum(lambda k: r**k / mp.factorial(k + 2), [0, 30], method="d")


def log1p_quadratic(u: mp.mpf) -> mp.mpf:
    """Return (log(1 + u) - u) / u^2."""
    return mp.mpf(-1) / 2 if u == 0 else (mp.log1p(u) - u) / u**2


def log_cubic(z: mp.mpf) -> mp.mpf:
    """Return (2 atanh(s) / s - 2) / z with z = s^2."""
    return mp.mpf(2) / 3 if z == 0 else (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z


def scaled_tail(centre: int) -> Function:
    """Return y -> (t + centre) e^(t^2 / 2) Phi(-t) with t = centre (1 + y) / (1 - y)."""

    def approximand(y: mp.mpf) -> mp.mpf:
        t = centre * (1 + y) / (1 - y)
        return (t + centre) * mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2

    return approximand


def normal_tail(name: str, centre: int, largest: int, n_coefficients: int) -> Polynomial:
    """Describe the polynomial of the normal tail for 0 <= t <= largest."""
    function = scaled_tail(centre)
    return Polynomial(
        name,
        f"e^(t^2/2) Phi(-t) = P(y) / (t + {centre}), y = 1 - {2 * centre} / (t + {centre}),"
        f" t <= {largest}",
        function,
        lambda y: 1 / function(y),
        (mp.mpf(-1), mp.mpf(largest - centre) / (largest + centre)),
        n_coefficients,
    )


def polynomials() -> list[Polynomial]:
    """List what the kernels need."""
    half_ln2 = mp.log(2) / 2 * mp.mpf("1.0001")
    largest_z = (3 - 2 * mp.sqrt(2)) ** 2
    exp_meaning = "e^r = 1 + r + r^2 P(r), |r| <= ln 2 / 2"
    log1p_meaning = "log(1 + u) = u + u^2 P(u), 0 <= u <= 1"
    log_meaning = "log((1 + s) / (1 - s)) = 2 s + s^3 P(s^2), |s| <= 3 - 2 sqrt 2"
    result = []
    for dtype, n_exp, n_log1p, n_log in (("f32", 6, 9, 3), ("f64", 11, 20, 7)):
        result += [
            Polynomial(
                f"exp_{dtype}", exp_meaning, exp_quadratic, abs, (-half_ln2, half_ln2), n_exp
            ),
            Polynomial(
                f"log1p_{dtype}",
                log1p_meaning,
                log1p_quadratic,
                abs,
                (mp.mpf(0), mp.mpf(1)),
                n_log1p,
            ),
            Polynomial(f"log_{dtype}", log_meaning, log_cubic, abs, (mp.mpf(0), largest_z), n_log),
        ]
    result.append(normal_tail("tail_f32", 3, 16, 11))
    result.append(normal_tail("tail_f64", 5, 40, 23))
    return result


def chebyshev_points(interval: tuple[mp.mpf, mp.mpf], n: int) -> list[mp.mpf]:
    """Return n extrema of a Chebyshev polynomial on `interval`, ascending."""
    low, high = interval
    return [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (n - 1)) for i in range(n)]


def solve(points: list[mp.mpf], values: dict, weights: dict, n: int) -> list[mp.mpf]:
    """Return the n coefficients whose weighted error alternates in sign over n + 1 points."""
    matrix = mp.matrix(n + 1, n + 1)
    right = mp.matrix(n + 1, 1)
    for i, x in enumerate(points):
        for j in range(n):
            matrix[i, j] = x**j
        matrix[i, n] = (-1) ** i / weights[x]
        right[i] = values[x]
    return list(mp.lu_solve(matrix, right))[:n]


def alternating_extrema(grid: list[mp.mpf], errors: list[mp.mpf]) -> list[mp.mpf]:
    """Return where |error| is largest in each run of errors of one sign."""
    extrema: list[int] = []
    for i, error in enumerate(errors):
        if extrema and error * errors[extrema[-1]] > 0:
            if abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        elif error != 0:
            extrema.append(i)
    return [grid[i] for i in extrema]


def remez(polynomial: Polynomial) -> tuple[list[mp.mpf], mp.mpf]:
    """Return the minimax coefficients, lowest power first, and the largest weighted error."""
    n = polynomial.n_coefficients
    # The weight may be zero at a point of the grid, where the error then is zero whatever P is.
    grid = [x for x in chebyshev_points(polynomial.interval, GRID) if polynomial.weight(x) != 0]
    values = {x: polynomial.approximand(x) for x in grid}
    weights = {x: polynomial.weight(x) for x in grid}
    spread = [round(i * (len(grid) - 1) / n) for i in range(n + 1)]
    points = [grid[i] for i in spread]
    for _ in range(EXCHANGES):
        coefficients = solve(points, values, weights, n)
        errors = [(mp.polyval(coefficients[::-1], x) - values[x]) * weights[x] for x in grid]
        largest = max(map(abs, errors))
        extrema = alternating_extrema(grid, errors)
        while len(extrema) > n + 1:
            ends = (abs(errors[grid.index(extrema[0])]), abs(errors[grid.index(extrema[-1])]))
            extrema.pop(0 if ends[0] < ends[1] else -1)
        if len(extrema) < n + 1 or extrema == points:
            break
        points = extrema
    return coefficients, largest


def print_table(polynomial: Polynomial) -> None:
    """Print one polynomial as a C array."""
    coefficients, error = remez(polynomial)
    numbers = ", ".join(repr(float(c)) for c in coefficients)
    print(f"\n/* {polynomial.meaning};\n * relative error 2^{mp.nstr(mp.log(error, 2), 3)} */")
    print(f"static const double fbp_{polynomial.name}[] = {{")
    print(textwrap.fill(numbers, 100, initial_indent="    ", subsequent_indent="    "))
    print("};")


def print_split(name: str, value: mp.mpf, bits: int) -> None:
    """Print a constant as two C macros: its first `bits` bits, and the rest."""
    scale = mp.mpf(2) ** (bits - 1 - int(mp.floor(mp.log(value, 2))))
    high = mp.nint(value * scale) / scale
    print(f"#define {name}_HI {float(high).hex()}")
    print(f"#define {name}_LO {float(value - high).hex()}")


def main() -> None:
    """Print src_c/kernels/coefficients.h."""
    print(HEADER)
    for polynomial in polynomials():
        print_table(polynomial)
    print("\n/* ln 2 in two parts: the product of the first with any exponent is exact */")
    print_split("FBP_LN2_F32", mp.log(2), 15)
    print_split("FBP_LN2_F64", mp.log(2), 41)
    print("\n#endif")


if __name__ == "__main__":
    main()
