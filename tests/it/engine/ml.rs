//! The operators of `ai.onnx.ml` in both engines: random models must get the same answers.

use prost::Message as _;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto, attribute_proto::AttributeType};
use weir::engine::{EngineKind, Engines};
use weir::tensor::{Data, Tensor};

use super::onnxruntime;
use crate::fixtures::{Edge, model};

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const STRING: i32 = 8;
const DOUBLE: i32 = 11;

/// A source of small numbers.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number from -1 to 1 in steps of a quarter.
    fn number(&mut self) -> f32 {
        self.below(9) as f32 / 4.0 - 1.0
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}

/// An attribute of a node.
enum Value {
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
    Int(i64),
    Float(f32),
    Text(&'static str),
    Tensor(Box<TensorProto>),
}

fn ml_node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<(&str, Value)>) -> NodeProto {
    let attribute = |(name, value): (&str, Value)| {
        let empty = AttributeProto { name: name.into(), ..AttributeProto::default() };
        let of = |kind: AttributeType, attribute: AttributeProto| AttributeProto { r#type: kind as i32, ..attribute };
        match value {
            Value::Ints(ints) => of(AttributeType::Ints, AttributeProto { ints, ..empty }),
            Value::Floats(floats) => of(AttributeType::Floats, AttributeProto { floats, ..empty }),
            Value::Int(i) => of(AttributeType::Int, AttributeProto { i, ..empty }),
            Value::Float(f) => of(AttributeType::Float, AttributeProto { f, ..empty }),
            Value::Text(text) => of(AttributeType::String, AttributeProto { s: text.into(), ..empty }),
            Value::Tensor(tensor) => of(AttributeType::Tensor, AttributeProto { t: Some(*tensor), ..empty }),
            Value::Texts(texts) => {
                let strings = texts.into_iter().map(String::into_bytes).collect();
                of(AttributeType::Strings, AttributeProto { strings, ..empty })
            }
        }
    };
    NodeProto {
        op_type: operator.into(),
        domain: "ai.onnx.ml".into(),
        name: format!("the-{operator}"),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: outputs.iter().map(|&output| output.into()).collect(),
        attribute: attributes.into_iter().map(attribute).collect(),
        ..NodeProto::default()
    }
}

/// Both engines on one file.
struct Both(Engines);

impl Both {
    fn new() -> Option<Self> {
        onnxruntime().map(|library| Self(Engines::new(Some(library))))
    }

    /// Asserts that both engines give the same outputs.
    fn agree(&self, file: &[u8], inputs: &[Tensor], what: &str) {
        let run = |engine| {
            let plan = self.0.load(engine, file).unwrap_or_else(|error| panic!("{what}: {error}"));
            plan.session().unwrap().run(inputs).unwrap_or_else(|error| panic!("{what}: {error:?}"))
        };
        let (ours, theirs) = (run(EngineKind::Tract), run(EngineKind::OnnxRuntime));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.shape(), theirs.shape(), "{what}");
            match (ours.data(), theirs.data()) {
                (Data::Float32(a), Data::Float32(b)) => {
                    let near = |(a, b): (&f32, &f32)| {
                        (a - b).abs() <= 1e-5 * a.abs().max(1.0) || a == b || (a.is_nan() && b.is_nan())
                    };
                    assert!(a.iter().zip(b).all(near), "{what}\nours   {a:?}\ntheirs {b:?}\n{inputs:?}");
                }
                (Data::Float64(a), Data::Float64(b)) => {
                    let near = |(a, b): (&f64, &f64)| {
                        (a - b).abs() <= 1e-5 * a.abs().max(1.0) || a == b || (a.is_nan() && b.is_nan())
                    };
                    assert!(a.iter().zip(b).all(near), "{what}\nours   {a:?}\ntheirs {b:?}\n{inputs:?}");
                }
                (a, b) => assert_eq!(a, b, "{what}\n{inputs:?}"),
            }
        }
    }
}

/// The samples of a table of so many columns, some of them missing.
fn samples(noise: &mut Noise, dtype: i32, rows: usize, columns: usize) -> Tensor {
    let numbers: Vec<f32> =
        (0..rows * columns).map(|_| if noise.below(12) == 0 { f32::NAN } else { noise.number() }).collect();
    let data = match dtype {
        DOUBLE => Data::Float64(numbers.into_iter().map(f64::from).collect()),
        INT64 => Data::Int64(numbers.into_iter().map(|number| (number * 4.0) as i64).collect()),
        _ => Data::Float32(numbers),
    };
    Tensor::from_data(vec![rows, columns], data).unwrap()
}

/// The lists that describe random trees.
#[derive(Default)]
struct Lists {
    trees: Vec<i64>,
    ids: Vec<i64>,
    columns: Vec<i64>,
    modes: Vec<String>,
    values: Vec<f32>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_ids: Vec<i64>,
    targets: Vec<i64>,
    weights: Vec<f32>,
}

const COLUMNS: usize = 3;

impl Lists {
    /// Appends a tree of which node `id` is the root, and returns the next free node.
    fn grow(&mut self, noise: &mut Noise, tree: i64, id: i64, depth: usize, modes: &[&str], targets: &[i64]) -> i64 {
        let is_leaf = depth == 0 || noise.below(5) == 0;
        let at = self.ids.len();
        self.trees.push(tree);
        self.ids.push(id);
        self.columns.push(if is_leaf { 0 } else { noise.below(COLUMNS) as i64 });
        self.modes.push(if is_leaf { "LEAF".into() } else { noise.one_of(modes).into() });
        self.values.push(if is_leaf { 0.0 } else { noise.number() });
        self.missing.push(i64::from(!is_leaf && noise.below(2) == 0));
        self.yes.push(0);
        self.no.push(0);
        if is_leaf {
            // A model of one target reads one weight of each leaf.
            let count = if targets.len() == 1 { 1 } else { 1 + noise.below(3) };
            for _ in 0..count {
                self.leaf_trees.push(tree);
                self.leaf_ids.push(id);
                self.targets.push(noise.one_of(targets));
                self.weights.push(noise.number());
            }
            return id + 1;
        }
        self.yes[at] = id + 1;
        self.no[at] = self.grow(noise, tree, id + 1, depth - 1, modes, targets);
        self.grow(noise, tree, self.no[at], depth - 1, modes, targets)
    }

    fn attributes(self, class: bool) -> Vec<(&'static str, Value)> {
        let [ids, node_ids, tree_ids, weights] = if class {
            ["class_ids", "class_nodeids", "class_treeids", "class_weights"]
        } else {
            ["target_ids", "target_nodeids", "target_treeids", "target_weights"]
        };
        vec![
            ("nodes_treeids", Value::Ints(self.trees)),
            ("nodes_nodeids", Value::Ints(self.ids)),
            ("nodes_featureids", Value::Ints(self.columns)),
            ("nodes_modes", Value::Texts(self.modes)),
            ("nodes_values", Value::Floats(self.values)),
            ("nodes_truenodeids", Value::Ints(self.yes)),
            ("nodes_falsenodeids", Value::Ints(self.no)),
            ("nodes_missing_value_tracks_true", Value::Ints(self.missing)),
            (ids, Value::Ints(self.targets)),
            (node_ids, Value::Ints(self.leaf_ids)),
            (tree_ids, Value::Ints(self.leaf_trees)),
            (weights, Value::Floats(self.weights)),
        ]
    }
}

const MODES: [&str; 6] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];

fn random_trees(noise: &mut Noise, targets: &[i64], is_positive: bool) -> Lists {
    let modes: Vec<&str> = if noise.below(2) == 0 { vec![noise.one_of(&MODES)] } else { MODES.to_vec() };
    let (mut lists, depth) = (Lists::default(), noise.below(5));
    for tree in 0..1 + noise.below(12) as i64 {
        lists.grow(noise, tree, 0, depth, &modes, targets);
    }
    if is_positive {
        lists.weights.iter_mut().for_each(|weight| *weight = weight.abs());
    }
    if lists.weights.is_empty() {
        lists.targets.push(targets[0]);
        lists.leaf_trees.push(0);
        lists.leaf_ids.push(lists.ids[lists.modes.iter().position(|mode| mode == "LEAF").unwrap()]);
        lists.weights.push(0.5);
    }
    lists
}

fn rows(noise: &mut Noise) -> usize {
    noise.one_of(&[1, 2, 7, 8, 9, 70])
}

#[test]
fn classifiers_of_trees_answer_alike_in_both() {
    let Some(both) = Both::new() else { return };
    for seed in 0..150 {
        let mut noise = Noise(seed);
        let classes = noise.one_of(&[2usize, 2, 2, 3, 4]);
        let all: Vec<i64> = (0..classes as i64).collect();
        let only = [noise.below(2) as i64];
        let targets = if classes == 2 && noise.below(3) > 0 { &only[..] } else { &all };
        let is_positive = noise.below(2) == 0;
        let lists = random_trees(&mut noise, targets, is_positive);
        // With two classes, both with weights, and one base value, ONNX Runtime leaves a score unset.
        let bases = match (classes, targets.len()) {
            (2, 1) => noise.below(3),
            _ => noise.below(2) * classes,
        };
        // With a lone probit of two classes, ONNX Runtime leaves the second score unset.
        let posts: &[&str] = if classes == 2 {
            &["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]
        } else {
            &["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
        };
        let post = noise.one_of(posts);
        let is_text = noise.below(2) == 0;
        let labels = match is_text {
            true => ("classlabels_strings", Value::Texts((0..classes).map(|class| format!("class {class}")).collect())),
            false => ("classlabels_int64s", Value::Ints((0..classes as i64).map(|class| class * 2 + 3).collect())),
        };
        let mut attributes = lists.attributes(true);
        attributes.extend([labels, ("post_transform", Value::Text(post))]);
        if bases > 0 {
            attributes.push(("base_values", Value::Floats(noise.numbers(bases))));
        }
        let dtype = noise.one_of(&[FLOAT, FLOAT, DOUBLE, INT64]);
        let dims: Option<&[&str]> = Some(&["N", "3"]);
        let outputs: [Edge<'_>; 2] = [("label", if is_text { STRING } else { INT64 }, None), ("scores", FLOAT, None)];
        let node = ml_node("TreeEnsembleClassifier", &["x"], &["label", "scores"], attributes);
        let file = model(&[("x", dtype, dims)], &outputs, vec![node], Vec::new(), 15);
        let count = rows(&mut noise);
        let input = samples(&mut noise, dtype, count, COLUMNS);
        let what = format!(
            "seed {seed}: {classes} classes, {bases} base values, {post}, targets {targets:?}, positive {is_positive}, type {dtype}"
        );
        both.agree(&file, &[input], &what);
    }
}

#[test]
fn regressors_of_trees_answer_alike_in_both() {
    let Some(both) = Both::new() else { return };
    for seed in 0..100 {
        let mut noise = Noise(seed + 1000);
        let targets = noise.one_of(&[1usize, 1, 2, 3]);
        let all: Vec<i64> = (0..targets as i64).collect();
        let lists = random_trees(&mut noise, &all, false);
        let aggregate = noise.one_of(&["SUM", "AVERAGE", "MIN", "MAX"]);
        let post = noise.one_of(&["NONE", "NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]);
        let mut attributes = lists.attributes(false);
        attributes.extend([
            ("n_targets", Value::Int(targets as i64)),
            ("aggregate_function", Value::Text(aggregate)),
            ("post_transform", Value::Text(post)),
        ]);
        if noise.below(2) == 0 {
            attributes.push(("base_values", Value::Floats(noise.numbers(targets))));
        }
        let dtype = noise.one_of(&[FLOAT, FLOAT, DOUBLE]);
        let node = ml_node("TreeEnsembleRegressor", &["x"], &["y"], attributes);
        let file = model(&[("x", dtype, Some(&["N", "3"]))], &[("y", FLOAT, None)], vec![node], Vec::new(), 15);
        let count = rows(&mut noise);
        let input = samples(&mut noise, dtype, count, COLUMNS);
        both.agree(&file, &[input], &format!("seed {seed}: {targets} targets, {aggregate}, {post}, type {dtype}"));
    }
}

/// Returns a tensor of numbers of 64 or 32 bits, or of bytes.
fn tensor(dtype: i32, numbers: &[f64]) -> TensorProto {
    let bytes = numbers.iter().flat_map(|number| match dtype {
        DOUBLE => number.to_le_bytes().to_vec(),
        FLOAT => (*number as f32).to_le_bytes().to_vec(),
        _ => vec![*number as u8],
    });
    TensorProto {
        dims: vec![numbers.len() as i64],
        data_type: dtype,
        raw_data: bytes.collect(),
        ..TensorProto::default()
    }
}

#[test]
fn ensembles_of_version_5_answer_alike_in_both() {
    const UINT8: i32 = 2;
    let Some(both) = Both::new() else { return };
    for seed in 0..60 {
        let mut noise = Noise(seed + 4000);
        let dtype = noise.one_of(&[FLOAT, DOUBLE]);
        let targets = 1 + noise.below(3);
        // Each tree is two nodes and three leaves. ONNX Runtime knows sets of whole numbers alone: there are none here.
        let (mut modes, mut splits) = (Vec::new(), Vec::new());
        let [mut columns, mut yes, mut no, mut yes_is_leaf, mut no_is_leaf, mut missing, mut roots] =
            [(); 7].map(|()| Vec::new());
        for tree in 0..1 + noise.below(9) as i64 {
            roots.push(2 * tree);
            for node in [2 * tree, 2 * tree + 1] {
                let mode = noise.below(6);
                modes.push(mode as f64);
                splits.push(f64::from(noise.number()));
                columns.push(noise.below(COLUMNS) as i64);
                missing.push(noise.below(2) as i64);
                let is_root = node % 2 == 0;
                yes_is_leaf.push(i64::from(!is_root));
                yes.push(if is_root { node + 1 } else { 3 * tree });
                no_is_leaf.push(1);
                no.push(if is_root { 3 * tree + 1 } else { 3 * tree + 2 });
            }
        }
        let leaves = 3 * roots.len();
        // ONNX Runtime exchanges the numbers of SOFTMAX and LOGISTIC.
        let (aggregate, post) = (noise.below(4) as i64, noise.one_of(&[0i64, 0, 3, 4]));
        let weights: Vec<f64> = noise.numbers(leaves).into_iter().map(f64::from).collect();
        let attributes = vec![
            ("n_targets", Value::Int(targets as i64)),
            ("aggregate_function", Value::Int(aggregate)),
            ("post_transform", Value::Int(post)),
            ("leaf_targetids", Value::Ints((0..leaves).map(|_| noise.below(targets) as i64).collect())),
            ("leaf_weights", Value::Tensor(Box::new(tensor(dtype, &weights)))),
            ("nodes_modes", Value::Tensor(Box::new(tensor(UINT8, &modes)))),
            ("nodes_splits", Value::Tensor(Box::new(tensor(dtype, &splits)))),
            ("nodes_featureids", Value::Ints(columns)),
            ("nodes_truenodeids", Value::Ints(yes)),
            ("nodes_falsenodeids", Value::Ints(no)),
            ("nodes_trueleafs", Value::Ints(yes_is_leaf)),
            ("nodes_falseleafs", Value::Ints(no_is_leaf)),
            ("nodes_missing_value_tracks_true", Value::Ints(missing)),
            ("tree_roots", Value::Ints(roots)),
        ];
        let node = ml_node("TreeEnsemble", &["x"], &["y"], attributes);
        let file = model(&[("x", dtype, Some(&["N", "3"]))], &[("y", dtype, None)], vec![node], Vec::new(), 15);
        let mut file = ModelProto::decode(&*file).unwrap();
        file.opset_import.iter_mut().filter(|opset| opset.domain == "ai.onnx.ml").for_each(|opset| opset.version = 5);
        let count = rows(&mut noise);
        let input = samples(&mut noise, dtype, count, COLUMNS);
        let what = format!(
            "seed {seed}: {targets} targets, aggregate {aggregate}, transform {post}, type {dtype}, modes {modes:?}"
        );
        both.agree(&file.encode_to_vec(), &[input], &what);
    }
}

#[test]
fn linear_models_answer_alike_in_both() {
    let Some(both) = Both::new() else { return };
    for seed in 0..60 {
        let mut noise = Noise(seed + 2000);
        let dtype = noise.one_of(&[FLOAT, FLOAT, DOUBLE, INT64]);
        let post = noise.one_of(&["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]);
        let classes = noise.one_of(&[2usize, 3]);
        let scores = if classes == 2 { 1 + noise.below(2) } else { classes };
        let attributes = vec![
            ("classlabels_ints", Value::Ints((0..classes as i64).map(|class| 5 - class).collect())),
            ("coefficients", Value::Floats(noise.numbers(scores * COLUMNS))),
            ("intercepts", Value::Floats(noise.numbers(scores))),
            ("post_transform", Value::Text(post)),
        ];
        let node = ml_node("LinearClassifier", &["x"], &["label", "scores"], attributes);
        let outputs: [Edge<'_>; 2] = [("label", INT64, None), ("scores", FLOAT, None)];
        let file = model(&[("x", dtype, Some(&["N", "3"]))], &outputs, vec![node], Vec::new(), 15);
        let input = samples(&mut noise, dtype, 5, COLUMNS);
        both.agree(&file, &[input], &format!("seed {seed}: {classes} classes, {scores} scores, {post}"));

        let targets = 1 + noise.below(3);
        let attributes = vec![
            ("targets", Value::Int(targets as i64)),
            ("coefficients", Value::Floats(noise.numbers(targets * COLUMNS))),
            ("intercepts", Value::Floats(noise.numbers(targets))),
            ("post_transform", Value::Text(post)),
        ];
        let node = ml_node("LinearRegressor", &["x"], &["y"], attributes);
        let file = model(&[("x", FLOAT, Some(&["N", "3"]))], &[("y", FLOAT, None)], vec![node], Vec::new(), 15);
        let input = samples(&mut noise, FLOAT, 5, COLUMNS);
        both.agree(&file, &[input], &format!("seed {seed}: {targets} targets, {post}"));
    }
}

#[test]
fn support_vector_machines_answer_alike_in_both() {
    let Some(both) = Both::new() else { return };
    for seed in 0..80 {
        let mut noise = Noise(seed + 3000);
        let kernel = noise.one_of(&["LINEAR", "POLY", "RBF", "SIGMOID"]);
        let parameters = Value::Floats(vec![0.5, 0.25, noise.one_of(&[1.0, 2.0, 3.0])]);
        let post = noise.one_of(&["NONE", "LOGISTIC", "SOFTMAX"]);
        let classes = noise.one_of(&[2usize, 3, 4]);
        let pairs = classes * (classes - 1) / 2;
        let per_class: Vec<i64> = (0..classes).map(|_| 1 + noise.below(3) as i64).collect();
        let vectors = per_class.iter().sum::<i64>() as usize;
        let mut attributes = vec![
            ("classlabels_strings", Value::Texts((0..classes).map(|class| format!("c{class}")).collect())),
            ("kernel_type", Value::Text(kernel)),
            ("kernel_params", parameters),
            ("post_transform", Value::Text(post)),
        ];
        if noise.below(3) > 0 {
            attributes.extend([
                ("vectors_per_class", Value::Ints(per_class)),
                ("support_vectors", Value::Floats(noise.numbers(vectors * COLUMNS))),
                ("coefficients", Value::Floats(noise.numbers((classes - 1) * vectors))),
                ("rho", Value::Floats(noise.numbers(pairs))),
            ]);
            if noise.below(2) == 0 {
                attributes.push(("prob_a", Value::Floats((0..pairs).map(|_| noise.number() - 1.5).collect())));
                attributes.push(("prob_b", Value::Floats(noise.numbers(pairs))));
            }
        } else {
            attributes.push(("coefficients", Value::Floats(noise.numbers(classes * COLUMNS))));
            attributes.push(("rho", Value::Floats(noise.numbers(1))));
        }
        let node = ml_node("SVMClassifier", &["x"], &["label", "scores"], attributes);
        let outputs: [Edge<'_>; 2] = [("label", STRING, None), ("scores", FLOAT, None)];
        let file = model(&[("x", FLOAT, Some(&["N", "3"]))], &outputs, vec![node], Vec::new(), 15);
        let input = Tensor::new(vec![4, COLUMNS], noise.numbers(4 * COLUMNS)).unwrap();
        both.agree(&file, &[input], &format!("seed {seed}: {classes} classes, {kernel}, {post}"));

        let attributes = vec![
            ("kernel_type", Value::Text(kernel)),
            ("kernel_params", Value::Floats(vec![0.5, 0.25, 2.0])),
            ("n_supports", Value::Int(vectors as i64)),
            ("support_vectors", Value::Floats(noise.numbers(vectors * COLUMNS))),
            ("coefficients", Value::Floats(noise.numbers(vectors))),
            ("rho", Value::Floats(noise.numbers(1))),
            ("one_class", Value::Int(noise.below(2) as i64)),
        ];
        let node = ml_node("SVMRegressor", &["x"], &["y"], attributes);
        let file = model(&[("x", FLOAT, Some(&["N", "3"]))], &[("y", FLOAT, None)], vec![node], Vec::new(), 15);
        let input = Tensor::new(vec![4, COLUMNS], noise.numbers(4 * COLUMNS)).unwrap();
        both.agree(&file, &[input], &format!("seed {seed}: {kernel}"));
    }
}

#[test]
fn columns_and_categories_answer_alike_in_both() {
    let Some(both) = Both::new() else { return };
    let mut noise = Noise(7);
    let one = |operator: &str, attributes: Vec<(&str, Value)>, from: i32, to: i32, input: Tensor| {
        let node = ml_node(operator, &["x"], &["y"], attributes);
        let file = model(&[("x", from, Some(&["N", "3"]))], &[("y", to, None)], vec![node], Vec::new(), 15);
        both.agree(&file, &[input], operator);
    };
    for dtype in [FLOAT, DOUBLE, INT64] {
        let scale =
            || vec![("offset", Value::Floats(vec![0.5, 1.0, -1.0])), ("scale", Value::Floats(vec![2.0, 0.1, 3.0]))];
        let mut input = || samples(&mut noise, dtype, 4, 3);
        one("Scaler", scale(), dtype, FLOAT, input());
        for norm in ["MAX", "L1", "L2"] {
            one("Normalizer", vec![("norm", Value::Text(norm))], dtype, FLOAT, input());
        }
    }
    let imputed = vec![
        ("imputed_value_floats", Value::Floats(vec![1.0, 2.0, 3.0])),
        ("replaced_value_float", Value::Float(f32::NAN)),
    ];
    one("Imputer", imputed, FLOAT, FLOAT, samples(&mut noise, FLOAT, 9, 3));
    let imputed = vec![("imputed_value_int64s", Value::Ints(vec![9])), ("replaced_value_int64", Value::Int(0))];
    one("Imputer", imputed, INT64, INT64, samples(&mut noise, INT64, 9, 3));
    let numbers = Tensor::new(vec![2, 3], noise.numbers(6)).unwrap();
    one("Binarizer", vec![("threshold", Value::Float(0.25))], FLOAT, FLOAT, numbers);
    let texts = |texts: [&str; 3]| Tensor::new(vec![1, 3], texts.map(str::to_owned).to_vec()).unwrap();
    let names = |names: &[&str]| Value::Texts(names.iter().map(|&name| name.to_owned()).collect());
    one("OneHotEncoder", vec![("cats_strings", names(&["a", "ä", "c"]))], STRING, FLOAT, texts(["ä", "", "c"]));
    one(
        "OneHotEncoder",
        vec![("cats_int64s", Value::Ints(vec![-4, 0, 2]))],
        INT64,
        FLOAT,
        samples(&mut noise, INT64, 9, 3),
    );
    let keys = || vec![("keys_strings", names(&["a", "b", "a"]))];
    let mut to_integers = keys();
    to_integers.extend([("values_int64s", Value::Ints(vec![4, 5, 6])), ("default_int64", Value::Int(-7))]);
    one("LabelEncoder", to_integers, STRING, INT64, texts(["a", "b", "?"]));
    let mut to_floats = keys();
    to_floats.push(("values_floats", Value::Floats(vec![0.5, 1.5, 2.5])));
    one("LabelEncoder", to_floats, STRING, FLOAT, texts(["b", "a", "?"]));
    let to_texts = vec![("keys_int64s", Value::Ints(vec![0, 1])), ("values_strings", names(&["zero", "one"]))];
    one("LabelEncoder", to_texts, INT64, STRING, Tensor::new(vec![1, 3], vec![1i64, 0, 9]).unwrap());
}
