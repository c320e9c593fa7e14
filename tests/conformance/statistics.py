"""Compares the statistics of drift and calibration with SciPy.

    python tests/conformance/statistics.py            # checks tests/fixtures/statistics.json against SciPy
    python tests/conformance/statistics.py --write    # makes that table anew

The table is what the unit tests of `src/stats` compare Weir's own functions with, to 1e-12 (1e-10 for bounds that are
found by bisection). So SciPy is not needed to run them, and this script proves that the table is SciPy's.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

TABLE = pathlib.Path(__file__).parent.parent / "fixtures" / "statistics.json"
TOLERANCE = 1e-12


def distributions():
    """Two sets of counts at places, and their distances."""
    rng = np.random.default_rng(7)
    cases = []
    for bins, first, second in [(2, 30, 50), (5, 200, 100), (20, 5000, 500), (40, 1000, 1000), (12, 3, 900)]:
        places = np.sort(rng.normal(size=bins))
        counts = [rng.multinomial(n, rng.dirichlet(np.full(bins, 0.7))) for n in (first, second)]
        a, b = (np.repeat(places, count) for count in counts)
        cases.append({
            "places": places.tolist(),
            "first": counts[0].tolist(),
            "second": counts[1].tolist(),
            "jensen_shannon": float(jensenshannon(counts[0] / first, counts[1] / second, base=2)),
            "kolmogorov_smirnov": float(stats.ks_2samp(a, b).statistic),
            "wasserstein": float(stats.wasserstein_distance(a, b)),
            "deviation": float(np.std(a)),
        })
    return cases


def table():
    """Everything that is compared."""
    chi_squared = [(x, df) for df in (1, 2, 3, 9, 19, 20, 63) for x in (1e-3, 0.5, 3.0, 19.0, 45.5, 120.0)]
    tails = [(n, p, k) for n, p in ((10, 0.3), (299, 0.99), (5000, 0.99), (10000, 0.95), (1_000_000, 0.01))
             for k in (1, int(n * p) - 3, int(n * p), int(n * p) + 2, n) if k > 0]
    bounds = [(k, n, level) for k, n in ((0, 299), (1, 500), (12, 1000), (400, 1000), (3, 20000)) for level in (0.95, 0.99)]
    p_values = [0.001, 0.2, 0.012, 0.03, 0.9, 0.041, 0.0005, 0.02, 0.5]
    adjusted = stats.false_discovery_control(p_values, method="bh")
    return {
        "distributions": distributions(),
        "chi_squared_above": [[x, df, float(stats.chi2.sf(x, df))] for x, df in chi_squared],
        "binomial_tail": [[n, p, k, float(stats.binom.sf(k - 1, n, p))] for n, p, k in tails],
        "share_at_most": [[k, n, level, float(stats.beta.ppf(level, k + 1, n - k))] for k, n, level in bounds],
        "benjamini_hochberg": {"p_values": p_values, "named": [bool(p <= 0.05) for p in adjusted]},
    }


def differences(ours, theirs, where=""):
    """The places where two trees differ by more than the tolerance."""
    if isinstance(ours, dict):
        return [found for key in theirs for found in differences(ours.get(key), theirs[key], f"{where}.{key}")]
    if isinstance(ours, list):
        if len(ours) != len(theirs):
            return [f"{where}: {len(ours)} entries for {len(theirs)}"]
        return [found for i, pair in enumerate(zip(ours, theirs)) for found in differences(*pair, f"{where}[{i}]")]
    same = ours == theirs or (ours is not None and abs(ours - theirs) <= TOLERANCE * max(1.0, abs(theirs)))
    return [] if same else [f"{where}: {ours} in the table, {theirs} of SciPy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make the table anew")
    if parser.parse_args().write:
        TABLE.write_text(json.dumps(table(), indent=1) + "\n")
        return
    found = differences(json.loads(TABLE.read_text()), table())
    for line in found:
        print(line)
    print("the table is SciPy's" if not found else f"{len(found)} differences")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
