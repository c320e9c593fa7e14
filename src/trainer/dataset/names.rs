//! Texts and their numbers, in the order in which they are met.

use std::collections::HashMap;

/// A list of different texts.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    list: Vec<String>,
    index: HashMap<String, u32>,
}

impl Names {
    /// The number of a text, which is added if it is new.
    pub(super) fn code(&mut self, name: &str) -> u32 {
        if let Some(code) = self.index.get(name) {
            return *code;
        }
        let code = self.list.len() as u32;
        self.list.push(name.to_owned());
        self.index.insert(name.to_owned(), code);
        code
    }

    /// Returns the number of a text that is here.
    pub(super) fn place(&self, name: &str) -> Option<u32> {
        self.index.get(name).copied()
    }

    /// The texts by number.
    pub(super) fn list(&self) -> &[String] {
        &self.list
    }

    /// Returns the number of texts.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

/// Sorts as people do: whole numbers by size, everything else as text.
pub(super) fn sort(names: &mut [String]) {
    let number = |name: &String| name.parse::<i64>().ok();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|a, b| number(a).cmp(&number(b)).then_with(|| a.cmp(b)));
    } else {
        names.sort_unstable();
    }
}

/// Names for people, not more than fit a line.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_by_size_and_texts_as_texts() {
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            sort(&mut names);
            names.join(" ")
        };
        assert_eq!(sorted(&["10", "9", "-1"]), "-1 9 10");
        assert_eq!(sorted(&["10", "9", "a"]), "10 9 a");
    }

    #[test]
    fn a_text_keeps_its_number() {
        let mut names = Names::default();
        assert_eq!([names.code("b"), names.code("a"), names.code("b")], [0, 1, 0]);
        assert_eq!((names.list(), names.len()), (&["b".to_owned(), "a".to_owned()][..], 2));
    }
}
