//! Class-activation maps: which places of the last maps make a logit (Zhou et al., 2016)? Exact for logits that are a
//! linear map of the means of the maps.

/// The maps of a sample: channels, rows and columns.
#[derive(Debug, Clone, Copy)]
pub struct Maps<'m> {
    /// The numbers of all channels.
    pub values: &'m [f32],
    /// The number of channels.
    pub channels: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// True if the channels of each place stand side by side.
    pub is_channels_last: bool,
}

/// Returns what each place adds to a logit. With the bias, the places add up to the logit.
pub fn class_map(maps: Maps<'_>, weights: &[f32]) -> Vec<f64> {
    let places = maps.size[0] * maps.size[1];
    let value = |place: usize, channel: usize| match maps.is_channels_last {
        true => maps.values[place * maps.channels + channel],
        false => maps.values[channel * places + place],
    };
    let share = |place| {
        let terms =
            weights.iter().enumerate().map(|(channel, weight)| f64::from(*weight) * f64::from(value(place, channel)));
        terms.sum::<f64>() / places as f64
    };
    (0..places).map(share).collect()
}

/// Spreads the places of a map over the cells of another grid on the same picture, by the area that they share. The sum
/// stays as it is.
pub fn spread(map: &[f64], [height, width]: [usize; 2], [rows, columns]: [usize; 2]) -> Vec<f64> {
    let mut cells = vec![0.0; rows * columns];
    for (place, value) in map.iter().enumerate() {
        for (row, down) in shares(place / width, height, rows) {
            for (column, across) in shares(place % width, width, columns) {
                cells[row * columns + column] += value * down * across;
            }
        }
    }
    cells
}

/// Returns the cells, of `cells` on a line, that one of `places` lies in, and the share of it that lies in each.
fn shares(place: usize, places: usize, cells: usize) -> impl Iterator<Item = (usize, f64)> {
    // In units of which a place has `cells` and a cell has `places`.
    let (begin, end) = (place * cells, (place + 1) * cells);
    (begin / places..end.div_ceil(places)).map(move |cell| {
        let overlap = end.min((cell + 1) * places) - begin.max(cell * places);
        (cell, overlap as f64 / cells as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_bias_add_up_to_the_logit() {
        let values: Vec<f32> = (0..24).map(|index| ((index * 7) % 11) as f32 - 4.0).collect();
        let weights = [0.5, -1.25];
        let mean =
            |channel: usize| values[channel * 12..][..12].iter().map(|value| f64::from(*value)).sum::<f64>() / 12.0;
        let logit = 0.5 * mean(0) - 1.25 * mean(1);
        let maps = Maps { values: &values, channels: 2, size: [3, 4], is_channels_last: false };
        let map = class_map(maps, &weights);
        assert!((map.iter().sum::<f64>() - logit).abs() < 1e-12);
        let mixed: Vec<f32> = (0..24).map(|index| values[index % 2 * 12 + index / 2]).collect();
        let last = class_map(Maps { values: &mixed, is_channels_last: true, ..maps }, &weights);
        assert_eq!(map, last);
    }

    #[test]
    fn spreading_keeps_the_sum_and_the_place() {
        let map = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];
        for grid in [[1, 1], [2, 3], [3, 2], [5, 7], [14, 14], [1, 9]] {
            let spread = spread(&map, [2, 3], grid);
            assert!((spread.iter().sum::<f64>() - 5.0).abs() < 1e-12, "{grid:?}");
        }
        assert_eq!(spread(&map, [2, 3], [2, 3]), map);
        assert_eq!(spread(&[4.0], [1, 1], [2, 2]), [1.0; 4]);
        assert_eq!(spread(&[1.0, 3.0, 5.0], [1, 3], [1, 2]), [2.5, 6.5]);
    }
}
