"""The table of float32's forward: softplus on segments of width 1/2 in |x| (needs numpy).

softplus(±a) = ±a/2 + E(a), so that around a centre v, with r = a - v, both signs share every coefficient
from r^2 on, and of r the difference of the coefficients is 1, of the values v. The centres are chosen,
near the middles of the segments, such that softplus(v) and softplus(-v) are almost exactly floats (Gal's
accurate tables): no constant has a low part, r is exact, and the last FMA is the only rounding that counts.

    python tools/fit_segments.py    # proves the error of the table: all floats, in a minute
"""

import numpy as np
from fit import lawson

SEGMENTS = 15
WIDTH = 0.5
CANDIDATES = 12
GRID = 2.0**-21  # of the centres: r = a - v is then exact
# Of the inputs by which a candidate is judged, and of the nodes of a fit
SAMPLES, NODES = 60_000, 160
# Errors in ULP above 0 count as if they were larger by this
STRICTER_ABOVE_0 = 0.22


def softplus(x: np.ndarray) -> np.ndarray:
    """Return the exact values, in double."""
    return np.logaddexp(0.0, x)


def single(x: np.ndarray) -> np.ndarray:
    """Return x rounded to float32."""
    return np.float32(x).astype(np.float64)


def errors(a: np.ndarray, centre: float, coefficients: list[float], sign: int) -> np.ndarray:
    """Return the errors at sign * a in ULP, computed as the kernels do."""
    r = a - centre
    y = np.full(len(a), coefficients[-1])
    for c in coefficients[-2::-1]:
        y = single(y * r + c)
    exact = softplus(sign * a)
    return np.abs(y - exact) / np.exp2(np.floor(np.log2(exact)) - 23)


def centres(k: int) -> np.ndarray:
    """Return the numbers near the middle of a segment at which softplus is closest to a float."""
    middle = k * WIDTH
    v = np.arange(int((middle - 0.12) / GRID), int((middle + 0.14) / GRID)) * GRID
    above, below = (np.abs(single(y) / y - 1) for y in (softplus(v), softplus(-v)))
    return v[np.argsort(np.maximum(2 * above, below))[:CANDIDATES]]


def row(k: int, v: float) -> list[float]:
    """Return a centre, and coefficients 5 to 0 for x < 0."""
    half = WIDTH / 2 + 1e-5
    r = k * WIDTH + half * np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES) - v
    below = [single(softplus(-v)), single(-1 / (1 + np.exp(v)))]
    y = softplus(-(v + r))
    powers = [2, 3, 4, 5] if k else [2, 4]  # E is even
    fitted = lawson(r, y - below[0] - below[1] * r, 1 / y, powers)[0]
    higher = fitted if k else [fitted[0], 0.0, fitted[1], 0.0]
    return [v, *higher[::-1], *below[::-1]]


def both_signs(of: list[float]) -> tuple[float, list[list[float]]]:
    """Return the centre of a row, and its coefficients 0 to 5 for x > 0 and for x < 0."""
    v, *higher, slope, value = of
    signs = [single(value + v), single(slope + 1)], [value, slope]
    return v, [low + higher[::-1] for low in signs]


def worst(k: int, of: list[float]) -> tuple[float, float]:
    """Return the largest errors of a row in ULP, above 0 and below."""
    a = (k * WIDTH + WIDTH * (np.random.default_rng(k).random(SAMPLES) - 0.5)).astype(np.float32)
    a = np.abs(a.astype(np.float64))
    v, signs = both_signs(of)
    return tuple(float(errors(a, v, signs[i], 1 - 2 * i).max()) for i in range(2))


def table() -> np.ndarray:
    """Return the rows for |x| around 0, 1/2, 1, …, 7, as columns."""
    rows = []
    for k in range(SEGMENTS):
        candidates = [row(k, float(v)) for v in (centres(k) if k else [0.0])]
        judged = [
            (max(e[0] + STRICTER_ABOVE_0, e[1]), c) for c in candidates for e in [worst(k, c)]
        ]
        rows.append(min(judged)[1])
    return np.array(rows).T


def largest(table: np.ndarray, every: int = 1) -> tuple[float, float]:
    """Return the largest errors in ULP above 0 and below, of every so many of all floats from 2^-12 up.

    Below 2^-12 softplus(x) is so nearly ln 2 + x/2 that nothing new comes.
    """
    found = np.zeros(2)
    for k, of in enumerate(table.T.tolist()):
        v, signs = both_signs(of)
        ends = np.float32([max((k - 0.5) * WIDTH, 2.0**-12), (k + 0.5) * WIDTH]).view(np.int32)
        for first in range(int(ends[0]), int(ends[1]) + 1, every << 20):
            bits = np.arange(first, min(first + (every << 20), int(ends[1]) + 1), every)
            a = bits.astype(np.int32).view(np.float32).astype(np.float64)
            worst = [errors(a, v, signs[i], 1 - 2 * i).max() for i in range(2)]
            found = np.maximum(found, worst)
    return float(found[0]), float(found[1])


if __name__ == "__main__":
    print("largest error, ULP: {:.4f} for x > 0, {:.4f} for x < 0".format(*largest(table())))
