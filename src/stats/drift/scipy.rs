//! The same figures as SciPy's, by the table that `tests/conformance/statistics.py` makes.

use serde::Deserialize;

use super::*;
use crate::stats::{binomial_tail, share_at_most};

#[derive(Deserialize)]
struct Table {
    distributions: Vec<Distributions>,
    chi_squared_above: Vec<(f64, u32, f64)>,
    binomial_tail: Vec<(u64, f64, u64, f64)>,
    share_at_most: Vec<(u64, u64, f64, f64)>,
    benjamini_hochberg: Named,
}

#[derive(Deserialize)]
struct Distributions {
    places: Vec<f64>,
    first: Vec<u64>,
    second: Vec<u64>,
    jensen_shannon: f64,
    kolmogorov_smirnov: f64,
    wasserstein: f64,
    deviation: f64,
}

#[derive(Deserialize)]
struct Named {
    p_values: Vec<f64>,
    named: Vec<bool>,
}

fn table() -> Table {
    serde_json::from_str(include_str!("../../../tests/fixtures/statistics.json")).unwrap()
}

#[test]
fn distances_agree_with_scipy() {
    for case in table().distributions {
        let Distributions { places, first, second, .. } = &case;
        let found = [
            (jensen_shannon(first, second), case.jensen_shannon),
            (kolmogorov_smirnov(first, second), case.kolmogorov_smirnov),
            (wasserstein(places, first, second), case.wasserstein),
            (deviation(places, first), case.deviation),
        ];
        for (found, expected) in found {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }
}

#[test]
fn tails_and_bounds_agree_with_scipy() {
    let table = table();
    for (value, freedom, expected) in table.chi_squared_above {
        let found = chi_squared_above(value, freedom);
        assert!((found - expected).abs() < 1e-12, "{value} with {freedom}: {found} for {expected}");
    }
    for (trials, share, least, expected) in table.binomial_tail {
        let found = binomial_tail(trials, share, least);
        assert!((found - expected).abs() < 1e-12, "{trials} {share} {least}: {found} for {expected}");
    }
    for (successes, trials, confidence, expected) in table.share_at_most {
        let found = share_at_most(successes, trials, confidence);
        assert!((found - expected).abs() < 1e-10, "{successes} of {trials}: {found} for {expected}");
    }
    let Named { p_values, named } = table.benjamini_hochberg;
    assert_eq!(benjamini_hochberg(&p_values, 0.05), named);
}
