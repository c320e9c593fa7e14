//! What the callers of an alias count on, and what of it another version would change.

use crate::serving::servable::Servable;
use crate::signature::{ColumnKind, Dim, TensorSpec};

/// The most differences that are told.
const MAX_TOLD: usize = 5;

/// Returns what callers of one version would find changed in another one, in words: inputs, outputs, columns, the task,
/// and the labels of classes. Nothing for a version that was merely trained anew.
pub(super) fn changes(before: &Servable, after: &Servable) -> Vec<String> {
    let mut changes = tensors("input", &before.signature().inputs, &after.signature().inputs);
    changes.extend(tensors("output", &before.signature().outputs, &after.signature().outputs));
    changes.extend(columns(before, after));
    let task = |servable: &Servable| Some(servable.manifest.as_ref()?.metrics.as_ref()?.task());
    if let (Some(old), Some(new)) = (task(before), task(after))
        && old != new
    {
        changes.push(format!("it does {new} instead of {old}"));
    }
    changes.extend(labels(before.labels(), after.labels()));
    let more = changes.len().saturating_sub(MAX_TOLD);
    changes.truncate(MAX_TOLD);
    if more > 0 {
        changes.push(format!("and {more} more"));
    }
    changes
}

/// Compares tensors by name. How many samples one run takes is not the callers' concern, nor is the name of an open
/// dimension; an output that is added breaks nobody.
fn tensors(what: &str, before: &[TensorSpec], after: &[TensorSpec]) -> Vec<String> {
    let find = |tensors: &[TensorSpec], name: &str| tensors.iter().find(|tensor| tensor.name == name).map(said);
    let gone = before.iter().filter_map(|old| match find(after, &old.name) {
        None => Some(format!("{what} \"{}\" is gone", old.name)),
        Some(new) if new != said(old) => Some(format!("{what} \"{}\" is {new} instead of {}", old.name, said(old))),
        Some(_) => None,
    });
    let is_new = |new: &&TensorSpec| what == "input" && find(before, &new.name).is_none();
    let new = after.iter().filter(is_new).map(|new| format!("{what} \"{}\" is new", new.name));
    gone.chain(new).collect()
}

fn said(tensor: &TensorSpec) -> String {
    let dim = |dim: &Dim| if dim.is_open() { "?".to_owned() } else { dim.to_string() };
    let dims: Vec<String> = tensor.sample_dims().iter().map(dim).collect();
    format!("{} [{}]", tensor.dtype, dims.join(", "))
}

/// Compares the columns of tables. New data may bring new texts into a column; that is no change.
fn columns(before: &Servable, after: &Servable) -> Vec<String> {
    let is_number = |kind: &ColumnKind| matches!(kind, ColumnKind::Number | ColumnKind::Shifted { .. });
    let of = |servable: &Servable| -> Vec<(String, bool)> {
        servable.columns().iter().map(|column| (column.name.clone(), is_number(&column.kind))).collect()
    };
    let (old, new) = (of(before), of(after));
    let find = |columns: &[(String, bool)], name: &str| columns.iter().find(|column| column.0 == name).map(|at| at.1);
    let told = |is_number| if is_number { "numbers" } else { "texts" };
    let gone = old.iter().filter_map(|(name, kind)| match find(&new, name) {
        None => Some(format!("column \"{name}\" is gone")),
        Some(now) if now != *kind => Some(format!("column \"{name}\" takes {} instead of {}", told(now), told(*kind))),
        Some(_) => None,
    });
    let added = new.iter().filter(|(name, _)| find(&old, name).is_none());
    gone.chain(added.map(|(name, _)| format!("column \"{name}\" is new"))).collect()
}

fn labels(before: &[String], after: &[String]) -> Option<String> {
    if before == after || before.is_empty() {
        return None;
    }
    let named = |labels: &[String], class: usize| {
        labels.get(class).map_or_else(|| "nothing".to_owned(), |label| crate::ids::quote(label))
    };
    let first = (0..before.len().max(after.len())).find(|class| before.get(*class) != after.get(*class))?;
    Some(format!("class {first} is {} instead of {}", named(after, first), named(before, first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::DType;

    fn tensor(name: &str, shape: &[Dim]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype: DType::Float32, shape: shape.to_vec() }
    }

    #[test]
    fn what_a_caller_sends_and_gets_is_the_contract_and_no_more() {
        let open = |name: &str| Dim::Symbol(name.into());
        let old = [tensor("x", &[open("N"), Dim::Fixed(3)]), tensor("y", &[open("N"), open("L")])];
        assert!(tensors("input", &old, &old).is_empty());
        let renamed = [tensor("y", &[open("N"), open("T")]), tensor("x", &[open("N"), Dim::Fixed(3)])];
        assert!(tensors("input", &old, &renamed).is_empty(), "the order and the names of open dimensions");
        let wider = [tensor("x", &[open("N"), Dim::Fixed(4)]), tensor("z", &[open("N")])];
        assert_eq!(
            tensors("input", &old, &wider),
            ["input \"x\" is float32 [4] instead of float32 [3]", "input \"y\" is gone", "input \"z\" is new"]
        );
        assert_eq!(tensors("output", &old[..1], &old), [] as [String; 0], "an output that is added");
    }

    #[test]
    fn the_first_class_with_another_label_is_told() {
        let of = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
        let told = |before: &[&str], after: &[&str]| labels(&of(before), &of(after));
        assert_eq!(told(&["a", "b"], &["a", "b"]), None);
        assert_eq!(told(&[], &["a"]), None, "names for classes that had none");
        assert_eq!(told(&["a", "b"], &["b", "a"]).unwrap(), "class 0 is \"b\" instead of \"a\"");
        assert_eq!(told(&["a", "b"], &["a"]).unwrap(), "class 1 is nothing instead of \"b\"");
        assert_eq!(told(&["a"], &["a", "c"]).unwrap(), "class 1 is \"c\" instead of nothing");
    }
}
