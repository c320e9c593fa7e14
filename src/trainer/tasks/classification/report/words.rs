//! Classes in words, the same on a terminal and in every form of a report.

/// Returns the name of a class, or its number.
pub fn label(labels: &[String], class: usize) -> String {
    labels.get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// Returns the most frequent confusions as (truth, predicted, samples), at most `count`.
pub fn confusions(confusion: &[Vec<u64>], count: usize) -> Vec<(usize, usize, u64)> {
    let cells = confusion
        .iter()
        .enumerate()
        .flat_map(|(truth, row)| row.iter().enumerate().map(move |(predicted, samples)| (truth, predicted, *samples)));
    let mut found: Vec<_> = cells.filter(|(truth, predicted, samples)| truth != predicted && *samples > 0).collect();
    found.sort_by(|a, b| b.2.cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    found.truncate(count);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusions_are_the_greatest_cells_off_the_diagonal() {
        let matrix = vec![vec![90, 3, 0], vec![7, 80, 0], vec![3, 0, 50]];
        assert_eq!(confusions(&matrix, 2), [(1, 0, 7), (0, 1, 3)]);
        assert_eq!(confusions(&matrix, 9).len(), 3);
    }

    #[test]
    fn a_class_without_a_name_is_called_by_its_number() {
        assert_eq!(label(&["x".into()], 1), "1");
    }
}
