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
        let mut table = self.parameter().clone();
        if self.is_blank {
            let units = table.shape[1];
            table.values[PADDING * units..][..units].fill(0.0);
        }
        self.constant(&table);
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

    /// `[N, steps]` → the sum of the rows of the table for the tokens that do not pad, each times its token's weight, divided
    /// by the length of the vector of these weights; zeros if all pad. The weights are in the table already, and a second
    /// one holds their squares.
    pub(super) fn weighted_bag(&mut self, tokens: usize, value: &str, output: &str) {
        let (mut table, rarities) = (self.parameter().clone(), self.statistic());
        let mut weights = rarities.values.clone();
        weights[PADDING] = 0.0;
        for (numbers, weight) in table.values.chunks_exact_mut(table.shape[1]).zip(&weights) {
            numbers.iter_mut().for_each(|number| *number *= weight);
        }
        let squares: Vec<f32> = weights.iter().map(|weight| weight * weight).collect();
        self.constant(&table);
        self.graph.constant(&rarities.name, &[tokens], &squares);
        let rows = self.token_rows(tokens, value, output);
        let [each, one, axes, sum, of_each, square, length, divisor] =
            ["each", "one", "axes", "sum", "squares", "square", "length", "divisor"]
                .map(|part| format!("{output}.{part}"));
        self.graph.constant(&one, &[1, 1], &[1.0]);
        self.graph.integers_constant(&axes, &[1]);
        self.graph.node("Gather", &[&table.name, &rows], &each, vec![integer("axis", 0)]);
        self.graph.node("ReduceSum", &[&each, &axes], &sum, vec![integer("keepdims", 0)]);
        self.graph.node("Gather", &[&rarities.name, &rows], &of_each, vec![integer("axis", 0)]);
        self.graph.node("ReduceSum", &[&of_each, &axes], &square, vec![integer("keepdims", 1)]);
        self.graph.node("Sqrt", &[&square], &length, Vec::new());
        self.graph.node("Max", &[&length, &one], &divisor, Vec::new());
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

#[cfg(test)]
mod tests {
    use crate::engine::Plan;
    use crate::layers::{Architecture, LayerSpec};
    use crate::tensor::Tensor;
    use crate::trainer::export::{LOGITS, to_onnx};
    use crate::trainer::network::Network;

    #[test]
    fn bags_in_the_graph_are_those_of_training() {
        let samples = [0.0, 5.0, 5.0, 2.0, 0.0, 0.0, 0.0, 0.0, 6.0, 3.0, 4.0, 6.0, 0.0, 7.0, f32::NAN, -1e9];
        for weighted in [false, true] {
            let first = LayerSpec::EmbeddingBag { tokens: 7, units: 3, weighted };
            let layers = vec![first, LayerSpec::Dense { units: 2 }];
            let mut network = Network::new(&Architecture { input: vec![4], layers }, 5).unwrap();
            network.set_rarities(&[8.0, 1.5, 1.0, 2.0, 6.5, 3.25, 1.75]);
            let plan = Plan::load(&to_onnx(&network, "bag").unwrap()).unwrap();
            let place = plan.signature().outputs.iter().position(|output| output.name == LOGITS).unwrap();
            let outputs = plan.session().unwrap().run(&[Tensor::new(vec![4, 4], samples.to_vec()).unwrap()]).unwrap();
            let trained = network.logits(&samples).unwrap();
            for (served, trained) in outputs[place].floats().unwrap().iter().zip(&trained) {
                assert!((served - trained).abs() < 1e-6, "{weighted}: {served} {trained}");
            }
        }
    }
}
