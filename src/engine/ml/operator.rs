//! The contract of an operator of `ai.onnx.ml`, and its place in a graph of tract.

use tract_onnx::tract_hir::internal::*;

/// The element type and the shape of a tensor, known before a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) datum: DatumType,
    pub(super) shape: TVec<TDim>,
}

impl Kind {
    pub(super) fn new(datum: DatumType, shape: impl IntoIterator<Item = TDim>) -> Self {
        Self { datum, shape: shape.into_iter().collect() }
    }

    /// Returns samples and columns of a table. A tensor of one dimension is a table of one sample.
    ///
    /// # Errors
    /// An error saying what was expected when the tensor has another number of dimensions.
    pub(super) fn table(&self) -> TractResult<(TDim, TDim)> {
        match &self.shape[..] {
            [columns] => Ok((1.to_dim(), columns.clone())),
            [samples, columns] => Ok((samples.clone(), columns.clone())),
            shape => bail!("expected an input of shape [samples, columns], got {} dimensions", shape.len()),
        }
    }

    /// Refuses element types that are no numbers.
    ///
    /// # Errors
    /// An error that names the type.
    pub(super) fn expect_numbers(&self) -> TractResult<()> {
        ensure!(is_number(self.datum), "expected an input of numbers, got {:?}", self.datum);
        Ok(())
    }
}

/// Returns true for numbers. tract holds integers that might be sizes in a type of their own.
pub(super) fn is_number(datum: DatumType) -> bool {
    datum.is_number() || datum == DatumType::TDim
}

/// Returns the numbers of samples and columns of a table that was given.
///
/// # Errors
/// As [`Kind::table`].
pub(super) fn table(shape: &[usize]) -> TractResult<(usize, usize)> {
    match shape {
        [columns] => Ok((1, *columns)),
        [samples, columns] => Ok((*samples, *columns)),
        shape => bail!("expected an input of shape [samples, columns], got {} dimensions", shape.len()),
    }
}

/// An operator whose outputs depend on nothing but its inputs.
pub(super) trait Operator: std::fmt::Debug + Send + Sync + 'static {
    /// Returns its name in ONNX.
    fn name(&self) -> &'static str;

    /// Returns the number of inputs.
    fn input_count(&self) -> usize {
        1
    }

    /// Returns the number of outputs.
    fn output_count(&self) -> usize {
        1
    }

    /// Returns the outputs for these inputs.
    ///
    /// # Errors
    /// An error saying why it does not take the inputs.
    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>>;

    /// Returns what runs in place of this operator for these inputs; `None` if the operator itself does.
    ///
    /// # Errors
    /// As [`Operator::outputs`].
    fn prepared(&self, _inputs: &[Kind]) -> TractResult<Option<Arc<dyn Operator>>> {
        Ok(None)
    }

    /// Computes the outputs.
    ///
    /// # Errors
    /// As [`Operator::outputs`], for what only values show.
    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>>;
}

/// Returns the operator as a node of a graph whose shapes are not known yet.
pub(super) fn node(operator: impl Operator) -> (Box<dyn InferenceOp>, Vec<String>) {
    (expand(OperatorNode(Arc::new(operator))), Vec::new())
}

#[derive(Debug, Clone)]
pub(super) struct OperatorNode(Arc<dyn Operator>);

impl PartialEq for OperatorNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OperatorNode {}

impl Expansion for OperatorNode {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.output_count())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.0.input_count())?;
        check_output_arity(outputs, self.0.output_count())?;
        solver.given_all(inputs.iter().map(|input| &input.datum_type), move |solver, datums| {
            solver.given_all(inputs.iter().map(|input| &input.shape), move |solver, shapes| {
                let kinds = datums.iter().zip(shapes).map(|(datum, shape)| Kind { datum: *datum, shape });
                let kinds = self.0.outputs(&kinds.collect::<Vec<_>>())?;
                for (output, kind) in outputs.iter().zip(kinds) {
                    solver.equals(&output.datum_type, kind.datum)?;
                    solver.equals(&output.shape, kind.shape)?;
                }
                Ok(())
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let kinds = inputs.iter().map(|input| Ok(kind(model.outlet_fact(*input)?)));
        let prepared = self.0.prepared(&kinds.collect::<TractResult<Vec<_>>>()?)?;
        model.wire_node(prefix, Self(prepared.unwrap_or_else(|| self.0.clone())), inputs)
    }
}

fn kind(fact: &TypedFact) -> Kind {
    Kind { datum: fact.datum_type, shape: fact.shape.to_tvec() }
}

impl Op for OperatorNode {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    op_as_typed_op!();
}

impl TypedOp for OperatorNode {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let kinds: Vec<Kind> = inputs.iter().map(|fact| kind(fact)).collect();
        Ok(self.0.outputs(&kinds)?.into_iter().map(|kind| kind.datum.fact(kind.shape)).collect())
    }

    as_op!();
}

impl EvalOp for OperatorNode {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.run(&inputs)
    }
}
