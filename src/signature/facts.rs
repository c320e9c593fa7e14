//! What a graph says about itself besides its inputs and outputs: who made it, and what it does first and last.

/// What a graph says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GraphFacts {
    /// The program that wrote the file.
    pub producer: String,
    /// The texts that it put into the file, by key.
    pub metadata: Vec<(String, String)>,
    /// The arithmetic that the first input goes through before anything else, in order.
    pub opening: Vec<Step>,
    /// The operator that makes each output, by the output's name.
    pub closing: Vec<(String, String)>,
}

/// An operation on the first input and constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The operator.
    pub operator: String,
    /// Its constant, if it is a short one.
    pub values: Vec<f32>,
}

impl GraphFacts {
    /// Returns the text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(found, _)| found == key).map(|(_, text)| text.as_str())
    }

    /// Returns the operator that makes an output.
    pub fn closing_of(&self, output: &str) -> Option<&str> {
        self.closing.iter().find(|(name, _)| name == output).map(|(_, operator)| operator.as_str())
    }

    /// Returns the names of classes that exporters put into the file, in order; none if there are none.
    pub fn class_names(&self) -> Vec<String> {
        let keys = ["names", "class_names", "classes", "labels", "id2label"];
        keys.iter().filter_map(|key| self.text(key)).find_map(listed).unwrap_or_default()
    }
}

/// The most names that are read.
const MAX_NAMES: usize = 100_000;

/// Returns the names in a list or a dictionary by number, in Python's words or JSON's; `None` if it is neither.
fn listed(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim();
    let close = match rest.chars().next()? {
        '[' => ']',
        '(' => ')',
        '{' => '}',
        _ => return None,
    };
    rest = &rest[1..];
    let mut names: Vec<Option<String>> = Vec::new();
    loop {
        rest = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
        if let Some(end) = rest.strip_prefix(close) {
            return end.trim().is_empty().then(|| names.into_iter().collect()).flatten();
        }
        let mut place = names.len();
        if close == '}' {
            let (key, after) = rest.split_once(':')?;
            place = key.trim().trim_matches(['"', '\'']).parse().ok()?;
            rest = after.trim_start();
        }
        let (name, after) = quoted(rest)?;
        if place >= MAX_NAMES {
            return None;
        }
        if names.len() <= place {
            names.resize(place + 1, None);
        }
        names[place] = Some(name);
        rest = after;
    }
}

/// Returns a text in quotes of either kind, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut name = String::new();
    let mut letters = text[1..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next()?.1 {
                'n' => name.push('\n'),
                't' => name.push('\t'),
                other => name.push(other),
            },
            end if end == quote => return Some((name, &text[1 + at + 1..])),
            other => name.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_the_words_of_python_and_of_json() {
        let names = |key: &str, text: &str| {
            GraphFacts { metadata: vec![(key.into(), text.into())], ..GraphFacts::default() }.class_names()
        };
        assert_eq!(
            names("names", "{0: 'person', 1: \"driver's seat\", 2: 'cat\\'s'}"),
            ["person", "driver's seat", "cat's"]
        );
        assert_eq!(names("id2label", r#"{"1": "dog", "0": "cat"}"#), ["cat", "dog"]);
        assert_eq!(names("labels", "[\"a, b\", 'c',]"), ["a, b", "c"]);
        for other in
            ["", "person", "{0: 'a', 2: 'c'}", "{0: 'a'", "[1, 2]", "{'a': 0}", "{99999999999: 'a'}", "['a'] x"]
        {
            assert_eq!(names("names", other), [""; 0], "{other}");
        }
    }
}
