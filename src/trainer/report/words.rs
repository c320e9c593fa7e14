//! Numbers and classes in words, the same on a terminal and in every kind of report.

/// `0.974` → `97.40 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// The name of a class, or its number.
pub fn label(labels: &[String], class: usize) -> String {
    labels.get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// The most frequent confusions as (truth, predicted, how often), at most `count`.
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

/// Text for HTML and SVG: no label or path can begin an element or leave an attribute.
pub(in crate::trainer) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
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
    fn nothing_in_a_label_is_markup() {
        assert_eq!(escape("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        assert_eq!((percent(0.974), label(&["x".into()], 1)), ("97.40 %".into(), "1".into()));
    }
}
