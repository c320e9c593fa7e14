//! Service levels and the verdicts on them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::latencies::{Latencies, milliseconds};
use super::span::parse_span;

/// A service level: terms that a run must all meet, such as `p99<=20ms,errors<=0.1%`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Term {
    /// This share of all requests must get a 2xx answer within the limit.
    Latency { quantile: f64, limit: Duration },
    /// At most this share of all requests may fail.
    Errors { limit: f64 },
}

/// The verdict on a service level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// True if every term was met.
    pub met: bool,
    /// The verdict on each term.
    pub terms: Vec<TermVerdict>,
}

/// The verdict on one term.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TermVerdict {
    /// The term, as it was read.
    pub term: String,
    /// The measured value in `unit`; absent if the percentile falls among failed requests.
    pub measured: Option<f64>,
    /// `ms` or `%`.
    pub unit: &'static str,
    /// True if the term was met.
    pub met: bool,
}

impl Slo {
    /// Judges a run by the latencies of its 2xx answers and the number of requests that got none.
    ///
    /// A failed request counts as slower than any limit, so that a server cannot meet a latency by refusing. A run
    /// without requests meets no term.
    pub fn judge(&self, good: &Latencies, failed: u64) -> Verdict {
        let total = good.len() + failed;
        let judge = |term: &Term| {
            let (measured, unit, met) = match term {
                Term::Latency { quantile, limit } => {
                    let found = good.quantile_with(*quantile, failed);
                    (found.map(milliseconds), "ms", found.is_some_and(|found| found <= *limit))
                }
                Term::Errors { limit } => {
                    let share = failed as f64 / total.max(1) as f64;
                    (Some(share * 100.0), "%", share <= *limit)
                }
            };
            TermVerdict { term: term.to_string(), measured, unit, met: met && total > 0 }
        };
        let terms: Vec<_> = self.terms.iter().map(judge).collect();
        Verdict { met: terms.iter().all(|term| term.met), terms }
    }

    /// Returns the latency limits as (quantile, milliseconds).
    pub fn limits(&self) -> Vec<(f64, f64)> {
        let limit = |term: &Term| match term {
            Term::Latency { quantile, limit } => Some((*quantile, milliseconds(*limit))),
            Term::Errors { .. } => None,
        };
        self.terms.iter().filter_map(limit).collect()
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { terms: text.split(',').map(|term| parse_term(term.trim())).collect::<Result<_, _>>()? })
    }
}

fn parse_term(text: &str) -> Result<Term, String> {
    let refuse = || format!("expected terms such as p99<=20ms, p99.9<=0.1s, max<=1s or errors<=0.1%, got \"{text}\"");
    let (left, right) = text.split_once("<=").or_else(|| text.split_once('<')).ok_or_else(refuse)?;
    let (left, right) = (left.trim(), right.trim());
    if left == "errors" {
        let percent: f64 = right.strip_suffix('%').and_then(|number| number.trim().parse().ok()).ok_or_else(refuse)?;
        return if (0.0..=100.0).contains(&percent) {
            Ok(Term::Errors { limit: percent / 100.0 })
        } else {
            Err(refuse())
        };
    }
    let percent: f64 = match left {
        "max" => 100.0,
        _ => left.strip_prefix('p').and_then(|number| number.parse().ok()).ok_or_else(refuse)?,
    };
    // A limit without a unit would be seconds to one reader and milliseconds to another.
    if !(percent > 0.0 && percent <= 100.0) || right.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(refuse());
    }
    Ok(Term::Latency { quantile: percent / 100.0, limit: parse_span(right)? })
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 99.9 is 99.90000000000001 after its way through a share.
        let round = |share: f64| (share * 1e8).round() / 1e6;
        match self {
            Self::Latency { quantile, limit } if *quantile >= 1.0 => write!(f, "max<={limit:?}"),
            Self::Latency { quantile, limit } => write!(f, "p{}<={limit:?}", round(*quantile)),
            Self::Errors { limit } => write!(f, "errors<={}%", round(*limit)),
        }
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{term}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap()
    }

    fn of_millis(values: &[u64]) -> Latencies {
        let mut latencies = Latencies::new().unwrap();
        values.iter().for_each(|&value| latencies.record(Duration::from_millis(value)));
        latencies
    }

    #[test]
    fn service_levels_are_read_and_written() {
        for (text, written) in [
            ("p99<=20ms", "p99<=20ms"),
            (" p99.9 < 0.5s , errors <= 0.1 % ", "p99.9<=500ms,errors<=0.1%"),
            ("p50<=250us", "p50<=250µs"),
            ("max<=1s", "max<=1s"),
            ("p100<=1s", "max<=1s"),
        ] {
            assert_eq!(slo(text).to_string(), written);
            assert_eq!(slo(&slo(text).to_string()), slo(text));
        }
        for text in [
            "",
            "p99",
            "p99<=20",
            "p0<=1ms",
            "p101<=1ms",
            "99<=1ms",
            "pp<=1ms",
            "errors<=1",
            "errors<=200%",
            "p99<=1ms,",
        ] {
            assert!(text.parse::<Slo>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_verdict_is_of_all_requests_not_of_the_lucky_ones() {
        let fast = of_millis(&[1; 98]);
        assert!(slo("p99<=2ms").judge(&fast, 0).met);
        // 98 of 100 in time.
        let refused = slo("p99<=2ms,p98<=2ms,errors<=2%,errors<=1%").judge(&fast, 2);
        assert!(!refused.met);
        let met: Vec<bool> = refused.terms.iter().map(|term| term.met).collect();
        assert_eq!(met, [false, true, true, false]);
        assert_eq!(refused.terms[0].measured, None);
        assert_eq!((refused.terms[2].measured, refused.terms[2].unit), (Some(2.0), "%"));
    }

    #[test]
    fn nothing_measured_meets_nothing() {
        for text in ["p99<=1h", "errors<=100%"] {
            assert!(!slo(text).judge(&of_millis(&[]), 0).met);
        }
    }

    proptest! {
        #[test]
        fn a_looser_limit_is_met_whenever_a_tighter_one_is(
            values in proptest::collection::vec(0u64..1000, 1..100), failed in 0u64..20, tight in 0u64..1000, more in 0u64..1000,
        ) {
            let latencies = of_millis(&values);
            let judge = |limit: u64| slo(&format!("p95<={limit}ms")).judge(&latencies, failed).met;
            prop_assert!(!judge(tight) || judge(tight + more));
            let errors = |limit: u64| slo(&format!("errors<={limit}%")).judge(&latencies, failed).met;
            prop_assert!(errors(100));
        }
    }
}
