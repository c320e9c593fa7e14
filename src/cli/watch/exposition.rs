//! Reads the text format of Prometheus, version 0.0.4, as a server of Weir writes it.

use std::collections::{BTreeMap, HashMap};

/// One value with its labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Sample {
    /// Returns the value of a label; empty if it has none of this name.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All series of one look at a server, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Exposition(HashMap<String, Vec<Sample>>);

impl Exposition {
    /// Reads a text. Lines that are no samples are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut series: HashMap<String, Vec<Sample>> = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, sample)) = sample(line) {
                series.entry(name.to_owned()).or_default().push(sample);
            }
        }
        Self(series)
    }

    /// Returns the samples of a name; none if there is no such.
    pub(super) fn of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Sample> + use<'a> {
        self.0.get(name).into_iter().flatten()
    }
}

/// Reads `name{label="value",…} number`.
fn sample(line: &str) -> Option<(&str, Sample)> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    // A time may follow the number.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, Sample { labels, value }))
}

/// Reads the rest of a text in quotes; returns it, and what follows the closing quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// The counts of a histogram by upper bound, summed over series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// Adds the count of one bound.
    pub(super) fn add(&mut self, bound: f64, count: f64) {
        match self.0.iter_mut().find(|(of, _)| *of == bound) {
            Some((_, sum)) => *sum += count,
            None => {
                let at = self.0.partition_point(|(of, _)| *of < bound);
                self.0.insert(at, (bound, count));
            }
        }
    }

    /// Returns the quantile of what was counted since `before`, interpolated within its bucket; `None` if nothing was.
    /// Beyond the last finite bound it is that bound.
    pub(super) fn quantile_since(&self, before: &Self, share: f64) -> Option<f64> {
        let earlier = |bound: f64| before.0.iter().find(|(of, _)| *of == bound).map_or(0.0, |(_, count)| *count);
        let more: Vec<(f64, f64)> = self.0.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect();
        let wanted = more.last().map(|(_, count)| count * share).filter(|wanted| *wanted > 0.0)?;
        let at = more.iter().position(|(_, count)| *count >= wanted)?;
        let (low, below) = at.checked_sub(1).map_or((0.0, 0.0), |at| more[at]);
        let (high, count) = more[at];
        Some(if high.is_finite() { low + (high - low) * (wanted - below) / (count - below) } else { low })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels_and_escapes() {
        let text = "# HELP a b\n# TYPE a gauge\na 1\na{x=\"1\"} 2.5\na{x=\"q\\\"\\\\\\n,}\",y=\"\"} +Inf 17\nb{} NaN\nbroken\na{x=\"open 3\n";
        let read = Exposition::parse(text);
        let a: Vec<&Sample> = read.of("a").collect();
        assert_eq!(a.len(), 3);
        assert_eq!((a[0].value, a[0].labels.len()), (1.0, 0));
        assert_eq!((a[1].value, a[1].label("x")), (2.5, "1"));
        assert_eq!(
            (a[2].value, a[2].label("x"), a[2].label("y"), a[2].label("z")),
            (f64::INFINITY, "q\"\\\n,}", "", "")
        );
        assert!(read.of("b").next().is_some_and(|sample| sample.value.is_nan()));
        assert_eq!(read.of("broken").count(), 0);
    }

    #[test]
    fn quantiles_are_of_what_came_between_two_looks() {
        let buckets = |counts: [f64; 4]| {
            let mut buckets = Buckets::default();
            for (bound, count) in
                [f64::INFINITY, 0.1, 1.0, 0.01].into_iter().zip([counts[3], counts[1], counts[2], counts[0]])
            {
                buckets.add(bound, count / 2.0);
                buckets.add(bound, count / 2.0);
            }
            buckets
        };
        let (before, after) = (buckets([10.0, 10.0, 10.0, 10.0]), buckets([10.0, 110.0, 110.0, 110.0]));
        let median = after.quantile_since(&before, 0.5).unwrap();
        assert!((median - 0.055).abs() < 1e-12, "{median}");
        assert_eq!(after.quantile_since(&after, 0.5), None);
        assert_eq!(buckets([0.0, 0.0, 0.0, 4.0]).quantile_since(&Buckets::default(), 0.5), Some(1.0));
        assert_eq!(Buckets::default().quantile_since(&Buckets::default(), 0.5), None);
    }
}
