//! Values that say how large something gets, or where it begins and ends.

use super::super::build::{attribute, text_of};
use super::call::{Call, Outcome, ensure};

/// The largest size that tract counts with everywhere.
const LARGEST: i64 = i32::MAX as i64;

/// Checks sizes one by one: none is less than `least` or beyond what tract counts with.
fn sizes(call: &Call<'_>, at: usize, least: i64) -> Outcome {
    let Some(sizes) = call.integers(at) else { return Ok(()) };
    match sizes.iter().find(|size| !(least..=LARGEST).contains(*size)) {
        Some(size) => Err(call.says(&format!("{} holds {size}, expected {least} to {LARGEST}", call.name(at)))),
        None => Ok(()),
    }
}

/// Checks that an input has as many elements as the first one has dimensions.
fn one_for_each_axis(call: &Call<'_>, at: usize) -> Outcome {
    let (Some(x), Some([count])) = (call.shape(0), call.shape(at)) else { return Ok(()) };
    ensure(*count == x.len(), || {
        call.says(&format!("{} has {count} elements, and {} has {} dimensions", call.name(at), call.name(0), x.len()))
    })
}

pub(super) fn tile(call: &Call<'_>) -> Outcome {
    one_for_each_axis(call, 1)?;
    sizes(call, 1, 0)?;
    let (Some(x), Some(repeats)) = (call.shape(0), call.integers(1)) else { return Ok(()) };
    let made: Vec<i64> = x.iter().zip(&repeats).map(|(size, times)| (*size as i64).saturating_mul(*times)).collect();
    call.may_make(&made, 0)
}

pub(super) fn constant_of_shape(call: &Call<'_>) -> Outcome {
    sizes(call, 0, 0)?;
    let value = attribute(call.node, "value").and_then(|value| value.t.as_ref());
    let element_bytes = match value.map(|value| value.data_type) {
        Some(2 | 3 | 9) => 1,
        Some(4 | 5 | 10 | 16) => 2,
        Some(7 | 11 | 13) => 8,
        _ => 4,
    };
    let Some(shape) = call.integers(0) else { return Ok(()) };
    let made = shape.iter().map(|size| u64::try_from(*size).unwrap_or(0));
    call.bounds.check(made, element_bytes).map_err(|words| call.says(&words))
}

pub(super) fn expand(call: &Call<'_>) -> Outcome {
    sizes(call, 1, 0)?;
    let (Some(x), Some(wanted)) = (call.shape(0), call.integers(1)) else { return Ok(()) };
    let from_end = |axis: usize| x.iter().rev().nth(axis).map_or(1, |size| *size as i64);
    let fits = wanted.iter().rev().enumerate().all(|(axis, size)| {
        let own = from_end(axis);
        own == *size || own == 1 || *size == 1
    });
    ensure(fits, || call.says(&format!("{} of {x:?} does not expand to {wanted:?}", call.name(0))))?;
    let rank = x.len().max(wanted.len());
    let size = |axis: usize| from_end(axis).max(wanted.iter().rev().nth(axis).copied().unwrap_or(1));
    call.may_make(&(0..rank).map(size).collect::<Vec<_>>(), 0)
}

pub(super) fn reshape(call: &Call<'_>) -> Outcome {
    sizes(call, 1, -1)?;
    let (Some(x), Some(wanted)) = (call.shape(0), call.integers(1)) else { return Ok(()) };
    let misfit = || call.says(&format!("{} of {x:?} does not take the shape {wanted:?}", call.name(0)));
    let keeps_zero = call.integer("allowzero", 0) != 0;
    let derived = wanted.iter().filter(|size| **size == -1).count();
    ensure(derived <= 1 && !(keeps_zero && derived == 1 && wanted.contains(&0)), misfit)?;
    let mut known: u128 = 1;
    for (axis, size) in wanted.iter().enumerate().filter(|(_, size)| **size != -1) {
        let size = match (size, keeps_zero) {
            (0, false) => *x.get(axis).ok_or_else(misfit)? as u128,
            (size, _) => u128::try_from(*size).unwrap_or(0),
        };
        known = known.saturating_mul(size);
    }
    let elements: u128 = x.iter().map(|size| *size as u128).product();
    // Of nothing, tract derives the size that other numbers of samples have.
    let fits = match derived {
        1 => elements == 0 && known == 0 || known != 0 && elements.is_multiple_of(known),
        _ => elements == known,
    };
    ensure(fits, misfit)
}

pub(super) fn range(call: &Call<'_>) -> Outcome {
    let number = |at: usize| call.value(at).and_then(|value| value.cast_to_scalar::<f64>().ok());
    let [Some(start), Some(limit), Some(step)] = [0, 1, 2].map(number) else { return Ok(()) };
    let is_float = call.value(0).is_some_and(|start| start.datum_type().is_float());
    let fits = |value: f64| is_float || value.abs() <= LARGEST as f64;
    ensure(step != 0.0 && [start, limit, step].into_iter().all(fits), || {
        call.says(&format!(
            "it counts from {start} to {limit} by {step}, expected a step other than 0 and numbers within {LARGEST}"
        ))
    })?;
    call.may_make(&[((limit - start) / step).ceil().max(0.0) as i64], 0)
}

pub(super) fn slice(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let steps = call.integers(4).unwrap_or_default();
    let is_counted = |value: i64| (-LARGEST - 1..LARGEST).contains(&value);
    for (at, ends) in [(1, call.list(1, "starts")), (2, call.list(2, "ends"))] {
        for (axis, value) in ends.unwrap_or_default().into_iter().enumerate() {
            let is_forward = steps.get(axis).is_none_or(|step| *step > 0);
            // The last of all numbers stand for the end that a slice runs to.
            let is_end = match (at, is_forward) {
                (2, true) => matches!(value, i64::MAX | LARGEST),
                (2, false) => value <= i64::MIN + 1,
                _ => false,
            };
            ensure(is_counted(value) || is_end, || {
                call.says(&format!("it is to begin or end at {value}; the built-in engine counts to {LARGEST}"))
            })?;
        }
    }
    if !steps.is_empty() {
        let fits = steps.iter().all(|step| *step != 0 && (-LARGEST..=LARGEST).contains(step));
        ensure(fits, || call.says(&format!("{} holds {steps:?}, expected steps other than 0", call.name(4))))?;
    }
    let Some(axes) = call.list(3, "axes") else { return Ok(()) };
    let mut seen = Vec::new();
    for axis in axes {
        let axis = call.axis(axis, x.len())?;
        ensure(!seen.contains(&axis), || call.says(&format!("axis {axis} is named twice")))?;
        seen.push(axis);
    }
    Ok(())
}

pub(super) fn pad(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let Some(pads) = call.list(1, "pads") else { return Ok(()) };
    let axes = match call.list(3, "axes") {
        Some(axes) => axes.iter().map(|axis| call.axis(*axis, x.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..x.len()).collect(),
    };
    ensure(pads.len() == 2 * axes.len(), || {
        call.says(&format!("{} pads for {} axes, expected two for each", pads.len(), axes.len()))
    })?;
    let is_reflected = text_of(call.node, "mode", "constant") == "reflect";
    for (place, axis) in axes.iter().enumerate() {
        let (before, after, size) = (pads[place], pads[place + axes.len()], x[*axis] as i64);
        let most = if is_reflected { size - 1 } else { LARGEST };
        let fits = (0..=most).contains(&before) && (0..=most).contains(&after);
        ensure(fits || before == 0 && after == 0, || {
            call.says(&format!(
                "axis {axis} of {} has {size} elements and is padded by {before} and {after}; the built-in engine takes 0 \
                 to {most}",
                call.name(0)
            ))
        })?;
    }
    Ok(())
}

pub(super) fn top_k(call: &Call<'_>) -> Outcome {
    let (Some(x), Some(k)) = (call.shape(0), call.list(1, "k").and_then(|k| k.first().copied())) else { return Ok(()) };
    let axis = call.axis(call.integer("axis", -1), x.len())?;
    ensure((0..=x[axis] as i64).contains(&k), || {
        call.says(&format!("k is {k}, expected 0 to {}, the size of axis {axis} of {}", x[axis], call.name(0)))
    })
}

pub(super) fn split(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let axis = call.axis(call.integer("axis", 0), x.len())?;
    let (size, outputs) = (x[axis] as i64, call.node.output.len() as i64);
    let Some(parts) = call.list(1, "split") else {
        let is_even = size % outputs == 0;
        let is_named = attribute(call.node, "num_outputs").is_some();
        // Parts are rounded up, and the last one is what remains.
        let last = size - (size + outputs - 1) / outputs * (outputs - 1);
        return ensure(is_even || is_named && last >= 0, || {
            call.says(&format!("axis {axis} of {} has {size} elements, which make no {outputs} parts", call.name(0)))
        });
    };
    let total = parts.iter().try_fold(0i64, |total, part| total.checked_add(*part));
    let fits = parts.len() as i64 == outputs && parts.iter().all(|part| *part >= 0) && total == Some(size);
    ensure(fits, || {
        call.says(&format!(
            "axis {axis} of {} has {size} elements, and the {outputs} parts are to have {parts:?}",
            call.name(0)
        ))
    })
}

pub(super) fn one_hot(call: &Call<'_>) -> Outcome {
    let Some(depth) = call.integers(1).and_then(|depth| depth.first().copied()) else { return Ok(()) };
    ensure((1..=LARGEST).contains(&depth), || {
        call.says(&format!("{} is {depth}, expected 1 to {LARGEST}", call.name(1)))
    })?;
    let indices = call.shape(0).unwrap_or_default().iter().product::<usize>() as i64;
    call.may_make(&[indices, depth], 2)
}

/// Each sequence of a batch has a length.
pub(super) fn reverse_sequence(call: &Call<'_>) -> Outcome {
    let time = call.integer("time_axis", 0);
    let batch = call.integer("batch_axis", 1);
    let (Some(x), Some(lengths)) = (call.shape(0), call.integers(1)) else { return Ok(()) };
    let (steps, samples) = (x[call.axis(time, x.len())?] as i64, x[call.axis(batch, x.len())?]);
    ensure(lengths.len() == samples, || {
        call.says(&format!("{} has {} lengths for {samples} sequences", call.name(1), lengths.len()))
    })?;
    match lengths.iter().find(|length| !(0..=steps).contains(*length)) {
        Some(length) => Err(call.says(&format!("{} holds {length}, expected 0 to {steps} steps", call.name(1)))),
        None => Ok(()),
    }
}

pub(super) fn squeeze(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    for axis in call.list(1, "axes").unwrap_or_default() {
        let axis = call.axis(axis, x.len())?;
        ensure(x[axis] == 1, || {
            call.says(&format!("axis {axis} of {} has {} elements; one of 1 can be removed", call.name(0), x[axis]))
        })?;
    }
    Ok(())
}

pub(super) fn unsqueeze(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let axes = call.list(1, "axes").unwrap_or_default();
    let mut seen = Vec::new();
    for axis in &axes {
        let axis = call.axis(*axis, x.len() + axes.len())?;
        ensure(!seen.contains(&axis), || call.says(&format!("axis {axis} is named twice")))?;
        seen.push(axis);
    }
    Ok(())
}

/// An image gets a size, or grows by a factor.
pub(super) fn resize(call: &Call<'_>) -> Outcome {
    let scales = call.value(if call.inputs.len() > 2 { 2 } else { 1 }).and_then(|scales| scales.cast_to::<f64>().ok());
    let scales =
        scales.as_ref().and_then(|scales| scales.try_as_plain_ram().ok()?.as_slice::<f64>().ok().map(<[f64]>::to_vec));
    for scale in scales.unwrap_or_default() {
        ensure(scale > 0.0 && scale.is_finite(), || {
            call.says(&format!("a scale is {scale}, expected a number above 0"))
        })?;
    }
    sizes(call, 3, 1)
}

/// `NonMaxSuppression`: tract takes 0 boxes for any number of them.
pub(super) fn suppression(call: &Call<'_>) -> Outcome {
    let most = call.integers(2).and_then(|most| most.first().copied()).unwrap_or(0);
    ensure(most > 0, || {
        call.says(&format!("max_output_boxes_per_class is {most}; the built-in engine takes 1 or more"))
    })?;
    let overlap = call.value(3).and_then(|value| value.cast_to_scalar::<f32>().ok()).unwrap_or(0.0);
    ensure((0.0..=1.0).contains(&overlap), || call.says(&format!("iou_threshold is {overlap}, expected 0 to 1")))
}

/// Axes that there are.
pub(super) fn axes(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let given = call.list(1, "axes").unwrap_or_default();
    given.iter().try_for_each(|axis| call.axis(*axis, x.len()).map(drop))
}

/// An axis is the value of the second input.
pub(super) fn axis(call: &Call<'_>) -> Outcome {
    let (Some(x), Some(axis)) = (call.shape(0), call.integers(1).and_then(|axis| axis.first().copied())) else {
        return Ok(());
    };
    call.axis(axis, x.len()).map(drop)
}

pub(super) fn diagonal(call: &Call<'_>) -> Outcome {
    let Some(k) = call.integers(1).and_then(|k| k.first().copied()) else { return Ok(()) };
    ensure((-LARGEST..=LARGEST).contains(&k), || call.says(&format!("k is {k}, expected -{LARGEST} to {LARGEST}")))
}

pub(super) fn compress(call: &Call<'_>) -> Outcome {
    let (Some(x), Some([conditions])) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    let size = match attribute(call.node, "axis") {
        Some(axis) => x[call.axis(axis.i, x.len())?],
        None => x.iter().product(),
    };
    let Some(chosen) = call.value(1).and_then(|value| value.cast_to::<i64>().ok()) else { return Ok(()) };
    let chosen = chosen.try_as_plain_ram().ok().and_then(|plain| plain.as_slice::<i64>().ok().map(<[i64]>::to_vec));
    let beyond = chosen.unwrap_or_default().iter().skip(size).any(|chosen| *chosen != 0);
    ensure(!beyond || *conditions <= size, || {
        call.says(&format!("{} holds {conditions} conditions for {size} elements of {}", call.name(1), call.name(0)))
    })
}

#[cfg(test)]
mod tests {
    use tract_onnx::prelude::tensor1;

    use super::super::super::check::node;
    use super::super::call::Given;
    use super::*;
    use crate::engine::Bounds;

    /// Judges a node of two outputs by the shape of its first input and the value of its second one.
    fn is_met(op: &str, demand: fn(&Call<'_>) -> Outcome, x: &[usize], value: &[i64]) -> bool {
        let node = node(op, &["x", "v"], &["y", "z"], Vec::new());
        let value = tensor1(value);
        let inputs = vec![
            Some(Given { shape: x, element_bytes: 4, value: None }),
            Some(Given { shape: value.shape(), element_bytes: 8, value: Some(&value) }),
        ];
        demand(&Call { node: &node, inputs, bounds: Bounds { tensor_bytes: 100 } }).is_ok()
    }

    #[test]
    fn a_new_shape_holds_as_many_elements() {
        let sizes = -2..=13i64;
        for (one, other) in sizes.clone().flat_map(|one| sizes.clone().map(move |other| (one, other))) {
            let wanted = [one, other];
            let filled = |derived: i64| {
                let size = |(axis, size): (usize, &i64)| match size {
                    0 => [2, 6][axis],
                    -1 => derived,
                    size => *size,
                };
                wanted.iter().enumerate().map(size).collect::<Vec<_>>()
            };
            let fits = |shape: Vec<i64>| shape.iter().all(|size| *size > 0) && shape.iter().product::<i64>() == 12;
            let expected = wanted != [-1, -1] && (1..=12).any(|derived| fits(filled(derived)));
            assert_eq!(is_met("Reshape", reshape, &[2, 6], &wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn parts_add_up_and_a_tile_is_within_the_limit() {
        for (one, other) in (-1..=4i64).flat_map(|one| (-1..=4i64).map(move |other| (one, other))) {
            let adds_up = one >= 0 && other >= 0 && one + other == 3;
            assert_eq!(is_met("Split", split, &[3], &[one, other]), adds_up, "{one} {other}");
            let is_small = one >= 0 && other >= 0 && one * other * 4 * 4 <= 100;
            assert_eq!(is_met("Tile", tile, &[2, 2], &[one, other]), is_small, "{one} {other}");
        }
        for k in -1..=4 {
            assert_eq!(is_met("TopK", top_k, &[2, 3], &[k]), (0..=3).contains(&k), "{k}");
            assert_eq!(is_met("CumSum", axis, &[2, 3], &[k - 1]), (-2..2).contains(&(k - 1)), "{k}");
        }
        for n in 0..=40 {
            assert_eq!(is_met("Expand", expand, &[1, 1], &[n, 1]), n * 4 <= 100, "{n}");
        }
    }
}
