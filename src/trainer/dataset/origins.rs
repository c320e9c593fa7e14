//! Which file and row each sample comes from.

/// Where samples come from.
#[derive(Debug, Clone)]
pub(super) enum Origins {
    /// Each is a row of the file, counted from 0.
    Rows(String),
    /// By record: a file of the list, and a row counted from 1, or 0 for the whole file.
    Listed { files: Vec<String>, places: Places },
}

/// A file of a list and a row for each record, kept as runs of rows that follow each other: of a table of millions of rows
/// there are few.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    runs: Vec<Run>,
    count: u32,
}

/// Records from this one on, each a row further.
#[derive(Debug, Clone, Copy)]
struct Run {
    record: u32,
    file: u32,
    row: u32,
}

impl Run {
    fn of(self, record: u32) -> (u32, u32) {
        (self.file, self.row + (record - self.record))
    }
}

impl Places {
    /// Adds the place of the next record.
    pub(super) fn push(&mut self, (file, row): (u32, u32)) {
        if self.runs.last().is_none_or(|last| last.of(self.count) != (file, row)) {
            self.runs.push(Run { record: self.count, file, row });
        }
        self.count += 1;
    }

    /// Returns the place of a record.
    fn of(&self, record: u32) -> (u32, u32) {
        let behind = self.runs.partition_point(|run| run.record <= record);
        self.runs[behind - 1].of(record)
    }
}

impl FromIterator<(u32, u32)> for Places {
    fn from_iter<T: IntoIterator<Item = (u32, u32)>>(places: T) -> Self {
        let mut all = Self::default();
        places.into_iter().for_each(|place| all.push(place));
        all
    }
}

impl Origins {
    /// The file, and the row if the file has several.
    pub(super) fn of(&self, record: u32) -> (&str, Option<u64>) {
        match self {
            Self::Rows(file) => (file, Some(u64::from(record))),
            Self::Listed { files, places } => {
                let (file, row) = places.of(record);
                (&files[file as usize], (row > 0).then_some(u64::from(row)))
            }
        }
    }

    /// Adds those of others behind these.
    pub(super) fn extend(&mut self, others: Self) {
        let (Self::Listed { files, places }, Self::Listed { files: more, places: further }) = (self, others) else {
            return;
        };
        let shift = files.len() as u32;
        files.extend(more);
        for record in 0..further.count {
            let (file, row) = further.of(record);
            places.push((file + shift, row));
        }
    }

    /// The origins of some records, in this order.
    pub(super) fn select(&self, records: &[u32]) -> Self {
        let (files, places) = match self {
            Self::Rows(file) => (vec![file.clone()], records.iter().map(|record| (0, record + 1)).collect()),
            Self::Listed { files, places } => {
                (files.clone(), records.iter().map(|record| places.of(*record)).collect())
            }
        };
        Self::Listed { files, places }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_that_follow_each_other_are_one_run() {
        let places: Places = (1..=1000).map(|row| (0, row)).chain([(0, 1002), (1, 1), (1, 2)]).collect();
        assert_eq!(places.runs.len(), 3);
    }

    proptest! {
        #[test]
        fn every_record_keeps_its_place(all in prop::collection::vec((0u32..3, 0u32..4), 1..60), picked in prop::collection::vec(0usize..60, 0..20)) {
            let files = vec!["a".to_owned(), "b".into(), "c".into()];
            let origins = Origins::Listed { files, places: all.iter().copied().collect() };
            let expected = |(file, row): (u32, u32)| (["a", "b", "c"][file as usize], (row > 0).then_some(u64::from(row)));
            for (record, place) in all.iter().enumerate() {
                prop_assert_eq!(origins.of(record as u32), expected(*place));
            }
            let picked: Vec<u32> = picked.into_iter().map(|record| (record % all.len()) as u32).collect();
            let mut selected = origins.select(&picked);
            selected.extend(origins.clone());
            let places = picked.iter().map(|record| all[*record as usize]).chain(all.iter().copied());
            for (record, place) in places.enumerate() {
                prop_assert_eq!(selected.of(record as u32), expected(place));
            }
        }
    }
}
