//! What makes a recurrent layer's steps of sequences, as nodes of a graph.

use super::Writer;
use super::graph::{FLOAT, INT64, integer};
use crate::signature::{PADDING, UNKNOWN};

impl Writer<'_> {
    /// `[N, steps, channels]` → each channel standardised, what is missing 0, as
    /// [`LayerSpec::Standardize`](crate::layers::LayerSpec::Standardize) says.
    pub(super) fn standardize(&mut self, means: &[f32], deviations: &[f32], value: &str, output: &str) {
        let [mean, deviation, is_missing, known, centred] =
            ["mean", "deviation", "missing", "known", "centred"].map(|part| format!("{output}.{part}"));
        let shape = [1, 1, means.len()];
        self.graph.constant(&mean, &shape, means);
        self.graph.constant(&deviation, &shape, deviations);
        self.graph.node("IsNaN", &[value], &is_missing, Vec::new());
        self.graph.node("Where", &[&is_missing, &mean, value], &known, Vec::new());
        self.graph.node("Sub", &[&known, &mean], &centred, Vec::new());
        self.graph.node("Div", &[&centred, &deviation], output, Vec::new());
    }

    /// `[N, steps]` → the row of the table for each token. Whatever is no token, NaN included, is looked up as the
    /// unknown one, so that no number that a request may bring is beyond the table.
    pub(super) fn embed(&mut self, tokens: usize, value: &str, output: &str) {
        let table = self.parameter();
        self.constant(table);
        let rows = self.token_rows(tokens, value, output);
        self.graph.node("Gather", &[&table.name, &rows], output, vec![integer("axis", 0)]);
    }

    /// `[N, steps]` → the mean of the rows of the table for the tokens that do not pad; zeros if all do.
    pub(super) fn bag(&mut self, tokens: usize, value: &str, output: &str) {
        let mut table = self.parameter().clone();
        let units = table.shape[1];
        table.values[PADDING * units..][..units].fill(0.0);
        self.constant(&table);
        let rows = self.token_rows(tokens, value, output);
        let [each, one, axes, numbers, is_token, sum, count, divisor] =
            ["each", "one", "axes", "numbers", "tells", "sum", "count", "divisor"]
                .map(|part| format!("{output}.{part}"));
        self.graph.constant(&one, &[1, 1], &[1.0]);
        self.graph.integers_constant(&axes, &[1]);
        self.graph.node("Gather", &[&table.name, &rows], &each, vec![integer("axis", 0)]);
        self.graph.node("ReduceSum", &[&each, &axes], &sum, vec![integer("keepdims", 0)]);
        self.graph.node("Cast", &[&rows], &numbers, vec![integer("to", FLOAT)]);
        self.graph.node("Min", &[&numbers, &one], &is_token, Vec::new());
        self.graph.node("ReduceSum", &[&is_token, &axes], &count, vec![integer("keepdims", 1)]);
        self.graph.node("Max", &[&count, &one], &divisor, Vec::new());
        self.graph.node("Div", &[&sum, &divisor], output, Vec::new());
    }

    /// The number of a row of the table for each token.
    fn token_rows(&mut self, tokens: usize, value: &str, output: &str) -> String {
        let [low, high, unknown, above, below, is_token, known, rows] =
            ["low", "high", "unknown", "above", "below", "is_token", "known", "rows"]
                .map(|part| format!("{output}.{part}"));
        self.graph.constant(&low, &[1, 1], &[-1.0]);
        self.graph.constant(&high, &[1, 1], &[tokens as f32]);
        self.graph.constant(&unknown, &[1, 1], &[UNKNOWN as f32]);
        self.graph.node("Greater", &[value, &low], &above, Vec::new());
        self.graph.node("Less", &[value, &high], &below, Vec::new());
        self.graph.node("And", &[&above, &below], &is_token, Vec::new());
        self.graph.node("Where", &[&is_token, value, &unknown], &known, Vec::new());
        self.graph.node("Cast", &[&known], &rows, vec![integer("to", INT64)]);
        rows
    }
}
