//! A profile as text for people.

use super::super::paint::Paint;
use super::table::ms;
use crate::bench::{NodeRow, Share, StepProfile};

/// The most nodes in the table; the JSON has all.
const NODES: usize = 15;

/// The time by operation and by node.
pub(super) fn profile_table(profile: &StepProfile, paint: Paint) -> String {
    let mut text = format!(
        "\nprofile      {} runs of {} ms, of which {} ms between nodes; peak {:.1} GFLOP/s\n",
        profile.runs,
        ms(profile.run_ms),
        ms(profile.outside_ms),
        profile.peak_gflops
    );
    text.push_str(&format!("\n{:<24} {:<8} {:>5}{}\n", "operation", "kernel", "nodes", heading()));
    for kind in &profile.kinds {
        let name = paint.bold(&format!("{:<24}", kind.kind));
        text.push_str(&format!("{name} {:<8} {:>5}{}\n", kind.kernel.name(), kind.nodes, cells(&kind.time)));
    }
    text.push_str(&format!("\n{:<24} {:<8} {:>5}{}\n", "node's operation", "kernel", "", heading()));
    for node in profile.nodes.iter().take(NODES) {
        text.push_str(&row(node));
    }
    if let Some(left @ 1..) = profile.nodes.len().checked_sub(NODES) {
        text.push_str(&format!("and {left} more, which --json has\n"));
    }
    let (count, time) = profile.generic().fold((0, 0.0), |(count, time), node| (count + 1, time + node.time.ms));
    let share = if profile.run_ms > 0.0 { time / profile.run_ms * 100.0 } else { 0.0 };
    text.push_str(&format!("\nno fast kernel (generic): {count} nodes, {} ms, {share:.0} % of a run\n", ms(time)));
    text
}

fn heading() -> String {
    format!(" {:>9} {:>7} {:>9} {:>8}", "ms", "share", "GFLOP/s", "of peak")
}

fn cells(time: &Share) -> String {
    let of = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| "-".into(), text);
    let rate = of(time.gflops, |rate| format!("{rate:.1}"));
    let peak = of(time.peak_share, |share| format!("{:.0} %", share * 100.0));
    format!(" {:>9} {:>5.1} % {rate:>9} {peak:>8}", ms(time.ms), time.share * 100.0)
}

fn row(node: &NodeRow) -> String {
    let shape = node.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let kernel = node.kernel.name();
    format!("{:<24} {kernel:<8} {:>5}{}  {} {shape}\n", node.kind, "", cells(&node.time), node.node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::KindRow;
    use crate::engine::Kernel;

    #[test]
    fn the_table_names_operations_nodes_and_what_is_slow() {
        let time = Share { ms: 1.5, share: 0.75, gflops: None, peak_share: None };
        let fast = Share { ms: 0.5, share: 0.25, gflops: Some(12.0), peak_share: Some(0.5) };
        let kind = |kind: &str, kernel, time| KindRow { kind: kind.into(), kernel, nodes: 1, time };
        let node = |node: &str, kernel, time| NodeRow {
            node: node.into(),
            kind: "K".into(),
            kernel,
            shape: vec![1, 8, 7],
            time,
        };
        let mut step = StepProfile {
            runs: 3,
            run_ms: 2.0,
            outside_ms: 0.0,
            peak_gflops: 24.0,
            kinds: vec![kind("Sigmoid", Kernel::Generic, time), kind("Pointwise", Kernel::Weir, fast)],
            nodes: vec![node("conv1", Kernel::Weir, fast)],
        };
        step.nodes
            .extend((0..20).map(|index| node(&format!("s{index}"), Kernel::Generic, Share { ms: 0.075, ..time })));
        let text = profile_table(&step, Paint(false));
        for expected in
            ["3 runs of 2.00 ms", "peak 24.0 GFLOP/s", "Sigmoid", "12.0     50 %", "conv1 1×8×7", "and 6 more"]
        {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(text.contains("no fast kernel (generic): 20 nodes, 1.50 ms, 75 % of a run"), "{text}");
        assert!(text.contains("s13") && !text.contains("s14"), "{text}");
    }
}
