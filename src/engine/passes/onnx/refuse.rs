//! Refuses nodes that tract would compute otherwise than ONNX says.

use tract_onnx::pb::NodeProto;

use super::build::{attribute, input, integer_of, text_of};
use super::known::Known;
use super::{demands, whole};

/// The numbers in onnx.proto of integers of 8 bits.
const UINT8: i32 = 2;
const INT8: i32 = 3;

/// Domains whose operators tract knows. It looks at the names of operators alone.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// Operators that mean something else in Microsoft's domain.
const AMBIGUOUS: [&str; 3] = ["Attention", "Unique", "Range"];

/// The reason for which a file is refused, in words.
pub(in crate::engine) type Refusal = String;

/// The reason for refusing a node that the built-in engine does not compute.
pub(super) fn refused(node: &NodeProto, what: &str) -> Refusal {
    let name = node.output.iter().find(|name| !name.is_empty()).map_or(node.name.as_str(), String::as_str);
    format!(
        "node \"{}\" ({}): the built-in engine does not support {what}; ONNX Runtime may, if its library is given by --onnxruntime",
        name.chars().take(80).collect::<String>(),
        node.op_type
    )
}

/// Checks what tract would pass over.
///
/// # Errors
/// The reason, naming the node.
pub(super) fn check(node: &NodeProto, known: &Known) -> Result<(), Refusal> {
    if !DOMAINS.contains(&node.domain.as_str()) {
        return Err(refused(node, &format!("operators of the domain \"{}\"", node.domain)));
    }
    if [demands::OPERATOR, whole::OPERATOR].contains(&node.op_type.as_str()) {
        return Err(refused(node, "this operator"));
    }
    if node.domain == "com.microsoft" && AMBIGUOUS.contains(&node.op_type.as_str()) {
        return Err(refused(node, "this operator of the domain \"com.microsoft\""));
    }
    let given = |name: &str| attribute(node, name).is_some();
    let has_past = input(node, 4).is_some() || input(node, 5).is_some();
    let unsupported = match node.op_type.as_str() {
        "Attention" if given("left_window_size") || given("right_window_size") || given("window_size") => "windows",
        "Attention" if has_past && integer_of(node, "is_causal", 0) != 0 => "causal attention with past keys",
        "BatchNormalization" if integer_of(node, "training_mode", 0) != 0 => "training_mode = 1",
        "Dropout" if drops(node, known) => "training_mode = true",
        "SpaceToDepth" if text_of(node, "mode", "DCR") != "DCR" => "mode = \"CRD\"",
        "GridSample" if is_cubic(node) && text_of(node, "padding_mode", "zeros") == "border" => {
            "bicubic interpolation at a border"
        }
        "QuantizeLinear" if quantizes_otherwise(node, known) => "quantizing to other integers than those of 8 bits",
        "MaxPool" | "AveragePool" | "LpPool" if has_windows_of_padding(node) => "a padding as large as the window",
        "ConvTranspose" if attribute(node, "output_shape").is_some_and(|shape| !shape.ints.is_empty()) => {
            return check_output_shape(node, known);
        }
        _ => return Ok(()),
    };
    Err(refused(node, unsupported))
}

/// Returns true if the file says that a `Dropout` drops elements.
fn drops(node: &NodeProto, known: &Known) -> bool {
    let scalar = |at: usize| input(node, at).and_then(|value| known.scalar(value));
    scalar(2) == Some(1.0) && (input(node, 1).is_none() || scalar(1).is_some_and(|ratio| ratio != 0.0))
}

/// Returns true if the file says that a `QuantizeLinear` gives other elements than tract does: it quantizes to the type
/// of the zero point if that has 8 bits, and to `uint8` where there is none.
fn quantizes_otherwise(node: &NodeProto, known: &Known) -> bool {
    let kind = input(node, 2).map(|zero| known.element_type(zero));
    let asked = i32::try_from(integer_of(node, "output_dtype", 0)).unwrap_or_default();
    match kind {
        Some(kind) => kind.is_some_and(|kind| ![UINT8, INT8].contains(&kind)),
        None => ![0, UINT8].contains(&asked),
    }
}

/// Returns true if a window may lie in the padding alone. ONNX Runtime takes no such graph.
fn has_windows_of_padding(node: &NodeProto) -> bool {
    let list = |name: &str| attribute(node, name).map_or(&[][..], |attribute| &attribute.ints);
    let (kernel, pads) = (list("kernel_shape"), list("pads"));
    !kernel.is_empty() && pads.iter().enumerate().any(|(at, pad)| *pad >= kernel[at % kernel.len()])
}

fn is_cubic(node: &NodeProto) -> bool {
    matches!(text_of(node, "mode", "linear"), "bicubic" | "cubic")
}

/// Refuses a `ConvTranspose` whose padding, which follows from the size of its output, is odd or not known: tract puts
/// the odd one at the wrong end.
fn check_output_shape(node: &NodeProto, known: &Known) -> Result<(), Refusal> {
    let list = |name: &str| attribute(node, name).map_or(&[][..], |attribute| &attribute.ints);
    let (wanted, strides) = (list("output_shape"), list("strides"));
    let (dilations, extra) = (list("dilations"), list("output_padding"));
    let sizes = input(node, 0).and_then(|x| known.dims(x));
    let kernel = input(node, 1).and_then(|w| known.dims(w));
    let rank = wanted.len();
    let is_even = (0..rank).all(|axis| {
        let of = |list: &[i64], default: i64| list.get(axis).copied().unwrap_or(default);
        let spatial = |dims: Option<&[Option<i64>]>| {
            dims.and_then(|dims| dims.get(dims.len().checked_sub(rank)? + axis).copied().flatten())
        };
        let (Some(size), Some(kernel)) = (spatial(sizes), spatial(kernel)) else { return false };
        let full = of(strides, 1) * (size - 1) + of(extra, 0) + (kernel - 1) * of(dilations, 1) + 1;
        matches!(full - of(wanted, 0), -1) || (full >= of(wanted, 0) && (full - of(wanted, 0)) % 2 == 0)
    });
    if is_even { Ok(()) } else { Err(refused(node, "output_shape with a padding that is odd or not known")) }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::TensorProto;

    use super::super::build::{integer, integers_attribute, text};
    use super::super::check::{model, node, refusal, value, weights};

    #[test]
    fn what_tract_would_compute_otherwise_is_refused_with_the_node_and_the_reason() {
        let past = &["q", "k", "v", "", "pk", "pv"][..];
        for (op, inputs, attributes, words) in [
            ("Attention", &["q", "k", "v"][..], vec![integer("left_window_size", 2)], "windows"),
            ("Attention", past, vec![integer("is_causal", 1)], "past keys"),
            ("SpaceToDepth", &["x"], vec![text("mode", "CRD")], "CRD"),
            ("BatchNormalization", &["x", "s", "b", "m", "v"], vec![integer("training_mode", 1)], "training_mode"),
            (
                "MaxPool",
                &["x"],
                vec![integers_attribute("kernel_shape", &[2, 3]), integers_attribute("pads", &[1, 2, 2, 0])],
                "padding",
            ),
            ("GridSample", &["x", "g"], vec![text("mode", "cubic"), text("padding_mode", "border")], "bicubic"),
        ] {
            let said = refusal(model(22, node(op, inputs, &["y"], attributes), Vec::new(), Vec::new()));
            assert!(said.contains(&format!("node \"y\" ({op})")) && said.contains(words), "{said}");
            assert!(said.contains("--onnxruntime"), "{said}");
        }
        for (domain, op, is_refused) in [
            ("", "Add", false),
            ("com.microsoft", "FastGelu", false),
            ("com.microsoft", "Attention", true),
            ("example.org", "Add", true),
        ] {
            let mut node = node(op, &["x"], &["y"], Vec::new());
            node.domain = domain.into();
            assert_eq!(!refusal(model(17, node, Vec::new(), Vec::new())).is_empty(), is_refused, "{domain} {op}");
        }
    }

    #[test]
    fn a_dropout_that_drops_is_refused() {
        let said = |ratio: f32, training: u8| {
            let training =
                TensorProto { name: "t".into(), data_type: 9, raw_data: vec![training], ..TensorProto::default() };
            let node = node("Dropout", &["x", "r", "t"], &["y"], Vec::new());
            refusal(model(17, node, vec![value("x", &[-1, 2])], vec![weights("r", &[], vec![ratio]), training]))
        };
        assert!(said(0.5, 1).contains("node \"y\" (Dropout)") && said(0.5, 1).contains("training_mode"));
        assert_eq!((said(0.5, 0), said(0.0, 1)), (String::new(), String::new()));
    }

    #[test]
    fn quantizing_to_a_type_that_tract_does_not_give_is_refused() {
        let said = |zero: Option<i32>, attributes| {
            let inputs: &[&str] = if zero.is_some() { &["x", "s", "z"] } else { &["x", "s"] };
            let zero = zero.map(|kind| TensorProto {
                name: "z".into(),
                data_type: kind,
                raw_data: vec![0; 2],
                ..TensorProto::default()
            });
            let held = [weights("s", &[], vec![0.5])].into_iter().chain(zero).collect();
            refusal(model(21, node("QuantizeLinear", inputs, &["y"], attributes), vec![value("x", &[2, 3])], held))
        };
        for (zero, asked, is_refused) in [
            (Some(2), None, false),
            (Some(3), None, false),
            (Some(4), None, true),
            (Some(5), None, true),
            (Some(17), None, true),
            (None, None, false),
            (None, Some(2), false),
            (None, Some(3), true),
            (None, Some(5), true),
        ] {
            let said = said(zero, asked.map(|kind| integer("output_dtype", kind)).into_iter().collect());
            assert_eq!(said.contains("node \"y\" (QuantizeLinear)"), is_refused, "{zero:?} {asked:?}: {said}");
        }
    }

    #[test]
    fn a_size_of_an_output_is_taken_where_its_padding_is_even() {
        let said = |size: i64, x: &[i64]| {
            let attributes = vec![integers_attribute("output_shape", &[size]), integers_attribute("strides", &[2])];
            let node = node("ConvTranspose", &["x", "w"], &["y"], attributes);
            let kernel = weights("w", &[1, 1, 3], vec![1.0; 3]);
            refusal(model(17, node, vec![value("x", x)], vec![kernel]))
        };
        assert_eq!(said(9, &[1, 1, 4]), "");
        assert_eq!(said(7, &[1, 1, 4]), "");
        assert!(said(8, &[1, 1, 4]).contains("output_shape"));
        assert!(said(9, &[1, 1, -1]).contains("output_shape"));
    }
}
