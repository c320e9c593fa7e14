//! What the values of a request decide in a graph, and the checks that are put into it before ONNX Runtime gets it.
//!
//! A request may hold values that end the process inside the library (an integer divided where the quotient does not
//! fit, a recurrent layer without steps, a region of 10¹⁹ pixels), or that ask for more memory than there is (`Range`,
//! `Tile`, a loop that grows). The library does not look. So each operator that such a value reaches gets a few small
//! operators before it, which fail in words. Graphs without such operators stay as they are, and so does every byte
//! that is not about them.

mod checks;
mod flow;
mod limits;
mod rules;

use std::collections::HashSet;

use prost::Message as _;
use tract_onnx::pb::{NodeProto, OperatorSetIdProto, ValueInfoProto};

use self::checks::Checks;
use self::flow::Flow;
use crate::engine::contain::unusable;
use crate::error::Result;
use crate::wire::{fields, push};

pub(super) use self::checks::words;

/// The field numbers of onnx.proto that lead to nodes and to what they read.
const MODEL_GRAPH: u64 = 7;
const MODEL_OPSET: u64 = 8;
const MODEL_FUNCTION: u64 = 25;
const GRAPH_NODE: u64 = 1;
const GRAPH_INITIALIZER: u64 = 5;
const GRAPH_INPUT: u64 = 11;
const GRAPH_OUTPUT: u64 = 12;
const GRAPH_VALUE: u64 = 13;
const FUNCTION_NAME: u64 = 1;
const FUNCTION_INPUT: u64 = 4;
const FUNCTION_NODE: u64 = 7;
const FUNCTION_OPSET: u64 = 9;
const NODE_INPUT: u64 = 1;
const NODE_OPERATOR: u64 = 4;
const NODE_ATTRIBUTE: u64 = 5;
const ATTRIBUTE_GRAPH: u64 = 6;
const ATTRIBUTE_GRAPHS: u64 = 11;

/// The operator that makes a text of two.
const JOINS_TEXTS: &str = "StringConcat";

/// The first version of the standard in which the operators of checks broadcast.
const FIRST_STANDARD: i64 = 7;

/// Returns true if a graph holds a recurrent layer, which ends the process when its input is empty.
pub(super) fn is_recurrent(onnx: &[u8]) -> bool {
    contains(onnx, &|operator| rules::RECURRENT.contains(&operator))
}

/// Returns true if the values of a request decide how much a graph computes: how long a loop runs, or how large a tensor
/// gets.
///
/// # Errors
/// As [`guard`], but for the version of the standard.
pub(super) fn depends_on_values(onnx: &[u8]) -> Result<bool> {
    if contains(onnx, &|operator| operator == "Loop") {
        return Ok(true);
    }
    if !contains(onnx, &limits::is_limited) {
        return Ok(false);
    }
    let mut writer = Writer::new(onnx, 0, limits::is_limited)?;
    for graph in parts(onnx, MODEL_GRAPH) {
        writer.graph(graph, Flow::default(), None)?;
    }
    for function in parts(onnx, MODEL_FUNCTION) {
        writer.function(function)?;
    }
    Ok(writer.checks.count() > 0)
}

/// Returns the graph with checks, each of which keeps a tensor to `tensor_bytes`; `None` if it needs none.
///
/// # Errors
/// [`crate::error::Error::Repository`] when the bytes are not an ONNX model, or when it needs checks and is of a version of
/// the standard that cannot have them.
pub(super) fn guard(onnx: &[u8], tensor_bytes: u64) -> Result<Option<Vec<u8>>> {
    refuse_endless_texts(onnx)?;
    if !contains(onnx, &rules::may_need_check) {
        return Ok(None);
    }
    let mut writer = Writer::new(onnx, tensor_bytes, rules::may_need_check)?;
    let mut model = Vec::with_capacity(onnx.len() + (64 << 10));
    for field in fields(onnx) {
        let field = field?;
        match (field.number, field.content()) {
            (MODEL_GRAPH, Some(graph)) => push(&mut model, MODEL_GRAPH, &writer.graph(graph, Flow::default(), None)?),
            (MODEL_FUNCTION, Some(function)) => push(&mut model, MODEL_FUNCTION, &writer.function(function)?),
            _ => model.extend_from_slice(field.whole),
        }
    }
    match writer.too_old {
        Some(node) => Err(unusable(format!(
            "the values of a request decide about {node}, and the graph is of a version of the standard that is too old \
             for a check of them: convert it to version {FIRST_STANDARD} or later"
        ))),
        None => Ok((writer.checks.count() > 0).then_some(model)),
    }
}

/// Returns the nodes of a file of some operators, besides those inside other nodes. What cannot be read is none.
pub(super) fn nodes<'o>(onnx: &'o [u8], is_wanted: impl Fn(&str) -> bool + 'o) -> impl Iterator<Item = NodeProto> + 'o {
    let is_one = move |node: &&[u8]| operators(node).any(&is_wanted);
    let nodes = parts(onnx, MODEL_GRAPH).flat_map(|graph| parts(graph, GRAPH_NODE)).filter(is_one);
    nodes.filter_map(|node| NodeProto::decode(node).ok())
}

/// Refuses loops that may join texts without an end: nobody can look at the length of a text inside a graph.
fn refuse_endless_texts(onnx: &[u8]) -> Result<()> {
    if !contains(onnx, &|operator| operator == JOINS_TEXTS) {
        return Ok(());
    }
    let joining = functions_that_join(onnx);
    let joins = |operator: &str| operator == JOINS_TEXTS || joining.contains(operator);
    let graphs = parts(onnx, MODEL_GRAPH).map(|graph| (graph, GRAPH_NODE));
    let functions = parts(onnx, MODEL_FUNCTION).map(|function| (function, FUNCTION_NODE));
    let Some(node) = graphs.chain(functions).find_map(|(message, nodes)| endless(message, nodes, &joins)) else {
        return Ok(());
    };
    let node = NodeProto::decode(node).map_err(|_| damaged())?;
    Err(unusable(format!(
        "{} joins texts in each round (StringConcat), and nothing bounds how long they get: join them outside the loop",
        flow::subject(&node)
    )))
}

/// Returns the names of a model's functions that join texts, by themselves or through others.
fn functions_that_join(onnx: &[u8]) -> HashSet<String> {
    let mut joining = HashSet::new();
    loop {
        let joins = |operator: &str| operator == JOINS_TEXTS || joining.contains(operator);
        let functions = parts(onnx, MODEL_FUNCTION).filter(|function| holds(function, FUNCTION_NODE, &joins));
        let names = functions.filter_map(|function| parts(function, FUNCTION_NAME).next());
        let found: HashSet<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        if found.len() == joining.len() {
            return found;
        }
        joining = found;
    }
}

/// Returns a loop of a message, however deep, with a body that joins texts.
fn endless<'m>(message: &'m [u8], nodes: u64, joins: &dyn Fn(&str) -> bool) -> Option<&'m [u8]> {
    parts(message, nodes).find_map(|node| {
        let is_loop = operators(node).any(|operator| matches!(operator, "Loop" | "Scan"));
        if is_loop && bodies(node).any(|body| holds(body, GRAPH_NODE, joins)) {
            return Some(node);
        }
        bodies(node).find_map(|body| endless(body, GRAPH_NODE, joins))
    })
}

/// Returns true if any node of a model is of an operator that is looked for.
fn contains(onnx: &[u8], is_wanted: &dyn Fn(&str) -> bool) -> bool {
    parts(onnx, MODEL_GRAPH).any(|graph| holds(graph, GRAPH_NODE, is_wanted))
        || parts(onnx, MODEL_FUNCTION).any(|function| holds(function, FUNCTION_NODE, is_wanted))
}

fn holds(message: &[u8], nodes: u64, is_wanted: &dyn Fn(&str) -> bool) -> bool {
    parts(message, nodes)
        .any(|node| operators(node).any(is_wanted) || bodies(node).any(|body| holds(body, GRAPH_NODE, is_wanted)))
}

/// Returns the operator of a node, which a sound file names once.
fn operators(node: &[u8]) -> impl Iterator<Item = &str> {
    parts(node, NODE_OPERATOR).filter_map(|text| std::str::from_utf8(text).ok())
}

/// Returns the graphs in the attributes of a node.
fn bodies(node: &[u8]) -> impl Iterator<Item = &[u8]> {
    let of = |attribute| parts(attribute, ATTRIBUTE_GRAPH).chain(parts(attribute, ATTRIBUTE_GRAPHS));
    parts(node, NODE_ATTRIBUTE).flat_map(of)
}

/// Returns the contents of a message's fields of this number. What is no message ends them; the engine will say so.
fn parts(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let fields = fields(message).map_while(std::result::Result::ok);
    fields.filter(move |field| field.number == number).filter_map(|field| field.content())
}

/// Returns the version of the standard that a model or function names; 0 if it names none.
fn standard(message: &[u8], number: u64) -> Result<i64> {
    for opset in parts(message, number) {
        let opset = OperatorSetIdProto::decode(opset).map_err(|_| damaged())?;
        if matches!(opset.domain.as_str(), "" | "ai.onnx") {
            return Ok(opset.version);
        }
    }
    Ok(0)
}

fn damaged() -> crate::error::Error {
    unusable("it is damaged: one of its nodes or values cannot be read")
}

/// The parts of a loop whose body is written.
struct Body {
    /// The words for the loop.
    subject: String,
    /// The values that it carries from round to round.
    carried: usize,
}

/// Writes graphs with checks.
struct Writer {
    checks: Checks,
    /// The operators that are checked.
    only: fn(&str) -> bool,
    /// The first node that needs a check which its version of the standard cannot have.
    too_old: Option<String>,
}

impl Writer {
    fn new(onnx: &[u8], tensor_bytes: u64, only: fn(&str) -> bool) -> Result<Self> {
        Ok(Self { checks: Checks::new(standard(onnx, MODEL_OPSET)?, tensor_bytes), only, too_old: None })
    }
}

impl Writer {
    /// Writes a graph. `flow` is what is known of the values around it, `body` is set for that of a loop.
    fn graph(&mut self, graph: &[u8], mut flow: Flow, body: Option<&Body>) -> Result<Vec<u8>> {
        let values = |number| parts(graph, number).map(|value| ValueInfoProto::decode(value).map_err(|_| damaged()));
        let inputs = values(GRAPH_INPUT).collect::<Result<Vec<_>>>()?;
        let outputs = values(GRAPH_OUTPUT).collect::<Result<Vec<_>>>()?;
        for value in values(GRAPH_VALUE) {
            flow.declare(&value?);
        }
        parts(graph, GRAPH_INITIALIZER).try_for_each(|tensor| flow.hold(tensor))?;
        outputs.iter().for_each(|value| flow.declare(value));
        inputs.iter().for_each(|value| flow.ask(value, flow::Place::of(body.is_some())));
        let mut written = self.nodes(graph, GRAPH_NODE, &mut flow)?;
        let growth = body
            .filter(|_| self.checks.standard() >= FIRST_STANDARD)
            .and_then(|body| rules::growth(&mut self.checks, &inputs, &outputs, body.carried, &body.subject));
        if let Some(growth) = growth {
            self.checks.drain(|node| push(&mut written, GRAPH_NODE, &node.encode_to_vec()));
            written = renamed_output(&written, &growth)?;
        }
        Ok(written)
    }

    fn function(&mut self, function: &[u8]) -> Result<Vec<u8>> {
        let own = standard(function, FUNCTION_OPSET)?;
        let of_model = self.checks.set_standard(own);
        let mut flow = Flow::default();
        for name in parts(function, FUNCTION_INPUT) {
            flow.ask_by_name(&String::from_utf8_lossy(name));
        }
        let written = self.nodes(function, FUNCTION_NODE, &mut flow);
        self.checks.set_standard(of_model);
        written
    }

    /// Writes a message whose nodes have this number, with their checks before them.
    fn nodes(&mut self, message: &[u8], number: u64, flow: &mut Flow) -> Result<Vec<u8>> {
        let mut written = Vec::with_capacity(message.len());
        for field in fields(message) {
            let field = field?;
            let Some(bytes) = field.content().filter(|_| field.number == number) else {
                written.extend_from_slice(field.whole);
                continue;
            };
            let node = NodeProto::decode(bytes).map_err(|_| damaged())?;
            let is_checked = (self.only)(&node.op_type);
            let checked = if is_checked { rules::check(&mut self.checks, &node, flow) } else { Vec::new() };
            if !checked.is_empty() && self.checks.standard() < FIRST_STANDARD {
                self.too_old.get_or_insert_with(|| flow::subject(&node));
            }
            self.checks.drain(|node| push(&mut written, number, &node.encode_to_vec()));
            let has_bodies = bodies(bytes).next().is_some();
            flow.pass(&node, has_bodies);
            if checked.is_empty() && !has_bodies {
                written.extend_from_slice(field.whole);
            } else {
                push(&mut written, number, &self.node(bytes, &node, &checked, flow)?);
            }
        }
        Ok(written)
    }

    /// Writes a node with some of its inputs replaced, and with checks in its bodies.
    fn node(&mut self, bytes: &[u8], node: &NodeProto, inputs: &[(usize, String)], flow: &Flow) -> Result<Vec<u8>> {
        let mut written = Vec::with_capacity(bytes.len());
        for (index, name) in node.input.iter().enumerate() {
            let name = inputs.iter().find(|(of, _)| *of == index).map_or(name, |(_, name)| name);
            push(&mut written, NODE_INPUT, name.as_bytes());
        }
        let is_loop = node.op_type == "Loop";
        let body = Body { subject: flow::subject(node), carried: node.input.len().saturating_sub(2) };
        for field in fields(bytes) {
            let field = field?;
            match (field.number, field.content()) {
                (NODE_INPUT, _) => {}
                (NODE_ATTRIBUTE, Some(attribute)) => {
                    let mut own = Vec::with_capacity(attribute.len());
                    for field in fields(attribute) {
                        let field = field?;
                        match (field.number, field.content()) {
                            (ATTRIBUTE_GRAPH | ATTRIBUTE_GRAPHS, Some(graph)) => {
                                let graph = self.graph(graph, flow.clone(), is_loop.then_some(&body))?;
                                push(&mut own, field.number, &graph);
                            }
                            _ => own.extend_from_slice(field.whole),
                        }
                    }
                    push(&mut written, NODE_ATTRIBUTE, &own);
                }
                _ => written.extend_from_slice(field.whole),
            }
        }
        Ok(written)
    }
}

/// Returns a graph whose first output is the value of this name.
fn renamed_output(graph: &[u8], name: &str) -> Result<Vec<u8>> {
    let (mut written, mut is_first) = (Vec::with_capacity(graph.len()), true);
    for field in fields(graph) {
        let field = field?;
        match field.content().filter(|_| field.number == GRAPH_OUTPUT && is_first) {
            Some(value) => {
                let mut value = ValueInfoProto::decode(value).map_err(|_| damaged())?;
                value.name = name.to_owned();
                push(&mut written, GRAPH_OUTPUT, &value.encode_to_vec());
                is_first = false;
            }
            None => written.extend_from_slice(field.whole),
        }
    }
    Ok(written)
}
