//! Nested lists, read element by element while their shape is found.

use super::cursor::Cursor;
use crate::error::Result;

/// Lists of a tensor nested deeper than this are refused.
const MAX_DEPTH: usize = 8;

/// Lists whose nesting means nothing may be deeper.
const MAX_FLAT_DEPTH: usize = 32;

/// The shape of nested lists, as far as they were read.
#[derive(Debug, Default)]
pub(in crate::api) struct Shape {
    /// The length of the lists at each depth, once one of them has ended.
    sizes: Vec<Option<usize>>,
    /// The depth at which there are elements.
    elements: Option<usize>,
    is_flat: bool,
}

impl Shape {
    /// Returns the shape of lists whose nesting means nothing, because the request states the shape.
    pub(in crate::api) fn flat() -> Self {
        Self { is_flat: true, ..Self::default() }
    }

    /// Returns the shape of a list whose elements come one by one; its length is set at the end.
    pub(super) fn list() -> Self {
        Self { sizes: vec![None], ..Self::default() }
    }

    /// Returns the lengths at each depth, the outermost being the given one.
    pub(super) fn finish(mut self, outermost: Option<usize>) -> Vec<usize> {
        if outermost.is_some() {
            self.sizes[0] = outermost;
        }
        self.sizes.into_iter().map(|size| size.unwrap_or(0)).collect()
    }

    /// Reads an element, or lists within lists of elements, which stand at a depth.
    ///
    /// # Errors
    /// The errors of `element`; lists that are no rectangle, nested too deeply or not well formed.
    #[inline]
    pub(in crate::api) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        depth: usize,
        element: &mut impl FnMut(&mut Cursor<'_>) -> Result<()>,
    ) -> Result<()> {
        if cursor.peek() == Some(b'[') {
            return self.read_list(cursor, depth, element);
        }
        element(cursor)?;
        self.element(cursor, depth)
    }

    fn read_list(
        &mut self,
        cursor: &mut Cursor<'_>,
        depth: usize,
        element: &mut impl FnMut(&mut Cursor<'_>) -> Result<()>,
    ) -> Result<()> {
        self.open(cursor, depth)?;
        cursor.take(b'[');
        let mut count = 0;
        let mut more = !cursor.take(b']');
        while more {
            self.read(cursor, depth + 1, element)?;
            count += 1;
            more = cursor.next_element()?;
        }
        self.close(cursor, depth, count)
    }

    #[inline]
    fn element(&mut self, cursor: &Cursor<'_>, depth: usize) -> Result<()> {
        let is_beside = *self.elements.get_or_insert(depth) != depth || self.sizes.len() > depth;
        if is_beside && !self.is_flat { Err(side_by_side(cursor)) } else { Ok(()) }
    }

    fn open(&mut self, cursor: &Cursor<'_>, depth: usize) -> Result<()> {
        let limit = if self.is_flat { MAX_FLAT_DEPTH } else { MAX_DEPTH };
        if depth >= limit {
            return Err(cursor.fault(format_args!("lists are nested deeper than {limit}")));
        }
        if self.is_flat {
            return Ok(());
        }
        if self.elements.is_some_and(|elements| elements <= depth) {
            return Err(side_by_side(cursor));
        }
        if self.sizes.len() == depth {
            self.sizes.push(None);
        }
        Ok(())
    }

    fn close(&mut self, cursor: &Cursor<'_>, depth: usize, count: usize) -> Result<()> {
        let Some(size) = self.sizes.get_mut(depth) else { return Ok(()) };
        match size.replace(count) {
            Some(other) if other != count => {
                Err(cursor.fault(format_args!("lists at depth {depth} differ in length: {other} and {count}")))
            }
            _ => Ok(()),
        }
    }
}

fn side_by_side(cursor: &Cursor<'_>) -> crate::error::Error {
    cursor.fault("numbers and lists stand side by side")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers in lists whose nesting means nothing.
    fn elements(json: &str) -> Result<Vec<String>> {
        let mut cursor = Cursor::with_words(json.as_bytes());
        let mut read = Vec::new();
        Shape::flat()
            .read(&mut cursor, 0, &mut |cursor| cursor.number().map(|number| read.push(number.text().to_owned())))?;
        cursor.end().map(|()| read)
    }

    #[test]
    fn lists_within_lists_are_flat() {
        for (json, expected) in [
            ("[1,[2.5,-3],[[4e1]] ]", &["1", "2.5", "-3", "4e1"][..]),
            ("7", &["7"]),
            ("[]", &[]),
            ("[[],[]]", &[]),
            (" [ [ ] , 1 ] ", &["1"]),
            ("[NaN,Infinity,-Infinity]", &["NaN", "Infinity", "-Infinity"]),
        ] {
            assert_eq!(elements(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for json in [
            "", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[[1]", "[1]]", "]", "[01]", "[+1]", "[.5]", "[1.]", "[1e]",
            "[-]", "[nan]", "[-NaN]", "[Inf]", "[null]", "[true]", "[\"1\"]", "[{}]", "[0x1]", "[1]x", "[[1,],2]",
        ] {
            let error = elements(json).unwrap_err().to_string();
            assert!(error.contains("(line 1, column "), "{json}: {error}");
        }
        assert!(elements(&"[".repeat(250_000)).is_err());
    }

    #[test]
    fn an_error_names_its_place() {
        for (json, place) in
            [("[NaN,\n-Infinity, x]", "line 2, column 12"), ("", "line 1, column 1"), ("[1", "line 1, column 3")]
        {
            let error = elements(json).unwrap_err().to_string();
            assert!(error.contains(place), "{json}: {error}");
        }
    }
}
