//! Example inputs for graphs whose shapes are open: sizes that a client could choose, and elements for them.
//!
//! Zeros in dimensions of 1 are no example: a network of strides has nothing left of them, and a division by
//! zero fails. So sizes come from who knows them, or else from a ladder of common ones; no element is zero
//! unless whole numbers have to be.

use std::collections::{BTreeMap, BTreeSet};

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::signature::{BATCH, DType, Dim, Signature, TensorSpec};
use crate::tensor::{Data, Tensor};

/// Sizes of open dimensions in the order of guessing: those of most sequences and images first, the dear ones last.
const LADDER: [usize; 30] = [
    32, 64, 16, 8, 4, 2, 1, 128, 224, 256, 512, 3, 5, 6, 7, 10, 12, 24, 28, 48, 96, 100, 160, 320, 384, 640, 1024,
    2048, 8192, 16_000,
];

/// Numbers of channels of images.
const CHANNELS: [usize; 2] = [3, 1];

/// Ranges of whole numbers in the order of guessing. They are divisors, indices and lengths as often as quantities.
const RANGES: [(u8, u8); 4] = [(1, 3), (1, 1), (0, 1), (0, 0)];

/// The most elements in the inputs of a guess.
const MAX_ELEMENTS: usize = 1 << 22;

/// Knowledge of a graph's inputs beyond its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// Set if the first dimension of every tensor is declared to be the batch, whatever the graph calls it.
    pub batched: bool,
    /// Shapes of inputs by name, with or without the batch. A negative size is not known.
    pub examples: Vec<BTreeMap<String, Vec<i64>>>,
    /// The samples that the settings let into a run, if they say so.
    #[serde(default)]
    pub largest: Option<usize>,
}

impl Hints {
    /// Returns true if nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the inputs of a graph, with the batch called so where that is declared.
    pub(super) fn specs(&self, signature: &Signature) -> Vec<TensorSpec> {
        let mut specs = signature.inputs.clone();
        for first in specs.iter_mut().filter_map(|spec| spec.shape.first_mut()).filter(|_| self.batched) {
            if let Dim::Symbol(_) = first {
                *first = Dim::Symbol(BATCH.into());
            }
        }
        specs
    }
}

/// The elements of example inputs: the same numbers for the same draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub(super) seed: u64,
    /// The range of whole numbers, with both ends.
    pub(super) range: (u8, u8),
    /// The magnitude of floats.
    pub(super) scale: f32,
    /// Set if half of the floats are negative.
    pub(super) is_signed: bool,
}

/// Sizes and numbers that a graph has run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Sizes by symbol.
    sizes: BTreeMap<String, usize>,
    /// The range of whole numbers, with both ends.
    range: (u8, u8),
}

impl Example {
    /// Returns inputs of this example with `batch` samples, or as many as it ran on.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidInput`] when the number of elements of an input overflows.
    pub(super) fn inputs(&self, specs: &[TensorSpec], batch: Option<usize>) -> Result<Vec<Tensor>> {
        self.drawn(specs, batch, Draw { seed: 1, range: self.range, scale: 1.0, is_signed: false })
    }

    /// Returns inputs of the sizes of this example and elements of a draw.
    ///
    /// # Errors
    /// As [`Example::inputs`].
    pub(super) fn drawn(&self, specs: &[TensorSpec], batch: Option<usize>, draw: Draw) -> Result<Vec<Tensor>> {
        let input = |(index, spec): (usize, &TensorSpec)| {
            let shape = self.shape(spec, batch);
            // Refuses what cannot be counted before anything is filled.
            let count = Tensor::zeros(DType::Bool, shape.clone())?.data().len();
            let width = count.checked_div(shape.first().copied().unwrap_or(1)).unwrap_or(0).max(1);
            let seed = draw.seed.wrapping_mul(0x1000).wrapping_add(index as u64);
            Tensor::from_data(shape, elements(spec.dtype, count, width, Draw { seed, ..draw }))
        };
        specs.iter().enumerate().map(input).collect()
    }

    pub(super) fn range(&self) -> (u8, u8) {
        self.range
    }

    fn shape(&self, spec: &TensorSpec, batch: Option<usize>) -> Vec<usize> {
        let size = |dim: &Dim| match (dim, batch) {
            (Dim::Fixed(size), _) => *size,
            (dim, Some(batch)) if dim.is_batch() => batch,
            (Dim::Symbol(symbol), _) => self.size(symbol),
        };
        spec.shape.iter().map(size).collect()
    }

    /// Returns the size of a symbol, or of a sum of products of symbols and numbers.
    fn size(&self, symbol: &str) -> usize {
        let known = |symbol: &str| self.sizes.get(symbol).copied();
        let factor = |text: &str| known(text.trim()).or_else(|| text.trim().parse().ok()).unwrap_or(1);
        let product = |text: &str| text.split('*').map(factor).fold(1usize, usize::saturating_mul);
        known(symbol).unwrap_or_else(|| symbol.split('+').map(product).fold(0, usize::saturating_add))
    }

    fn is_affordable(&self, specs: &[TensorSpec]) -> bool {
        let elements = |spec: &TensorSpec| self.shape(spec, None).into_iter().fold(1usize, usize::saturating_mul);
        // A graph of fixed shapes is as large as it is.
        let is_open = specs.iter().any(|spec| spec.sample_shape().is_none());
        !is_open || specs.iter().map(elements).fold(0, usize::saturating_add) <= MAX_ELEMENTS
    }
}

/// An example of a graph with the inputs that it is for.
#[derive(Debug, Clone)]
pub struct ExampleInputs {
    specs: Vec<TensorSpec>,
    example: Example,
}

impl ExampleInputs {
    /// Returns the inputs of an example for a graph of this signature.
    pub fn new(signature: &Signature, hints: &Hints, example: Example) -> Self {
        Self { specs: hints.specs(signature), example }
    }

    /// Returns inputs with this many samples; a graph without a batch gets what it ran on.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidInput`] when the number of elements of an input overflows.
    pub fn of(&self, batch: Option<usize>) -> Result<Vec<Tensor>> {
        self.example.inputs(&self.specs, batch)
    }
}

/// Returns true if clients choose more than floats and the number of samples, so that a failure on guesses says
/// nothing about their requests.
pub(super) fn leaves_a_choice(specs: &[TensorSpec]) -> bool {
    // A short list of floats beside other inputs may hold scales.
    let may_be_sizes = |spec: &TensorSpec| spec.shape.len() <= 1 && specs.len() > 1;
    let is_chosen = |spec: &TensorSpec| (!spec.dtype.is_float() && spec.dtype != DType::Bool) || may_be_sizes(spec);
    specs.iter().any(is_chosen) || !symbols(specs).is_empty()
}

/// Returns the examples to try, the likeliest first, each with this many samples.
pub(super) fn guesses<'a>(
    specs: &'a [TensorSpec],
    hints: &'a Hints,
    batch: usize,
) -> impl Iterator<Item = Example> + 'a {
    let bases = hints.examples.iter().map(move |shapes| bound(specs, shapes)).chain(std::iter::once(BTreeMap::new()));
    let has_integers = specs.iter().any(|spec| !spec.dtype.is_float());
    let ranges = if has_integers { &RANGES[..] } else { &RANGES[..1] };
    let sizes = bases.flat_map(move |base| completed(specs, &base, batch));
    let examples =
        sizes.flat_map(move |sizes| ranges.iter().map(move |range| Example { sizes: sizes.clone(), range: *range }));
    examples.filter(move |example| example.is_affordable(specs))
}

/// Returns the sizes that the shapes of inputs give to symbols.
fn bound(specs: &[TensorSpec], shapes: &BTreeMap<String, Vec<i64>>) -> BTreeMap<String, usize> {
    let mut sizes = BTreeMap::new();
    for spec in specs {
        let Some(shape) = shapes.get(&spec.name) else { continue };
        let Some(offset) = spec.shape.len().checked_sub(shape.len()).filter(|offset| *offset <= 1) else { continue };
        for (dim, size) in spec.shape[offset..].iter().zip(shape) {
            if let (Dim::Symbol(symbol), Ok(size)) = (dim, usize::try_from(*size))
                && !dim.is_batch()
            {
                sizes.insert(symbol.clone(), size);
            }
        }
    }
    sizes
}

/// Returns `base` with a size for every other symbol: all of them alike, but for the channels of images.
fn completed(specs: &[TensorSpec], base: &BTreeMap<String, usize>, batch: usize) -> Vec<BTreeMap<String, usize>> {
    let mut base = base.clone();
    base.insert(BATCH.into(), batch);
    let open: Vec<String> = symbols(specs).into_iter().filter(|symbol| !base.contains_key(symbol)).collect();
    if open.is_empty() {
        return vec![base];
    }
    let channels = channels(specs);
    let mut all = Vec::new();
    for size in LADDER {
        let mut sizes = base.clone();
        sizes.extend(open.iter().map(|symbol| (symbol.clone(), size)));
        all.push(sizes.clone());
        for channel in channels.iter().filter(|channel| open.contains(channel)) {
            for count in CHANNELS {
                let mut sizes = sizes.clone();
                sizes.insert(channel.clone(), count);
                all.push(sizes);
            }
        }
    }
    all
}

/// Returns the symbols of inputs, apart from the batch.
fn symbols(specs: &[TensorSpec]) -> BTreeSet<String> {
    let parts = specs.iter().flat_map(|spec| &spec.shape).filter_map(|dim| match dim {
        Dim::Symbol(text) => Some(text.split(['+', '*']).map(str::trim)),
        Dim::Fixed(_) => None,
    });
    let is_symbol = |part: &&str| *part != BATCH && part.parse::<usize>().is_err();
    parts.flatten().filter(is_symbol).map(str::to_owned).collect()
}

/// Returns the symbols that may be the channels of images, which lie before or behind height and width.
fn channels(specs: &[TensorSpec]) -> Vec<String> {
    let images = specs.iter().filter(|spec| spec.shape.len() == 4);
    let ends = images.flat_map(|spec| [&spec.shape[1], &spec.shape[3]]);
    let symbol = |dim: &Dim| if let Dim::Symbol(symbol) = dim { Some(symbol.clone()) } else { None };
    ends.filter_map(symbol).collect()
}

/// Returns elements of which each row has a magnitude of its own, so that one that lends to its neighbour shows.
fn elements(dtype: DType, count: usize, width: usize, draw: Draw) -> Data {
    const MAGNITUDES: [f32; 5] = [1.0, 4.0, 0.25, 2.0, 0.5];
    let bits = |index: usize| scrambled(draw.seed.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let float = move |index: usize| {
        let bits = bits(index);
        // From 0 to 1 without 0.
        let share = ((bits >> 40) + 1) as f32 / 16_777_216.0;
        let sign = if draw.is_signed && bits & 1 == 1 { -1.0 } else { 1.0 };
        sign * share * draw.scale * MAGNITUDES[(index / width) % MAGNITUDES.len()]
    };
    let (low, high) = draw.range;
    let whole = move |index: usize| low + ((bits(index) >> 32) % (u64::from(high - low) + 1)) as u8;
    let all = 0..count;
    match dtype {
        DType::Bool => Data::Bool(all.map(|index| bits(index) >> 63 == 1).collect()),
        DType::Uint8 => Data::Uint8(all.map(whole).collect()),
        DType::Uint16 => Data::Uint16(all.map(|index| whole(index).into()).collect()),
        DType::Uint32 => Data::Uint32(all.map(|index| whole(index).into()).collect()),
        DType::Uint64 => Data::Uint64(all.map(|index| whole(index).into()).collect()),
        DType::Int8 => Data::Int8(all.map(|index| i8::try_from(whole(index)).unwrap_or(i8::MAX)).collect()),
        DType::Int16 => Data::Int16(all.map(|index| whole(index).into()).collect()),
        DType::Int32 => Data::Int32(all.map(|index| whole(index).into()).collect()),
        DType::Int64 => Data::Int64(all.map(|index| whole(index).into()).collect()),
        DType::Float16 => Data::Float16(all.map(|index| f16::from_f32(float(index))).collect()),
        DType::Bfloat16 => Data::Bfloat16(all.map(|index| bf16::from_f32(float(index))).collect()),
        DType::Float32 => Data::Float32(all.map(float).collect()),
        DType::Float64 => Data::Float64(all.map(|index| float(index).into()).collect()),
        DType::String => Data::String(all.map(|index| char::from(b'a' + whole(index) % 26).to_string()).collect()),
    }
}

/// The finaliser of SplitMix64.
fn scrambled(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, dtype: DType, dims: &[&str]) -> TensorSpec {
        let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed);
        TensorSpec { name: name.into(), dtype, shape: dims.iter().map(dim).collect() }
    }

    fn shapes(specs: &[TensorSpec], hints: &Hints) -> Vec<Vec<usize>> {
        guesses(specs, hints, 1).map(|guess| guess.inputs(specs, None).unwrap()[0].shape().to_vec()).collect()
    }

    #[test]
    fn guesses_are_as_many_as_there_is_to_guess() {
        let fixed = [spec("x", DType::Float32, &["N", "3"])];
        assert_eq!(shapes(&fixed, &Hints::default()), [[1, 3]]);
        assert!(!leaves_a_choice(&fixed));
        let ids = [spec("ids", DType::Int64, &["N", "L"])];
        assert_eq!(guesses(&ids, &Hints::default(), 1).count(), LADDER.len() * RANGES.len());
        let image = [spec("x", DType::Float32, &["N", "C", "H", "W"])];
        let seen = shapes(&image, &Hints::default());
        assert_eq!(seen[..3], [vec![1, 32, 32, 32], vec![1, 3, 32, 32], vec![1, 1, 32, 32]]);
        assert!(seen.contains(&vec![1, 3, 224, 224]) && !seen.contains(&vec![1, 1024, 1024, 1024]));
        assert!(leaves_a_choice(&image) && leaves_a_choice(&ids));
    }

    #[test]
    fn what_is_known_of_a_shape_comes_first_and_the_rest_is_guessed() {
        let image = [spec("x", DType::Float32, &["N", "3", "H", "W"])];
        let hints = |shape: &[i64]| Hints {
            examples: vec![[("x".into(), shape.to_vec())].into()],
            batched: false,
            largest: None,
        };
        assert_eq!(shapes(&image, &hints(&[2, 3, 480, 640]))[0], [1, 3, 480, 640]);
        assert_eq!(shapes(&image, &hints(&[3, 480, 640]))[..2], [[1, 3, 480, 640], [1, 3, 32, 32]]);
        assert_eq!(shapes(&image, &hints(&[3, 480, -1]))[0], [1, 3, 480, 32]);
        assert_eq!(shapes(&image, &hints(&[480]))[0], [1, 3, 32, 32], "another rank says nothing");
    }

    #[test]
    fn symbols_are_shared_and_sums_of_them_are_computed() {
        let specs = [spec("a", DType::Float32, &["seq", "past"]), spec("b", DType::Float32, &["past + seq", "2*seq"])];
        let sizes = [("seq".to_owned(), 3), ("past".to_owned(), 4)].into();
        let inputs = Example { sizes, range: (1, 3) }.inputs(&specs, None).unwrap();
        assert_eq!((inputs[0].shape(), inputs[1].shape()), (&[3, 4][..], &[7, 6][..]));
        assert_eq!(symbols(&specs).into_iter().collect::<Vec<_>>(), ["past", "seq"]);
    }

    #[test]
    fn no_element_is_zero_unless_the_range_says_so() {
        let specs: Vec<_> = [DType::Float32, DType::Float16, DType::Int64, DType::Uint8, DType::String]
            .map(|dtype| spec("x", dtype, &["N", "50"]))
            .into();
        let example = Example { sizes: BTreeMap::new(), range: (1, 3) };
        for is_signed in [false, true] {
            let draw = Draw { seed: 7, range: (1, 3), scale: 1.0, is_signed };
            let inputs = example.drawn(&specs, Some(9), draw).unwrap();
            let floats = inputs[0].floats().unwrap();
            assert!(floats.iter().all(|value| *value != 0.0 && value.is_finite()));
            assert_eq!(floats.iter().any(|value| *value < 0.0), is_signed);
            assert_ne!(inputs[0].slice_rows(0..1).data(), inputs[0].slice_rows(5..6).data());
            let Data::Int64(whole) = inputs[2].data() else { panic!() };
            assert!(whole.iter().all(|value| (1..=3).contains(value)) && whole.contains(&3));
        }
        let batched = Hints { batched: true, ..Hints::default() };
        let signature = Signature { inputs: vec![spec("x", DType::Bool, &["rows", "2"])], outputs: Vec::new() };
        assert!(batched.specs(&signature)[0].shape[0].is_batch());
    }
}
