//! Writes JSON with line breaks in the places where TensorFlow Serving and TorchServe put them, straight
//! into bytes.

use std::io::Write as _;

/// JSON under way. Calls must be balanced: what is begun is ended, and in an object each key is followed
/// by one value.
#[derive(Debug)]
pub(in crate::api::http) struct Pretty {
    out: Vec<u8>,
    indent: usize,
    levels: Vec<Level>,
    /// Whether what follows in lists stays on one line.
    single_line: bool,
}

#[derive(Debug)]
struct Level {
    in_list: bool,
    values: usize,
}

impl Pretty {
    /// Nothing yet; each level is indented by so many spaces.
    pub(in crate::api::http) fn new(indent: usize) -> Self {
        Self { out: Vec::new(), indent, levels: Vec::new(), single_line: false }
    }

    /// Whether the elements of lists stay on one line from now on.
    pub(in crate::api::http) fn single_line(&mut self, single_line: bool) {
        self.single_line = single_line;
    }

    /// What was written.
    pub(in crate::api::http) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Begins a list.
    pub(in crate::api::http) fn begin_list(&mut self) {
        self.place();
        self.out.push(b'[');
        self.levels.push(Level { in_list: true, values: 0 });
    }

    /// Ends a list.
    pub(in crate::api::http) fn end_list(&mut self) {
        let is_empty = self.levels.pop().is_none_or(|level| level.values == 0);
        if !is_empty && !self.single_line {
            self.new_line();
        }
        self.out.push(b']');
    }

    /// Begins an object.
    pub(in crate::api::http) fn begin_object(&mut self) {
        self.place();
        self.out.push(b'{');
        self.levels.push(Level { in_list: false, values: 0 });
    }

    /// Ends an object.
    pub(in crate::api::http) fn end_object(&mut self) {
        let is_empty = self.levels.pop().is_none_or(|level| level.values == 0);
        if !is_empty {
            self.new_line();
        }
        self.out.push(b'}');
    }

    /// Writes a key of an object; its value must follow.
    pub(in crate::api::http) fn key(&mut self, key: &str) {
        self.text(key);
    }

    /// Writes a string.
    pub(in crate::api::http) fn text(&mut self, text: &str) {
        self.place();
        // Writing a string to memory cannot fail.
        drop(serde_json::to_writer(&mut self.out, text));
    }

    /// Writes something that is JSON as it shows itself.
    pub(in crate::api::http) fn shown(&mut self, value: impl std::fmt::Display) {
        // Writing to memory cannot fail.
        self.value(|out| drop(write!(out, "{value}")));
    }

    /// Has a value written.
    pub(in crate::api::http) fn value(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.place();
        write(&mut self.out);
    }

    /// What stands before a value or key: a comma or colon, and a line of its own if it gets one.
    fn place(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        let before = level.values;
        level.values += 1;
        if level.in_list {
            if before > 0 {
                self.out.push(b',');
            }
            match self.single_line {
                true if before > 0 => self.out.push(b' '),
                true => {}
                false => self.new_line(),
            }
        } else if before % 2 == 1 {
            self.out.extend_from_slice(b": ");
        } else {
            if before > 0 {
                self.out.push(b',');
            }
            self.new_line();
        }
    }

    fn new_line(&mut self) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + self.levels.len() * self.indent, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_on_one_line_or_on_many() {
        let mut json = Pretty::new(4);
        json.begin_object();
        json.key("predictions");
        json.begin_list();
        json.single_line(true);
        for row in [[1, 2], [3, 4]] {
            json.begin_list();
            row.into_iter().for_each(|number| json.shown(number));
            json.end_list();
        }
        json.single_line(false);
        json.end_list();
        json.key("a\"b");
        json.begin_list();
        json.shown(true);
        json.text("é");
        json.begin_list();
        json.end_list();
        json.begin_object();
        json.end_object();
        json.end_list();
        json.end_object();
        let text = String::from_utf8(json.finish()).unwrap();
        assert_eq!(
            text,
            "{\n    \"predictions\": [[1, 2], [3, 4]\n    ],\n    \"a\\\"b\": [\n        true,\n        \"é\",\n        [],\n        {}\n    ]\n}"
        );
    }
}
