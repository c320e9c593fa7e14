//! From an output to one vector for each sample.

use super::outputs::{Fault, GraphOutputs, SampleOutput};
use crate::signature::{EmbeddingAnswer, Layout, Pool};

/// The reading of an output as a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedder {
    output: usize,
    kind: Kind,
    normalise: bool,
    said: String,
}

/// The content of the output for one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `[D]`
    Vector,
    /// `[T, D]`, of which one is made by a pool.
    Tokens(Pool),
    /// A map of features, averaged.
    Map(Layout),
}

impl Embedder {
    /// Resolves an answer against the outputs of a graph.
    ///
    /// # Errors
    /// A sentence that says what was found, and what to write.
    pub fn resolve(answer: &EmbeddingAnswer, outputs: GraphOutputs<'_>) -> Result<Self, String> {
        let output = match &answer.output {
            Some(name) => outputs.named(name)?,
            None => (0..outputs.len())
                .find(|output| outputs.spec(*output).dtype.is_float())
                .ok_or_else(|| format!("no output holds a vector; there are: {}", outputs.text()))?,
        };
        let (name, shape) = (&outputs.spec(output).name, outputs.spec(output).shape_text());
        let (kind, what) = match (outputs.rank(output), answer.pool) {
            (1, None) => (Kind::Vector, "a vector"),
            (2, Some(Pool::Mean)) => (Kind::Tokens(Pool::Mean), "vectors, of which the mean is taken"),
            (2, Some(Pool::First)) => (Kind::Tokens(Pool::First), "vectors, of which the first is taken"),
            (2, None) => {
                return Err(format!(
                    "output \"{name}\" {shape} holds several vectors; say pool = \"first\" (the class token) or \"mean\" in [answer]"
                ));
            }
            (3, Some(Pool::Mean) | None) => match answer.layout.unwrap_or(Layout::Nchw) {
                Layout::Nchw => (Kind::Map(Layout::Nchw), "a map of features, nchw, of which the mean is taken"),
                Layout::Nhwc => (Kind::Map(Layout::Nhwc), "a map of features, nhwc, of which the mean is taken"),
            },
            (_, pool) => {
                let pool = pool.map(|_| ", which cannot be pooled so").unwrap_or_default();
                return Err(format!("output \"{name}\" has the shape {shape}{pool}; name another output in [answer]"));
            }
        };
        let scaled = if answer.normalise { ", of length 1" } else { "" };
        let said = format!("output \"{name}\" is {what}{scaled}");
        Ok(Self { output, kind, normalise: answer.normalise, said })
    }

    /// Returns the sentence that says what is read how.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Returns true if the vector is made of vectors of tokens.
    pub fn is_of_tokens(&self) -> bool {
        matches!(self.kind, Kind::Tokens(_))
    }

    /// Returns the vector of a sample.
    ///
    /// # Errors
    /// [`Fault`] for NaN and infinities, and for an output that is not as said.
    pub fn embed(&self, outputs: &[SampleOutput<'_>]) -> Result<Vec<f32>, Fault> {
        self.embed_output(outputs[self.output])
    }

    /// Returns the vector of a sample, of whose vectors of tokens only those count that are kept; all do if `kept` is
    /// empty.
    ///
    /// # Errors
    /// As [`Embedder::embed`]; also [`Fault::Misfit`] when another number of tokens is told, or none of them is kept.
    pub fn embed_kept(&self, outputs: &[SampleOutput<'_>], kept: &[bool]) -> Result<Vec<f32>, Fault> {
        let output = outputs[self.output];
        if !self.is_of_tokens() || kept.is_empty() || kept.iter().all(|is_kept| *is_kept) {
            return self.embed_output(output);
        }
        let dims = output.dims::<2>().filter(|[tokens, _]| *tokens == kept.len() && kept.contains(&true));
        let misfit = || Fault::Misfit(format!("{} tokens have the vectors {:?}", kept.len(), output.shape));
        let [_, length] = dims.ok_or_else(misfit)?;
        let tokens = output.rows(length).zip(kept).filter(|(_, is_kept)| **is_kept);
        let data: Vec<f32> = tokens.flat_map(|(vector, _)| vector).copied().collect();
        self.embed_output(SampleOutput { shape: &[data.len() / length.max(1), length], data: &data })
    }

    fn embed_output(&self, output: SampleOutput<'_>) -> Result<Vec<f32>, Fault> {
        let misfit = || Fault::Misfit(format!("the embedding has the shape {:?}", output.shape));
        let mut vector = match self.kind {
            Kind::Vector => output.data.to_vec(),
            Kind::Tokens(pool) => {
                let [tokens, length] = output.dims::<2>().filter(|dims| !dims.contains(&0)).ok_or_else(misfit)?;
                let taken = if pool == Pool::First { 1 } else { tokens };
                mean(output.data, length, taken, [1, length])
            }
            Kind::Map(order) => {
                let dims = output.dims::<3>().filter(|dims| !dims.contains(&0)).ok_or_else(misfit)?;
                match (order, dims) {
                    (Layout::Nchw, [channels, height, width]) => {
                        mean(output.data, channels, height * width, [height * width, 1])
                    }
                    (Layout::Nhwc, [height, width, channels]) => {
                        mean(output.data, channels, height * width, [1, channels])
                    }
                }
            }
        };
        if vector.iter().any(|number| !number.is_finite()) {
            return Err(Fault::NotFinite);
        }
        if self.normalise {
            let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
            // A vector of zeros has no direction, and stays.
            if length > 0.0 {
                vector.iter_mut().for_each(|number| *number = (f64::from(*number) / length) as f32);
            }
        }
        Ok(vector)
    }
}

/// Returns the mean of `count` vectors of this length; neighbours in a vector and vectors are so far apart.
fn mean(data: &[f32], length: usize, count: usize, [within, between]: [usize; 2]) -> Vec<f32> {
    let sum = |place: usize| (0..count).map(|vector| f64::from(data[place * within + vector * between])).sum::<f64>();
    (0..length).map(|place| (sum(place) / count as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DType, Dim, Signature, TensorSpec};

    fn resolved(shape: &[usize], answer: &EmbeddingAnswer) -> Result<Embedder, String> {
        let spec = |name: &str, dtype, shape: &[usize]| TensorSpec {
            name: name.into(),
            dtype,
            shape: shape.iter().map(|size| Dim::Fixed(*size)).collect(),
        };
        let outputs = vec![spec("ids", DType::Int64, &[1, 3]), spec("y", DType::Float32, shape)];
        let signature = Signature { inputs: vec![spec("x", DType::Float32, &[1, 3, 4, 4])], outputs };
        Embedder::resolve(answer, GraphOutputs::new(&signature))
    }

    fn embedded(embedder: &Embedder, shape: &[usize], data: &[f32]) -> Result<Vec<f32>, Fault> {
        embedder.embed(&[SampleOutput { shape: &[3], data: &[1.0; 3] }, SampleOutput { shape, data }])
    }

    #[test]
    fn vectors_are_pooled_and_scaled_as_asked() {
        let asked = |pool, layout, normalise| EmbeddingAnswer { output: None, pool, layout, normalise };
        let data = [1.0, 2.0, 3.0, 6.0];
        for (shape, answer, expected) in [
            (&[1, 4][..], asked(None, None, false), &data[..]),
            (&[1, 2, 2], asked(Some(Pool::Mean), None, false), &[2.0, 4.0]),
            (&[1, 2, 2], asked(Some(Pool::First), None, false), &[1.0, 2.0]),
            (&[1, 2, 1, 2], asked(None, None, false), &[1.5, 4.5]),
            (&[1, 1, 2, 2], asked(None, Some(Layout::Nhwc), false), &[2.0, 4.0]),
        ] {
            let embedder = resolved(shape, &answer).unwrap();
            assert_eq!(embedded(&embedder, &shape[1..], &data).unwrap(), expected, "{shape:?} {answer:?}");
        }
        let scaled = resolved(&[1, 2], &asked(None, None, true)).unwrap();
        assert_eq!(embedded(&scaled, &[2], &[3.0, 4.0]).unwrap(), [0.6, 0.8]);
        assert_eq!(embedded(&scaled, &[2], &[0.0, 0.0]).unwrap(), [0.0, 0.0]);
        assert_eq!(embedded(&scaled, &[2], &[0.0, f32::INFINITY]), Err(Fault::NotFinite));
    }

    #[test]
    fn padding_is_no_part_of_an_embedding() {
        let mean = EmbeddingAnswer { pool: Some(Pool::Mean), ..EmbeddingAnswer::default() };
        let first = EmbeddingAnswer { pool: Some(Pool::First), ..EmbeddingAnswer::default() };
        let data = [9.0, 9.0, 1.0, 2.0, 3.0, 6.0, 9.0, 9.0];
        let outputs = [SampleOutput { shape: &[3], data: &[1.0; 3] }, SampleOutput { shape: &[4, 2], data: &data }];
        let embedded = |answer, kept: &[bool]| resolved(&[1, 4, 2], answer).unwrap().embed_kept(&outputs, kept);
        let kept = [false, true, true, false];
        assert_eq!(embedded(&mean, &kept).unwrap(), [2.0, 4.0]);
        assert_eq!(embedded(&first, &kept).unwrap(), [1.0, 2.0], "the first token, not the padding before it");
        assert_eq!(embedded(&mean, &[]).unwrap(), [5.5, 6.5]);
        assert!(matches!(embedded(&mean, &[false; 4]), Err(Fault::Misfit(_))));
        assert!(matches!(embedded(&mean, &[true, false]), Err(Fault::Misfit(_))));
    }

    #[test]
    fn several_vectors_need_a_word() {
        let unsaid = resolved(&[1, 197, 768], &EmbeddingAnswer::default()).unwrap_err();
        assert!(unsaid.contains("pool = \"first\""), "{unsaid}");
        let first = EmbeddingAnswer { pool: Some(Pool::First), ..EmbeddingAnswer::default() };
        assert!(resolved(&[1, 8, 7, 7], &first).unwrap_err().contains("cannot be pooled"));
        assert!(resolved(&[1, 8], &first).is_err());
    }
}
