//! The encoding of a table's columns, and the scale of a regression, as nodes of a graph.

use super::Writer;
use super::graph::{DOUBLE, FLOAT, Graph, integer};
use crate::layers::{Bend, Encoding};

/// A deviation as a part of the mean from which on 32 bits have at least 8,000 steps for it.
const LEAST_SPREAD: f64 = 5e-4;

impl Graph {
    /// `y = x · deviation + mean`; in 64 bits if those of 32 are [too coarse](is_wide).
    pub(super) fn destandardize(&mut self, numbers: [f64; 2], value: &str, output: &str) {
        let [scale, offset, wide, scaled] =
            ["scale", "offset", "wide", "scaled"].map(|part| format!("{output}.{part}"));
        let [mean, deviation] = numbers;
        let mut value = value;
        if is_wide(numbers) {
            self.wide_constant(&scale, deviation);
            self.wide_constant(&offset, mean);
            self.node("Cast", &[value], &wide, vec![integer("to", DOUBLE)]);
            value = &wide;
        } else {
            self.constant(&scale, &[], &[deviation as f32]);
            self.constant(&offset, &[], &[mean as f32]);
        }
        self.node("Mul", &[value, &scale], &scaled, Vec::new());
        self.node("Add", &[&scaled, &offset], output, Vec::new());
    }
}

/// Returns true if numbers of this mean and deviation need 64 bits: those of 32 lose their differences, or do not reach so
/// far.
pub(super) fn is_wide([mean, deviation]: [f64; 2]) -> bool {
    deviation < mean.abs() * LEAST_SPREAD || !(mean as f32).is_finite() || !(deviation as f32).is_normal()
}

impl Writer<'_> {
    /// `[N, columns]` → the numbers that [`LayerSpec::Encode`](crate::layers::LayerSpec::Encode) says, in the
    /// same order: numbers, what is missing, bent numbers, moments, categories, texts.
    pub(super) fn encode(&mut self, columns: &[Encoding], value: &str, output: &str) {
        let (mut numbers, mut means, mut deviations) = (Vec::new(), Vec::new(), Vec::new());
        let (mut told, mut sources, mut categories) = (Vec::new(), Vec::new(), Vec::new());
        let (mut moments, mut bent, mut bags) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = 0;
        for column in columns {
            let index = next;
            next += column.elements();
            match column {
                Encoding::Standard { mean, deviation, tells_missing, bent: bend } => {
                    bent.extend(bend.map(|bend| (index as i64, bend)));
                    numbers.push(index as i64);
                    means.push(*mean);
                    deviations.push(*deviation);
                    told.extend(tells_missing.then_some(index as i64));
                }
                Encoding::Moment { mean, deviation, periods } => {
                    moments.push((index as i64, *mean, *deviation, periods.as_slice()));
                }
                Encoding::OneHot { categories: count } => {
                    sources.extend(std::iter::repeat_n(index as i64, *count));
                    categories.extend((0..*count).map(|category| category as f32));
                }
                Encoding::Bag { grams, tokens, .. } => bags.push((index..index + grams, *tokens)),
            }
        }
        let mut parts = Vec::new();
        if !numbers.is_empty() {
            parts.push(self.scaled(value, &numbers, [&means, &deviations], output));
        }
        if !told.is_empty() {
            parts.push(self.told(value, &told, output));
        }
        if !bent.is_empty() {
            let name = format!("{output}.bent");
            self.bend(value, &bent, &name);
            parts.push(name);
        }
        for (place, (column, mean, deviation, periods)) in moments.into_iter().enumerate() {
            let name = format!("{output}.moment{place}");
            self.moment(value, column, (mean, deviation), periods, &name);
            parts.push(name);
        }
        if !sources.is_empty() {
            parts.push(self.one_hot(value, &sources, &categories, output));
        }
        for (place, (elements, tokens)) in bags.into_iter().enumerate() {
            let [picked, name] = ["grams", "text"].map(|part| format!("{output}.{part}{place}"));
            self.pick(value, &elements.map(|element| element as i64).collect::<Vec<_>>(), &picked);
            self.bag(tokens, &picked, &name);
            parts.push(name);
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.graph.node("Concat", &parts, output, vec![integer("axis", 1)]);
        output.clone_into(&mut self.encoded);
    }

    /// For each of these columns, 1 where its number is missing.
    fn told(&mut self, value: &str, places: &[i64], output: &str) -> String {
        let [picked, is_missing, tells] = ["told", "told_missing", "tells"].map(|part| format!("{output}.{part}"));
        self.pick(value, places, &picked);
        self.graph.node("IsNaN", &[&picked], &is_missing, Vec::new());
        self.graph.node("Cast", &[&is_missing], &tells, vec![integer("to", FLOAT)]);
        tells
    }

    /// For each of these columns, 1 where it holds the category of the same place.
    fn one_hot(&mut self, value: &str, places: &[i64], categories: &[f32], output: &str) -> String {
        let [picked, all, is_it, one_hot] =
            ["texts", "categories", "is_category", "one_hot"].map(|part| format!("{output}.{part}"));
        self.pick(value, places, &picked);
        self.graph.constant(&all, &[1, categories.len()], categories);
        self.graph.node("Equal", &[&picked, &all], &is_it, Vec::new());
        self.graph.node("Cast", &[&is_it], &one_hot, vec![integer("to", FLOAT)]);
        one_hot
    }

    /// Columns of numbers, each by its mean and deviation; a missing number is its mean.
    fn scaled(&mut self, value: &str, places: &[i64], [means, deviations]: [&[f32]; 2], output: &str) -> String {
        let [picked, is_missing, mean, deviation, known, centred, scaled] =
            ["numbers", "missing", "mean", "deviation", "known", "centred", "scaled"]
                .map(|part| format!("{output}.{part}"));
        self.pick(value, places, &picked);
        self.graph.constant(&mean, &[1, means.len()], means);
        self.graph.constant(&deviation, &[1, deviations.len()], deviations);
        self.graph.node("IsNaN", &[&picked], &is_missing, Vec::new());
        self.graph.node("Where", &[&is_missing, &mean, &picked], &known, Vec::new());
        self.graph.node("Sub", &[&known, &mean], &centred, Vec::new());
        self.graph.node("Div", &[&centred, &deviation], &scaled, Vec::new());
        scaled
    }

    /// Columns of numbers as [`Bend::of`] says.
    fn bend(&mut self, value: &str, columns: &[(i64, Bend)], output: &str) {
        let of = |part: &str| format!("{output}.{part}");
        let [picked, is_missing, known, centred, scaled] = ["picked", "missing", "known", "centred", "scaled"].map(of);
        let [size, part, divisor] = ["size", "part", "divisor"].map(of);
        let [median, spread, share, one] = ["median", "spread", "share", "one"].map(of);
        let places: Vec<i64> = columns.iter().map(|(place, _)| *place).collect();
        let medians: Vec<f32> = columns.iter().map(|(_, bend)| bend.median).collect();
        let spreads: Vec<f32> = columns.iter().map(|(_, bend)| bend.spread).collect();
        self.pick(value, &places, &picked);
        self.graph.constant(&median, &[1, places.len()], &medians);
        self.graph.constant(&spread, &[1, places.len()], &spreads);
        self.graph.constant(&share, &[1, 1], &[Bend::SHARE]);
        self.graph.constant(&one, &[1, 1], &[1.0]);
        self.graph.node("IsNaN", &[&picked], &is_missing, Vec::new());
        self.graph.node("Where", &[&is_missing, &median, &picked], &known, Vec::new());
        self.graph.node("Sub", &[&known, &median], &centred, Vec::new());
        self.graph.node("Div", &[&centred, &spread], &scaled, Vec::new());
        self.graph.node("Abs", &[&scaled], &size, Vec::new());
        self.graph.node("Mul", &[&size, &share], &part, Vec::new());
        self.graph.node("Add", &[&part, &one], &divisor, Vec::new());
        self.graph.node("Div", &[&scaled, &divisor], output, Vec::new());
    }

    /// A column of dates or times in days as its distance from the mean, whether it is missing, and its phases.
    fn moment(&mut self, value: &str, column: i64, (mean, deviation): (f32, f32), periods: &[f32], output: &str) {
        let part = |part: &str| format!("{output}.{part}");
        let [picked, is_missing, tells] = ["days", "missing", "tells"].map(part);
        let [mean_name, deviation_name, known, centred, scaled] =
            ["mean", "deviation", "known", "centred", "scaled"].map(part);
        self.pick(value, &[column], &picked);
        self.graph.constant(&mean_name, &[1, 1], &[mean]);
        self.graph.constant(&deviation_name, &[1, 1], &[deviation]);
        self.graph.node("IsNaN", &[&picked], &is_missing, Vec::new());
        self.graph.node("Cast", &[&is_missing], &tells, vec![integer("to", FLOAT)]);
        self.graph.node("Where", &[&is_missing, &mean_name, &picked], &known, Vec::new());
        self.graph.node("Sub", &[&known, &mean_name], &centred, Vec::new());
        self.graph.node("Div", &[&centred, &deviation_name], &scaled, Vec::new());
        let mut parts = vec![scaled, tells];
        if !periods.is_empty() {
            let [present, one] = ["present", "one"].map(part);
            self.graph.constant(&one, &[1, 1], &[1.0]);
            self.graph.node("Sub", &[&one, &parts[1]], &present, Vec::new());
            for (place, period) in periods.iter().enumerate() {
                let of = |name: &str| part(&format!("period{place}.{name}"));
                let [length, tau, turns, whole, before, since, share, phase] =
                    ["length", "tau", "turns", "whole", "before", "since", "share", "phase"].map(of);
                self.graph.constant(&length, &[1, 1], &[*period]);
                self.graph.constant(&tau, &[1, 1], &[std::f32::consts::TAU]);
                self.graph.node("Div", &[&known, &length], &turns, Vec::new());
                self.graph.node("Floor", &[&turns], &whole, Vec::new());
                self.graph.node("Mul", &[&whole, &length], &before, Vec::new());
                self.graph.node("Sub", &[&known, &before], &since, Vec::new());
                self.graph.node("Div", &[&since, &length], &share, Vec::new());
                self.graph.node("Mul", &[&share, &tau], &phase, Vec::new());
                for operator in ["Sin", "Cos"] {
                    let [wave, kept] = ["", ".kept"].map(|end| of(&format!("{}{end}", operator.to_lowercase())));
                    self.graph.node(operator, &[&phase], &wave, Vec::new());
                    self.graph.node("Mul", &[&wave, &present], &kept, Vec::new());
                    parts.push(kept);
                }
            }
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::engine::Plan;
    use crate::layers::{Architecture, Bend, Encoding, LayerSpec};
    use crate::tensor::Tensor;
    use crate::trainer::export::{LOGITS, to_onnx};
    use crate::trainer::members::mean_logits;
    use crate::trainer::network::Network;

    /// Returns how far the exported graph is from the trainer in each number that stands for a row, relative to the number
    /// where that is above 1.
    fn differences(columns: Vec<Encoding>, rows: &[f32]) -> Vec<f32> {
        let elements = columns.iter().map(Encoding::elements).sum();
        let (input, shape) = (vec![elements], vec![rows.len() / elements, elements]);
        let network = Network::new(&Architecture { input, layers: vec![LayerSpec::Encode { columns }] }, 1).unwrap();
        let plan = Plan::load(&to_onnx(&network, "columns").unwrap()).unwrap();
        let place = plan.signature().outputs.iter().position(|output| output.name == LOGITS).unwrap();
        let outputs = plan.session().unwrap().run(&[Tensor::new(shape, rows.to_vec()).unwrap()]).unwrap();
        let trained = mean_logits(&[network], rows).unwrap();
        let served = outputs[place].floats().unwrap();
        assert_eq!(served.len(), trained.len());
        served.iter().zip(&trained).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).collect()
    }

    #[test]
    fn phases_of_days_decades_apart_are_those_of_training() {
        let days: Vec<f32> = (0..40_000).map(|day| day as f32).chain([f32::NAN]).collect();
        let column = Encoding::Moment { mean: 20_000.0, deviation: 11_547.0, periods: vec![365.2425, 7.0, 1.0] };
        let worst = differences(vec![column], &days).into_iter().fold(0.0, f32::max);
        assert!(worst < 2e-5, "{worst:e}");
    }

    #[test]
    fn texts_are_those_of_training_wherever_their_columns_are() {
        let text = |grams, tokens| Encoding::Bag { grams, tokens, units: 3 };
        let number = Encoding::Standard { mean: 1.0, deviation: 2.0, tells_missing: true, bent: None };
        let columns = vec![number.clone(), text(3, 9), Encoding::OneHot { categories: 2 }, text(2, 5), number];
        let row = [4.0, 0.0, 3.0, 8.0, 1.0, 4.0, 4.0, f32::NAN];
        let missing = [f32::NAN, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.5];
        let strange = [0.0, 9.0, f32::NAN, -7.0, f32::NAN, 5.0, 1e30, 1e9];
        let differences = differences(columns, &[row, missing, strange].concat());
        assert_eq!(differences.len(), 3 * (4 + 2 + 6));
        assert!(differences.iter().all(|difference| *difference < 1e-6), "{differences:?}");
    }

    proptest! {
        #[test]
        fn numbers_of_any_size_are_those_of_training(
            mean in -1e9f32..1e9, scale in -6f32..9.0, steps in prop::collection::vec(prop::option::of(-30f32..30.0), 1..20)
        ) {
            let deviation = 10f32.powf(scale);
            let rows: Vec<f32> = steps.iter().map(|step| step.map_or(f32::NAN, |step| mean + step * deviation)).collect();
            let bent = Some(Bend { median: mean, spread: deviation });
            let column = Encoding::Standard { mean, deviation, tells_missing: true, bent };
            let worst = differences(vec![column], &rows).into_iter().fold(0.0, f32::max);
            prop_assert!(worst < 1e-6, "{worst:e}");
        }
    }
}
