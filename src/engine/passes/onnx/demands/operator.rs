//! A demand as a node of a graph of tract. It hands its first input on.

use std::borrow::Cow;

use prost::Message as _;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::super::build::{attribute, input, integer_of};
use super::call::{Call, Given, Outcome};
use super::table::{Rule, rule};
use super::{LIMIT, NODE, WAITING};
use crate::engine::Bounds;
use crate::engine::faults::REFUSES;

/// Reads a demand.
pub(super) fn read(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let of = NodeProto::decode(&*attribute(node, NODE).context("a demand has no node")?.s)?;
    let rule = rule(&of.op_type).context("a demand has no rule")?;
    let waiting = usize::try_from(integer_of(node, WAITING, 0))?;
    let rest = (0..of.input.len()).filter(|at| *at != waiting && input(&of, *at).is_some());
    let places = std::iter::once(waiting).chain(rest).collect();
    let bounds = Bounds { tensor_bytes: u64::try_from(integer_of(node, LIMIT, i64::MAX))? };
    Ok((expand(Demand(Arc::new(Subject { of, rule, places, bounds }))), Vec::new()))
}

/// The node in question.
#[derive(Debug)]
struct Subject {
    of: NodeProto,
    rule: Rule,
    /// The places of its inputs in the order in which the demand has them.
    places: Vec<usize>,
    bounds: Bounds,
}

/// The facts about an input, before a run or in it.
#[derive(Debug)]
struct Known<'k, D> {
    shape: TVec<D>,
    /// Unknown before types are.
    datum: Option<DatumType>,
    value: Option<Cow<'k, Tensor>>,
}

#[derive(Debug, Clone)]
struct Demand(Arc<Subject>);

/// The judgement on a demand before a run.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    Unmet(String),
    /// The sizes and values of a run will tell.
    Open,
}

impl Subject {
    fn judge(&self, inputs: &[Known<'_, usize>], bounds: Bounds) -> Outcome {
        let mut given = vec![None; self.of.input.len()];
        for (place, Known { shape, datum, value }) in self.places.iter().zip(inputs) {
            let element_bytes = datum.map_or(1, |datum| datum.size_of() as u64);
            given[*place] = Some(Given { shape, element_bytes, value: value.as_deref() });
        }
        (self.rule.demand)(&Call { node: &self.of, inputs: given, bounds })
    }

    fn says(&self, what: &str) -> String {
        Call { node: &self.of, inputs: Vec::new(), bounds: self.bounds }.says(what)
    }

    fn reads_value(&self, index: usize) -> bool {
        self.rule.values.contains(&self.places[index])
    }

    /// Returns true if whole numbers come together with sizes of tensors.
    fn joins_sizes(&self, mut datums: impl Iterator<Item = DatumType> + Clone) -> bool {
        self.rule.joins && datums.clone().any(|datum| datum.is_tdim()) && datums.any(is_wide)
    }

    /// Checks that whole numbers that come together with sizes are none beyond 32 bits, to which tract cuts them.
    fn join<D>(&self, inputs: &[Known<'_, D>]) -> Outcome {
        for input in inputs.iter().filter(|input| input.datum.is_some_and(is_wide)) {
            let Some(value) = input.value.as_deref().and_then(|value| value.cast_to::<i64>().ok()) else { continue };
            let numbers = value.try_as_plain_ram().ok().and_then(|plain| plain.as_slice::<i64>().ok());
            let beyond = numbers.into_iter().flatten().find(|number| i32::try_from(**number).is_err());
            if let Some(number) = beyond {
                return Err(self.says(&format!(
                    "it brings {number} together with sizes, which the built-in engine counts to {}",
                    i32::MAX
                )));
            }
        }
        Ok(())
    }

    /// Judges by the facts of a graph. Values are those of constants.
    fn foresee(&self, inputs: &[Known<'_, TDim>]) -> Verdict {
        if self.rule.needs_elements && inputs[0].shape.iter().any(|dim| dim.to_usize().is_ok_and(|size| size == 0)) {
            return Verdict::Unmet(self.says("its input holds no element"));
        }
        if self.joins_sizes(inputs.iter().filter_map(|input| input.datum)) {
            if let Err(words) = self.join(inputs) {
                return Verdict::Unmet(words);
            }
            if inputs.iter().any(|input| input.value.is_none() && input.datum.is_some_and(is_wide)) {
                return Verdict::Open;
            }
        }
        let mut known = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let value = match &input.value {
                _ if !self.reads_value(index) => None,
                Some(constant) => match plain(constant, &SymbolValues::default()) {
                    Some(value) => Some(value),
                    None if self.rule.trusts_sizes => return Verdict::Met,
                    None => return Verdict::Open,
                },
                None => return Verdict::Open,
            };
            known.push((input, value));
        }
        let open = open_sizes(inputs);
        // The tensors that open sizes make are held to the limit by the plan.
        let bounds = if open.is_empty() { self.bounds } else { Bounds { tensor_bytes: u64::MAX } };
        let is_met = |size: fn(usize) -> usize| {
            let filled = known.iter().map(|(input, value)| Known {
                shape: filled(&input.shape, &open, size),
                datum: input.datum,
                value: value.as_deref().map(Cow::Borrowed),
            });
            self.judge(&filled.collect::<Vec<_>>(), bounds)
        };
        if open.is_empty() {
            return is_met(|_| 0).map_or_else(Verdict::Unmet, |()| Verdict::Met);
        }
        if SAMPLES.iter().all(|size| is_met(*size).is_ok()) { Verdict::Met } else { Verdict::Open }
    }
}

/// Sizes for those that are open, by their numbers: what holds for nothing, for one of each, and for sizes that have no
/// factor in common, holds for all.
const SAMPLES: [fn(usize) -> usize; 3] = [|_| 0, |_| 1, |number| UNLIKE[number % UNLIKE.len()]];
const UNLIKE: [usize; 8] = [1_000_003, 1_000_033, 1_000_037, 1_000_039, 1_000_081, 1_000_099, 1_000_117, 1_000_121];

/// Returns the different sizes that are open. Two of the same expression are one.
fn open_sizes<'k>(inputs: &'k [Known<'_, TDim>]) -> Vec<&'k TDim> {
    let mut open: Vec<&TDim> = Vec::new();
    for dim in inputs.iter().flat_map(|input| &input.shape).filter(|dim| dim.to_usize().is_err()) {
        if !open.contains(&dim) {
            open.push(dim);
        }
    }
    open
}

/// Returns a shape with a size for each that is open.
fn filled(shape: &[TDim], open: &[&TDim], of: fn(usize) -> usize) -> TVec<usize> {
    let number = |dim: &TDim| open.iter().position(|known| *known == dim).unwrap_or(0);
    shape.iter().map(|dim| dim.to_usize().unwrap_or_else(|_| of(number(dim)))).collect()
}

/// Returns a value without symbols: whole numbers that are sizes become 64-bit ones.
fn plain<'v>(value: &'v Tensor, symbols: &SymbolValues) -> Option<Cow<'v, Tensor>> {
    if value.datum_type() != TDim::datum_type() {
        return Some(Cow::Borrowed(value));
    }
    let sizes = value.try_as_plain_ram().ok()?.as_slice::<TDim>().ok()?.iter();
    let sizes: Vec<i64> = sizes.map(|size| size.eval_to_i64(symbols)).collect::<TractResult<_>>().ok()?;
    Tensor::from_shape(value.shape(), &sizes).ok().map(Cow::Owned)
}

/// Returns true for whole numbers of more than 32 bits that are no sizes.
fn is_wide(datum: DatumType) -> bool {
    datum == i64::datum_type() || datum == u64::datum_type() || datum == u32::datum_type()
}

fn unmet(words: &str) -> TractError {
    format_err!("{REFUSES}{words}")
}

impl PartialEq for Demand {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Demand {}

impl Expansion for Demand {
    fn name(&self) -> StaticName {
        "Demand".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.0.places.len())?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        let read: Vec<usize> = (0..inputs.len()).filter(|index| self.0.reads_value(*index)).collect();
        solver.given_all(inputs.iter().map(|input| &input.shape), move |solver, shapes| {
            let values = read.iter().map(|index| &inputs[*index].value);
            let read = read.clone();
            solver.given_all(values, move |_, values| {
                // Of elements only their number is known here; a graph with types is judged again.
                let known = shapes.iter().map(|shape| Known { shape: shape.clone(), datum: None, value: None });
                let mut known: Vec<Known<'_, TDim>> = known.collect();
                for (index, value) in read.iter().zip(&values) {
                    known[*index].value = Some(Cow::Borrowed(&**value));
                }
                match self.0.foresee(&known) {
                    Verdict::Unmet(words) => Err(unmet(&words)),
                    Verdict::Met | Verdict::Open => Ok(()),
                }
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|input| model.outlet_fact(*input).cloned()).collect::<TractResult<TVec<_>>>()?;
        match self.foreseen(&facts.iter().collect::<TVec<_>>()) {
            Verdict::Met => Ok(tvec!(inputs[0])),
            Verdict::Unmet(words) => Err(unmet(&words)),
            Verdict::Open => model.wire_node(prefix, self.clone(), inputs),
        }
    }
}

impl Demand {
    fn foreseen(&self, facts: &[&TypedFact]) -> Verdict {
        let known = facts.iter().map(|fact| Known {
            shape: fact.shape.to_tvec(),
            datum: Some(fact.datum_type),
            value: fact.konst.as_deref().map(Cow::Borrowed),
        });
        self.0.foresee(&known.collect::<Vec<_>>())
    }
}

impl Op for Demand {
    fn name(&self) -> StaticName {
        "Demand".into()
    }

    op_as_typed_op!();
}

impl TypedOp for Demand {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    fn declutter(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        if self.foreseen(&model.node_input_facts(node.id)?) != Verdict::Met {
            return Ok(None);
        }
        let mut patch = TypedModelPatch::default();
        let input = patch.tap_model(model, node.inputs[0])?;
        patch.shunt_outside(model, node.id.into(), input)?;
        Ok(Some(patch))
    }

    as_op!();
}

impl EvalOp for Demand {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let is_joined = self.0.joins_sizes(inputs.iter().map(|input| input.datum_type()));
        let known = inputs.iter().enumerate().map(|(index, input)| Known {
            shape: input.shape().into(),
            datum: Some(input.datum_type()),
            value: if self.0.reads_value(index) || is_joined && input.datum_type() != TDim::datum_type() {
                plain(input, context.symbols)
            } else {
                None
            },
        });
        let known: Vec<Known<'_, usize>> = known.collect();
        if is_joined {
            self.0.join(&known).map_err(|words| unmet(&words))?;
        }
        self.0.judge(&known, self.0.bounds).map_err(|words| unmet(&words))?;
        Ok(tvec!(inputs.swap_remove(0)))
    }
}
