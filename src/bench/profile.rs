//! The time of a run by node and by operation.

use serde::Serialize;

use crate::engine::{Kernel, NodeTime, Profile};

/// A part of the time of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Milliseconds of a run.
    pub ms: f64,
    /// The part of the time of a run.
    pub share: f64,
    /// Billions of floating point operations per second; absent where they are not known.
    pub gflops: Option<f64>,
    /// The part of the machine's peak that these are.
    pub peak_share: Option<f64>,
}

/// The nodes of one operation and kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindRow {
    /// The operation, as the engine names it.
    pub kind: String,
    /// The code that computes it.
    pub kernel: Kernel,
    /// The number of nodes.
    pub nodes: usize,
    /// Their time.
    #[serde(flatten)]
    pub time: Share,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeRow {
    /// Its name in the graph; one that takes in others has the name of the first or last of them.
    pub node: String,
    /// The operation, as the engine names it.
    pub kind: String,
    /// The code that computes it.
    pub kernel: Kernel,
    /// The shape of its first output.
    pub shape: Vec<usize>,
    /// Its time.
    #[serde(flatten)]
    pub time: Share,
}

/// The time of a run of a batch, on one thread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepProfile {
    /// The runs whose mean this is.
    pub runs: u64,
    /// Milliseconds of a run.
    pub run_ms: f64,
    /// Milliseconds of a run between its nodes.
    pub outside_ms: f64,
    /// The peak: billions of floating point operations per second of a small matrix product on one thread.
    pub peak_gflops: f64,
    /// The operations, the longest time first.
    pub kinds: Vec<KindRow>,
    /// The nodes, the longest time first.
    pub nodes: Vec<NodeRow>,
}

impl StepProfile {
    /// Sums up a profile for a machine that does `peak` floating point operations per second.
    pub fn of(profile: &Profile, peak: f64) -> Self {
        let runs = profile.runs.max(1) as f64;
        let run = profile.elapsed.as_secs_f64() / runs;
        let share = |nodes: &[&NodeTime]| {
            let seconds = nodes.iter().map(|node| node.elapsed.as_secs_f64()).sum::<f64>() / runs;
            let flops = nodes.iter().map(|node| node.flops).sum::<u64>() as f64 / runs;
            let rate = (flops > 0.0 && seconds > 0.0).then_some(flops / seconds);
            Share {
                ms: seconds * 1e3,
                share: if run > 0.0 { seconds / run } else { 0.0 },
                gflops: rate.map(|rate| rate / 1e9),
                peak_share: rate.filter(|_| peak > 0.0).map(|rate| rate / peak),
            }
        };
        let mut by_kind: Vec<((&str, Kernel), Vec<&NodeTime>)> = Vec::new();
        for node in &profile.nodes {
            let key = (node.kind.as_str(), node.kernel);
            match by_kind.iter_mut().find(|(known, _)| *known == key) {
                Some((_, nodes)) => nodes.push(node),
                None => by_kind.push((key, vec![node])),
            }
        }
        let kind = |((kind, kernel), nodes): ((&str, Kernel), Vec<&NodeTime>)| KindRow {
            kind: kind.to_owned(),
            kernel,
            nodes: nodes.len(),
            time: share(&nodes),
        };
        let node = |node: &NodeTime| NodeRow {
            node: node.name.clone(),
            kind: node.kind.clone(),
            kernel: node.kernel,
            shape: node.shape.clone(),
            time: share(&[node]),
        };
        let mut kinds: Vec<KindRow> = by_kind.into_iter().map(kind).collect();
        let mut nodes: Vec<NodeRow> = profile.nodes.iter().map(node).collect();
        kinds.sort_by(|a, b| b.time.ms.total_cmp(&a.time.ms));
        nodes.sort_by(|a, b| b.time.ms.total_cmp(&a.time.ms));
        let inside: f64 = nodes.iter().map(|node| node.time.ms).sum();
        let outside_ms = (run * 1e3 - inside).max(0.0);
        Self { runs: profile.runs, run_ms: run * 1e3, outside_ms, peak_gflops: peak / 1e9, kinds, nodes }
    }

    /// Returns the nodes that no fast kernel computes, the longest time first.
    pub fn generic(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.iter().filter(|node| node.kernel == Kernel::Generic)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn node(name: &str, kind: &str, kernel: Kernel, ms: u64, flops: u64) -> NodeTime {
        let elapsed = Duration::from_millis(ms);
        NodeTime { name: name.into(), kind: kind.into(), kernel, shape: vec![1, 2], calls: 2, elapsed, flops }
    }

    #[test]
    fn times_are_those_of_one_run_and_the_longest_come_first() {
        let nodes = vec![
            node("a", "Pointwise", Kernel::Weir, 2, 4_000_000),
            node("b", "Sigmoid", Kernel::Generic, 6, 0),
            node("c", "Pointwise", Kernel::Weir, 8, 8_000_000),
        ];
        let profile = Profile { runs: 2, elapsed: Duration::from_millis(20), nodes };
        let step = StepProfile::of(&profile, 4e9);
        assert_eq!((step.runs, step.run_ms, step.outside_ms, step.peak_gflops), (2, 10.0, 2.0, 4.0));
        let kinds: Vec<_> = step.kinds.iter().map(|kind| (kind.kind.as_str(), kind.nodes, kind.time.ms)).collect();
        assert_eq!(kinds, [("Pointwise", 2, 5.0), ("Sigmoid", 1, 3.0)]);
        let nodes: Vec<_> = step.nodes.iter().map(|node| node.node.as_str()).collect();
        assert_eq!(nodes, ["c", "b", "a"]);
        let time = step.nodes[0].time;
        assert_eq!((time.share, time.gflops, time.peak_share), (0.4, Some(1.0), Some(0.25)));
        assert_eq!((step.nodes[1].time.gflops, step.nodes[1].time.peak_share), (None, None));
        assert_eq!(step.generic().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn no_run_is_no_time() {
        let step = StepProfile::of(&Profile::default(), 1e9);
        assert_eq!((step.runs, step.run_ms, step.kinds.len(), step.nodes.len()), (0, 0.0, 0, 0));
    }
}
