//! Random masks.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::units::{Mask, Units};

/// The cells of the coarse grid whose interpolation is a mask, in each direction, for so many cells.
fn coarse(cells: usize) -> usize {
    cells.div_ceil(2).clamp(2, 7)
}

/// Returns random masks: of a grid smooth ones, a coarse random grid enlarged and shifted; of a line units that are each
/// shown or hidden.
pub(super) fn masks(units: &Units, samples: usize, rng: &mut ChaCha8Rng) -> Vec<Mask> {
    let draw = |rng: &mut ChaCha8Rng| f32::from(u8::from(rng.random::<bool>()));
    (0..samples)
        .map(|_| match units.shape() {
            [rows, columns] => smooth([*rows, *columns], rng, draw),
            _ => (0..units.len()).map(|_| draw(rng)).collect(),
        })
        .collect()
}

fn smooth([rows, columns]: [usize; 2], rng: &mut ChaCha8Rng, mut draw: impl FnMut(&mut ChaCha8Rng) -> f32) -> Mask {
    let (down, across) = (coarse(rows), coarse(columns));
    // One more, as the grid is shifted by a part of a cell.
    let grid: Vec<f32> = (0..(down + 1) * (across + 1)).map(|_| draw(rng)).collect();
    let (top, left): (f32, f32) = (rng.random(), rng.random());
    let value = |unit: usize| {
        let at = |index: usize, cells: usize, coarse: usize, shift: f32| {
            let place = (index as f32 + 0.5) / cells as f32 * (coarse as f32 - 1.0) + shift;
            (place.floor() as usize, place.fract())
        };
        let (y, below) = at(unit / columns, rows, down, top);
        let (x, right) = at(unit % columns, columns, across, left);
        let corner = |y: usize, x: usize| grid[y.min(down) * (across + 1) + x.min(across)];
        let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
        mix(mix(corner(y, x), corner(y, x + 1), right), mix(corner(y + 1, x), corner(y + 1, x + 1), right), below)
    };
    (0..rows * columns).map(value).collect()
}

/// Returns for each unit the mean answer where it is shown less that where it is hidden, each mask counting by how much of
/// the unit it shows.
pub(super) fn attributions(masks: &[Mask], answers: &[f64]) -> Vec<f64> {
    let units = masks.first().map_or(0, Vec::len);
    let credit = |unit: usize| {
        let (mut shown, mut hidden, mut seen, mut unseen) = (0.0, 0.0, 0.0, 0.0);
        for (mask, answer) in masks.iter().zip(answers) {
            let share = f64::from(mask[unit]);
            (shown, seen) = (shown + share, seen + share * answer);
            (hidden, unseen) = (hidden + 1.0 - share, unseen + (1.0 - share) * answer);
        }
        if shown > 0.0 && hidden > 0.0 { seen / shown - unseen / hidden } else { 0.0 }
    };
    (0..units).map(credit).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn masks_are_smooth_and_show_half_on_the_average() {
        let units = Units::cells(196, [14, 14], [14, 14], |element| element);
        let masks = masks(&units, 400, &mut ChaCha8Rng::seed_from_u64(2));
        let all: Vec<f32> = masks.concat();
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        assert!(all.iter().all(|share| (0.0..=1.0).contains(share)) && (mean - 0.5).abs() < 0.02, "{mean}");
        let step = |mask: &Mask| {
            mask.chunks(14).flat_map(|row| row.windows(2)).map(|pair| (pair[0] - pair[1]).abs()).fold(0.0, f32::max)
        };
        assert!(masks.iter().all(|mask| step(mask) < 0.5), "neighbours are alike");
    }
}
