//! Drawing samples so that every class is represented in proportion.

use rand::seq::SliceRandom;

use crate::trainer::random::keyed_rng;

/// Draws `count` of so many indices with each class in proportion, remainders going to the classes with the
/// largest fractions. `purpose` keeps draws of one seed apart.
pub(super) fn stratified(
    (samples, class_of): (usize, impl Fn(usize) -> usize),
    classes: usize,
    count: usize,
    seed: u64,
    purpose: &str,
) -> Vec<usize> {
    let mut sizes = vec![0; classes];
    (0..samples).for_each(|index| sizes[class_of(index)] += 1);
    let mut by_class: Vec<Vec<u32>> = sizes.into_iter().map(Vec::with_capacity).collect();
    for index in 0..samples {
        by_class[class_of(index)].push(index as u32);
    }
    let share = |members: &Vec<u32>| members.len() as f64 * count as f64 / samples as f64;
    let mut quota: Vec<usize> = by_class.iter().map(|members| share(members) as usize).collect();
    let mut by_fraction: Vec<usize> = (0..classes).collect();
    by_fraction.sort_by(|&a, &b| share(&by_class[b]).fract().total_cmp(&share(&by_class[a]).fract()));
    let missing = count - quota.iter().sum::<usize>();
    by_fraction.iter().take(missing).for_each(|&class| quota[class] += 1);
    let mut drawn = Vec::with_capacity(count);
    for (class, members) in by_class.iter_mut().enumerate() {
        let mut rng = keyed_rng(seed, purpose, class as u64, 0);
        let (chosen, _) = members.partial_shuffle(&mut rng, quota[class]);
        drawn.extend(chosen.iter().map(|index| *index as usize));
    }
    drawn
}
