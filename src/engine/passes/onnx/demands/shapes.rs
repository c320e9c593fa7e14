//! Sizes that must fit together.

use super::super::build::{attribute, text_of};
use super::call::{Call, Outcome, ensure};

/// Returns the shape that both broadcast to; `None` if they do not fit.
fn joined(one: &[usize], other: &[usize]) -> Option<Vec<usize>> {
    let rank = one.len().max(other.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let join = |axis: usize| match (size(one, axis), size(other, axis)) {
        (a, b) if a == b => Some(a),
        (1, size) | (size, 1) => Some(size),
        _ => None,
    };
    (0..rank).map(join).collect()
}

fn misfit(call: &Call<'_>, shapes: &[&[usize]]) -> String {
    let named: Vec<String> =
        shapes.iter().enumerate().take(4).map(|(at, shape)| format!("{} of {shape:?}", call.name(at))).collect();
    call.says(&format!("the shapes of {} do not fit together", named.join(" and ")))
}

/// All inputs broadcast to one shape.
pub(super) fn broadcast(call: &Call<'_>) -> Outcome {
    let shapes = call.shapes();
    let first = shapes.first().map_or_else(Vec::new, |shape| shape.to_vec());
    let all = shapes.iter().skip(1).try_fold(first, |all, shape| joined(&all, shape));
    ensure(all.is_some(), || misfit(call, &shapes))
}

/// The second input broadcasts to the shape of the first.
pub(super) fn broadcast_to_first(call: &Call<'_>) -> Outcome {
    let (Some(first), Some(second)) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    let fits = joined(first, second).as_deref() == Some(first)
        || (call.node.op_type == "PRelu" && is_channelwise(first, second));
    ensure(fits, || misfit(call, &[first, second]))
}

/// Returns true for one slope for each channel, which some exporters write without the dimensions that follow.
fn is_channelwise(x: &[usize], slope: &[usize]) -> bool {
    matches!((x.get(1), slope), (Some(channels), [size]) if size == channels)
}

pub(super) fn matmul(call: &Call<'_>) -> Outcome {
    let (Some(a), Some(b)) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    let fits = match (a.len(), b.len()) {
        (0, _) | (_, 0) => false,
        (rows, columns) => {
            let depth = b[columns.saturating_sub(2)];
            let batches = joined(&a[..rows.saturating_sub(2)], &b[..columns.saturating_sub(2)]);
            a[rows - 1] == depth && batches.is_some()
        }
    };
    ensure(fits, || misfit(call, &[a, b]))
}

pub(super) fn gemm(call: &Call<'_>) -> Outcome {
    let (Some(&[a0, a1]), Some(&[b0, b1])) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    let turned = |name: &str, first: usize, second: usize| {
        if call.integer(name, 0) == 0 { (first, second) } else { (second, first) }
    };
    let ((rows, depth), (other, columns)) = (turned("transA", a0, a1), turned("transB", b0, b1));
    ensure(depth == other, || misfit(call, &[&[a0, a1], &[b0, b1]]))?;
    let Some(added) = call.shape(2) else { return Ok(()) };
    let fits = joined(&[rows, columns], added).as_deref() == Some(&[rows, columns]);
    ensure(fits, || {
        call.says(&format!("{} of {added:?} does not fit a product of {:?}", call.name(2), [rows, columns]))
    })
}

pub(super) fn concat(call: &Call<'_>) -> Outcome {
    let shapes = call.shapes();
    let Some(first) = shapes.first() else { return Ok(()) };
    let axis = call.axis(call.integer("axis", 0), first.len())?;
    let agrees = |shape: &&[usize]| {
        shape.len() == first.len()
            && shape.iter().zip(*first).enumerate().all(|(at, (size, expected))| at == axis || size == expected)
    };
    ensure(shapes.iter().all(agrees), || misfit(call, &shapes))
}

/// Dimensions of one letter have one size.
pub(super) fn einsum(call: &Call<'_>) -> Outcome {
    let equation: String = text_of(call.node, "equation", "").chars().filter(|one| !one.is_whitespace()).collect();
    let terms = equation.split("->").next().unwrap_or_default().split(',');
    let mut sizes: Vec<(char, usize)> = Vec::new();
    for (at, term) in terms.enumerate() {
        let Some(shape) = call.shape(at) else { return Ok(()) };
        let (front, back) = term.split_once("...").unwrap_or((term, ""));
        let has_rest = term.contains("...");
        let (first, last) = (front.chars().count(), back.chars().count());
        let fits = if has_rest { first + last <= shape.len() } else { first == shape.len() };
        ensure(fits, || call.says(&format!("{} has {} dimensions, {term} has others", call.name(at), shape.len())))?;
        let named = front.chars().zip(shape).chain(back.chars().zip(&shape[shape.len() - last..]));
        for (letter, size) in named {
            match sizes.iter().find(|(known, _)| *known == letter) {
                Some((_, known)) => ensure(known == size, || {
                    call.says(&format!(
                        "the dimension {letter} of {equation} is {known} and, in {}, {size}",
                        call.name(at)
                    ))
                })?,
                None => sizes.push((letter, *size)),
            }
        }
    }
    Ok(())
}

/// The channels of a `DepthToSpace` and the pixels of a `SpaceToDepth` come in whole blocks.
pub(super) fn blocks(call: &Call<'_>) -> Outcome {
    let (Some(&[_, channels, height, width]), Ok(block)) =
        (call.shape(0), usize::try_from(call.integer("blocksize", 0)))
    else {
        return Ok(());
    };
    ensure(block > 0, || call.says("blocksize must be at least 1"))?;
    let fits = if call.node.op_type == "DepthToSpace" {
        channels % (block * block) == 0
    } else {
        height % block == 0 && width % block == 0
    };
    ensure(fits, || {
        call.says(&format!("{} of {:?} has no whole blocks of {block}", call.name(0), [channels, height, width]))
    })
}

/// Scales and the like have one number for each channel.
pub(super) fn channels(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let Some(channels) = x.get(1) else { return Ok(()) };
    for at in 1..call.inputs.len() {
        let Some(shape) = call.shape(at) else { continue };
        ensure(shape == [*channels], || {
            call.says(&format!(
                "{} of {x:?} has {channels} channels, and {} is of {shape:?}",
                call.name(0),
                call.name(at)
            ))
        })?;
    }
    Ok(())
}

/// Scales and the like broadcast to the axes that are normalized.
pub(super) fn normalized(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let axis = call.axis(call.integer("axis", -1), x.len())?;
    for at in 1..call.inputs.len() {
        let Some(shape) = call.shape(at) else { continue };
        let fits = joined(&x[axis..], shape).as_deref() == Some(&x[axis..]);
        ensure(fits, || misfit(call, &[x, shape]))?;
    }
    Ok(())
}

/// A reduction over axes that there are; an extreme of nothing has no place.
pub(super) fn extremes(call: &Call<'_>) -> Outcome {
    let Some(x) = call.shape(0) else { return Ok(()) };
    let axis = call.axis(call.integer("axis", 0), x.len())?;
    ensure(x[axis] > 0, || call.says(&format!("{} has nothing along axis {axis} to choose from", call.name(0))))
}

/// The sizes that a convolution's weights ask of its channels.
pub(super) fn convolution(call: &Call<'_>) -> Outcome {
    let (Some(x), Some(w)) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    let (Some(channels), Some(of_group)) = (x.get(1), w.get(1)) else { return Ok(()) };
    let groups = usize::try_from(call.integer("group", 1)).unwrap_or(1);
    let expected = if call.node.op_type == "ConvTranspose" { w[0] } else { of_group * groups };
    ensure(*channels == expected && x.len() == w.len(), || {
        call.says(&format!("{} of {x:?} does not fit the weights of {w:?}: expected {expected} channels", call.name(0)))
    })?;
    let has_kernel = attribute(call.node, "kernel_shape").is_none_or(|kernel| {
        kernel.ints.iter().zip(&w[2..]).all(|(size, of_weights)| usize::try_from(*size) == Ok(*of_weights))
    });
    ensure(has_kernel, || call.says("kernel_shape is not the size of the weights"))?;
    if call.node.op_type == "ConvTranspose" { grown(call, x, w) } else { Ok(()) }
}

/// The padding that is taken off a grown image leaves something of it.
fn grown(call: &Call<'_>, x: &[usize], w: &[usize]) -> Outcome {
    let list = |name: &str| attribute(call.node, name).map_or(&[][..], |attribute| &attribute.ints);
    let of = |name: &str, at: usize, default: i64| list(name).get(at).copied().unwrap_or(default);
    for axis in 0..w.len().saturating_sub(2) {
        let (size, kernel) = (x[axis + 2] as i64, w[axis + 2] as i64);
        let full = of("strides", axis, 1) * (size - 1) + (kernel - 1) * of("dilations", axis, 1) + 1;
        let left = full + of("output_padding", axis, 0) - of("pads", axis, 0) - of("pads", axis + w.len() - 2, 0);
        ensure(left > 0, || {
            call.says(&format!(
                "the input is too small: padding leaves {left} of axis {} of {}",
                axis + 2,
                call.name(0)
            ))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_join_where_sizes_are_equal_or_one() {
        assert_eq!(joined(&[2, 3], &[3]), Some(vec![2, 3]));
        assert_eq!(joined(&[2, 1], &[1, 3]), Some(vec![2, 3]));
        assert_eq!(joined(&[0, 3], &[1, 3]), Some(vec![0, 3]));
        assert_eq!(joined(&[], &[5]), Some(vec![5]));
        assert_eq!(joined(&[2, 3], &[2]), None);
        assert_eq!(joined(&[0], &[2]), None);
    }
}
