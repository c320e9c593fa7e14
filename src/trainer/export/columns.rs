//! The encoding of a table's columns, and the scale of a regression, as nodes of a graph.

use super::Writer;
use super::graph::{FLOAT, integer};
use crate::layers::Encoding;

impl Writer<'_> {
    /// `[N, columns]` → the numbers that [`LayerSpec::Encode`](crate::layers::LayerSpec::Encode) says, in the
    /// same order: numbers, what is missing, categories.
    pub(super) fn encode(&mut self, columns: &[Encoding], value: &str, output: &str) {
        let (mut numbers, mut means, mut deviations) = (Vec::new(), Vec::new(), Vec::new());
        let (mut told, mut sources, mut categories) = (Vec::new(), Vec::new(), Vec::new());
        for (index, column) in columns.iter().enumerate() {
            match column {
                Encoding::Standard { mean, deviation, tells_missing } => {
                    numbers.push(index as i64);
                    means.push(*mean);
                    deviations.push(*deviation);
                    told.extend(tells_missing.then_some(index as i64));
                }
                Encoding::OneHot { categories: count } => {
                    sources.extend(std::iter::repeat_n(index as i64, *count));
                    categories.extend((0..*count).map(|category| category as f32));
                }
            }
        }
        let mut parts = Vec::new();
        if !numbers.is_empty() {
            let [picked, is_missing, mean, deviation, known, centred, scaled] =
                ["numbers", "missing", "mean", "deviation", "known", "centred", "scaled"]
                    .map(|part| format!("{output}.{part}"));
            self.pick(value, &numbers, &picked);
            self.graph.constant(&mean, &[1, means.len()], &means);
            self.graph.constant(&deviation, &[1, deviations.len()], &deviations);
            self.graph.node("IsNaN", &[&picked], &is_missing, Vec::new());
            self.graph.node("Where", &[&is_missing, &mean, &picked], &known, Vec::new());
            self.graph.node("Sub", &[&known, &mean], &centred, Vec::new());
            self.graph.node("Div", &[&centred, &deviation], &scaled, Vec::new());
            parts.push(scaled);
        }
        if !told.is_empty() {
            let [picked, is_missing, tells] = ["told", "told_missing", "tells"].map(|part| format!("{output}.{part}"));
            self.pick(value, &told, &picked);
            self.graph.node("IsNaN", &[&picked], &is_missing, Vec::new());
            self.graph.node("Cast", &[&is_missing], &tells, vec![integer("to", FLOAT)]);
            parts.push(tells);
        }
        if !sources.is_empty() {
            let [picked, all, is_it, one_hot] =
                ["texts", "categories", "is_category", "one_hot"].map(|part| format!("{output}.{part}"));
            self.pick(value, &sources, &picked);
            self.graph.constant(&all, &[1, categories.len()], &categories);
            self.graph.node("Equal", &[&picked, &all], &is_it, Vec::new());
            self.graph.node("Cast", &[&is_it], &one_hot, vec![integer("to", FLOAT)]);
            parts.push(one_hot);
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.graph.node("Concat", &parts, output, vec![integer("axis", 1)]);
    }

    /// The columns at these places.
    fn pick(&mut self, value: &str, places: &[i64], output: &str) {
        let indices = format!("{output}.columns");
        self.graph.integers_constant(&indices, places);
        self.graph.node("Gather", &[value, &indices], output, vec![integer("axis", 1)]);
    }

    /// `y = x · deviation + mean`.
    pub(super) fn destandardize(&mut self, mean: f32, deviation: f32, value: &str, output: &str) {
        let [scale, offset, scaled] = ["scale", "offset", "scaled"].map(|part| format!("{output}.{part}"));
        self.graph.constant(&scale, &[], &[deviation]);
        self.graph.constant(&offset, &[], &[mean]);
        self.graph.node("Mul", &[value, &scale], &scaled, Vec::new());
        self.graph.node("Add", &[&scaled, &offset], output, Vec::new());
    }
}
