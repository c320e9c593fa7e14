//! Which maps of a network are features, besides the vector before its last layer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

/// The greatest number of windows on a side that can be asked for.
const MOST_WINDOWS: usize = 16;

/// Windows on a side that are tried where nobody says a number.
pub(super) const GRIDS: [usize; 5] = [1, 2, 3, 4, 6];

/// Layers that give maps, at most: the last of each scale, from the coarsest.
const MOST_MAPS: usize = 5;

/// The windows into which each map of the network is averaged to be features, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pool {
    /// The number that errs least on training samples that are left out.
    #[default]
    Auto,
    /// Not at all: the tensor of features alone.
    None,
    /// So many on each side.
    Windows(usize),
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            ("none", _) => Ok(Self::None),
            (_, Ok(windows)) if (1..=MOST_WINDOWS).contains(&windows) => Ok(Self::Windows(windows)),
            _ => Err(format!("expected auto, none, or windows on a side from 1 to {MOST_WINDOWS}")),
        }
    }
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Windows(windows) => write!(f, "{windows}"),
        }
    }
}

/// A tensor of maps within a network, channels first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FeatureMap {
    pub(super) tensor: String,
    pub(super) channels: usize,
    pub(super) sides: [usize; 2],
}

/// The windows of a map: they cover it, and overlap where its size is no multiple of their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    pub(super) count: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) strides: [usize; 2],
}

impl FeatureMap {
    /// Returns the map that a tensor of this shape is; `None` if it has no more than one place.
    pub(super) fn of(tensor: &str, shape: &[usize]) -> Option<Self> {
        let [_, channels, height, width] = *shape else { return None };
        let is_map = channels > 0 && height.min(width) > 0 && height.max(width) > 1;
        is_map.then(|| Self { tensor: tensor.to_owned(), channels, sides: [height, width] })
    }

    /// Returns so many windows on a side, or as many as there are places.
    pub(super) fn windows(&self, grid: usize) -> Windows {
        let count = self.sides.map(|side| grid.clamp(1, side));
        let strides = [0, 1].map(|axis| self.sides[axis] / count[axis]);
        let kernel = [0, 1].map(|axis| self.sides[axis] - (count[axis] - 1) * strides[axis]);
        Windows { count, kernel, strides }
    }

    /// Returns the number of means that such windows give.
    pub(super) fn width(&self, grid: usize) -> usize {
        self.channels * self.windows(grid).count.iter().product::<usize>()
    }
}

/// Returns the last map of each scale, a scale being half of the one before it.
pub(super) fn last_of_each_scale(maps: Vec<FeatureMap>) -> Vec<FeatureMap> {
    let mut last = BTreeMap::new();
    for map in maps {
        last.insert(map.sides[0].min(map.sides[1]).ilog2(), map);
    }
    let mut coarsest: Vec<FeatureMap> = last.into_values().take(MOST_MAPS).collect();
    coarsest.reverse();
    coarsest
}

/// Columns of features that belong together, those of each tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Windows on a side; `None` for the vector alone.
    pub(super) grid: Option<usize>,
    pub(super) blocks: Vec<Range<usize>>,
}

impl Candidate {
    /// Returns the vector alone, and the vector with each of the grids: columns of a graph that gives all of them in this
    /// order.
    pub(super) fn all(vector: usize, maps: &[FeatureMap], grids: &[usize]) -> Vec<Self> {
        let mut candidates = vec![Self { grid: None, blocks: std::iter::once(0..vector).collect() }];
        let mut start = vector;
        for grid in grids {
            let mut blocks: Vec<Range<usize>> = std::iter::once(0..vector).collect();
            for map in maps {
                blocks.push(start..start + map.width(*grid));
                start += map.width(*grid);
            }
            candidates.push(Self { grid: Some(*grid), blocks });
        }
        candidates
    }

    /// Returns the features in words.
    pub(super) fn text(&self, tensor: &str, maps: &[FeatureMap]) -> String {
        let width: usize = self.blocks.iter().map(Range::len).sum();
        match self.grid {
            None => format!("{width} of tensor {tensor}"),
            Some(grid) => {
                let names: Vec<&str> = maps.iter().map(|map| map.tensor.as_str()).collect();
                format!(
                    "{width} of tensor {tensor} and of maps averaged over {grid} × {grid} windows: {}",
                    names.join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(tensor: &str, channels: usize, sides: [usize; 2]) -> FeatureMap {
        FeatureMap { tensor: tensor.into(), channels, sides }
    }

    #[test]
    fn windows_cover_a_map_of_any_size() {
        for side in 1..40 {
            for grid in 1..8 {
                let Windows { count: [count, _], kernel: [kernel, _], strides: [stride, _] } =
                    map("x", 1, [side, side]).windows(grid);
                assert_eq!(count, grid.min(side));
                assert_eq!((count - 1) * stride + kernel, side, "the last window ends at the edge");
                assert!(kernel >= stride && stride > 0, "no place is left out");
                assert_eq!((side - kernel) / stride + 1, count, "a pooling gives as many");
            }
        }
        assert_eq!(map("x", 8, [12, 5]).width(6), 8 * 6 * 5);
    }

    #[test]
    fn the_last_map_of_each_scale_is_taken() {
        let sides = [("a", 26), ("b", 24), ("c", 12), ("d", 8), ("e", 4), ("f", 2), ("g", 1)];
        let maps: Vec<FeatureMap> =
            sides.iter().filter_map(|(name, side)| FeatureMap::of(name, &[1, 3, *side, *side])).collect();
        let names: Vec<String> = last_of_each_scale(maps).into_iter().map(|map| map.tensor).collect();
        assert_eq!(names, ["b", "d", "e", "f"]);
        assert_eq!(FeatureMap::of("rows", &[1, 8]), None);
    }

    #[test]
    fn columns_follow_the_order_of_the_graph() {
        let maps = [map("a", 2, [4, 4]), map("b", 3, [2, 2])];
        let [vector, one, four] = Candidate::all(5, &maps, &[1, 4]).try_into().unwrap();
        assert_eq!((vector.grid, vector.blocks.as_slice()), (None, std::slice::from_ref(&(0..5))));
        assert_eq!(one.blocks, [0..5, 5..7, 7..10]);
        assert_eq!(four.blocks, [0..5, 10..42, 42..54], "a map has no more windows than places");
        assert_eq!(four.text("t", &maps), "49 of tensor t and of maps averaged over 4 × 4 windows: a, b");
    }

    #[test]
    fn a_pool_is_a_word_or_a_number() {
        for text in ["auto", "none", "1", "16"] {
            assert_eq!(text.parse::<Pool>().unwrap().to_string(), text);
        }
        for text in ["0", "17", "-1", "all", ""] {
            assert!(text.parse::<Pool>().unwrap_err().contains("from 1 to 16"), "{text}");
        }
    }
}
