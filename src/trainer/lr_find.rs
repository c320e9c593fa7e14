//! The range test of learning rates (Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3):
//! a short run whose learning rate grows with every step until the loss explodes.

use serde::Serialize;

use super::fit::{FitState, Pace};
use super::request::TrainRequest;
use super::run_dir::{ARGUMENTS_FILE, RunDir};
use super::train::prepare;
use crate::error::{Error, Result};
use crate::report::{Axis, Chart, Color, Figure, Stroke, span};

/// How much of itself the mean that tells of an explosion keeps in a step.
const MEMORY: f64 = 0.98;

/// How much of itself the smoothed loss keeps from one point to the next, in each direction.
const SMOOTHING: f64 = 0.8;

/// The sweep ends when the smoothed loss is so many times the lowest one.
const EXPLOSION: f64 = 4.0;

/// The first so manieth part of the points says nothing of slopes: the smoothing has hardly begun.
const BEGINNING: usize = 10;

/// Points before an explosion that belong to it.
const EDGE: usize = 5;

/// The learning rates to try.
#[derive(Debug, Clone, Copy)]
pub struct SweepPlan {
    /// Steps, at least 20.
    pub steps: usize,
    /// The first learning rate.
    pub from: f64,
    /// The last one.
    pub to: f64,
}

/// One step of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SweepPoint {
    /// The learning rate.
    pub learning_rate: f64,
    /// The mean loss of the batch.
    pub loss: f64,
    /// The loss smoothed: while the sweep runs over the steps so far, in the end over those around.
    pub smoothed_loss: f64,
}

/// The result of a sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Sweep {
    /// Its steps.
    pub points: Vec<SweepPoint>,
    /// True if the sweep ended because the loss exploded.
    pub exploded: bool,
    /// Where the loss falls fastest.
    pub steepest: f64,
    /// Half way down the longest fall of the loss: what to try first.
    pub valley: f64,
}

impl SweepPlan {
    /// Refuses a sweep that shows nothing.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::Config { setting: "lr-find".into(), problem });
        if self.steps < 20 {
            return refuse(format!("--steps must be at least 20, got {}", self.steps));
        }
        if !(self.from > 0.0 && self.from < self.to && self.to.is_finite()) {
            return refuse(format!("--from must be above 0 and below --to, got {} and {}", self.from, self.to));
        }
        Ok(())
    }

    fn rate(&self, step: usize) -> f64 {
        self.from * (self.to / self.from).powf(step as f64 / (self.steps - 1) as f64)
    }
}

/// Sweeps, and writes `lr_find.csv` and `lr_find.svg` into the run directory. `watch` is told every step.
///
/// # Errors
/// As [`train`](super::train()) before its first step; [`Error::Diverged`] when already the smallest learning rates do.
pub fn lr_find(
    request: &TrainRequest,
    plan: &SweepPlan,
    run: &RunDir,
    watch: &mut dyn FnMut(usize, &SweepPoint),
) -> Result<Sweep> {
    plan.validate()?;
    let request = &request.in_steps()?;
    let prepared = prepare(request)?;
    run.write(ARGUMENTS_FILE, &request.to_toml()?)?;
    let mut settings = request.fit.clone();
    settings.regime.ema_decay = 0.0;
    let mut state = FitState::new(prepared.model, &settings);
    let (mut points, mut exploded) = (Vec::with_capacity(plan.steps), false);
    let (mut sum, mut lowest) = (0.0, f64::INFINITY);
    for epoch in 0.. {
        if exploded || points.len() >= plan.steps {
            break;
        }
        std::thread::scope(|scope| -> Result<()> {
            let (batches, _producer) = settings.plan(&state.model, epoch).produce(scope, &prepared.train, 0);
            for batch in batches.iter().take(plan.steps - points.len()) {
                let rate = plan.rate(points.len());
                let done = match state.step(
                    batch?,
                    Pace { factor: rate / settings.optimizer.learning_rate(), dip: 0.0 },
                    &settings,
                ) {
                    Ok(done) => done,
                    Err(Error::Diverged { .. }) if points.len() > plan.steps / BEGINNING + EDGE => {
                        exploded = true;
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                };
                let loss = done.loss_sum / done.samples as f64;
                sum = MEMORY * sum + (1.0 - MEMORY) * loss;
                let smoothed_loss = sum / (1.0 - MEMORY.powi(points.len() as i32 + 1));
                let point = SweepPoint { learning_rate: rate, loss, smoothed_loss };
                points.push(point);
                lowest = lowest.min(smoothed_loss);
                exploded = points.len() > plan.steps / BEGINNING + EDGE && smoothed_loss > EXPLOSION * lowest;
                watch(points.len(), &point);
                if exploded {
                    return Ok(());
                }
            }
            Ok(())
        })?;
    }
    let sweep = Sweep::of(points, exploded);
    run.write("lr_find.csv", &sweep.csv())?;
    run.write("lr_find.svg", &sweep.svg(lowest))?;
    Ok(sweep)
}

impl Sweep {
    /// Judges the points of a sweep.
    fn of(mut points: Vec<SweepPoint>, exploded: bool) -> Self {
        smooth(&mut points);
        // There are more than both together before anything counts as an explosion.
        let judged = &points[points.len() / BEGINNING..points.len() - if exploded { EDGE } else { 0 }];
        let losses: Vec<f64> = judged.iter().map(|point| point.smoothed_loss).collect();
        Self {
            steepest: judged[steepest(&losses)].learning_rate,
            valley: judged[valley(&losses)].learning_rate,
            exploded,
            points,
        }
    }
}

/// Smooths the losses by a mean that forgets, from the front and then from the back, so that it lags behind in neither
/// direction.
fn smooth(points: &mut [SweepPoint]) {
    let mut mean = points.first().map_or(0.0, |point| point.loss);
    for point in points.iter_mut() {
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * point.loss;
        point.smoothed_loss = mean;
    }
    for point in points.iter_mut().rev() {
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * point.smoothed_loss;
        point.smoothed_loss = mean;
    }
}

/// Where the losses fall most, by central differences; x is the logarithm of the learning rate, which grows evenly.
fn steepest(losses: &[f64]) -> usize {
    let last = losses.len() - 1;
    let slope = |at: usize| {
        let (left, right) = (at.saturating_sub(1), (at + 1).min(last));
        (losses[right] - losses[left]) / (right - left).max(1) as f64
    };
    (0..=last).min_by(|&a, &b| slope(a).total_cmp(&slope(b))).unwrap_or(0)
}

/// Half way down the longest run of falling losses, which need not be neighbours: the longest decreasing subsequence.
fn valley(losses: &[f64]) -> usize {
    // Of each point the longest fall that ends there, and the point before it in that fall.
    let mut falls: Vec<(usize, usize)> = Vec::with_capacity(losses.len());
    for (at, loss) in losses.iter().enumerate() {
        let before = (0..at).filter(|&earlier| losses[earlier] > *loss).max_by_key(|&earlier| falls[earlier].0);
        falls.push(before.map_or((1, at), |earlier| (falls[earlier].0 + 1, earlier)));
    }
    let mut path = vec![(0..falls.len()).max_by_key(|&at| (falls[at].0, std::cmp::Reverse(at))).unwrap_or(0)];
    while let Some(&at) = path.last().filter(|&&at| falls[at].1 != at) {
        path.push(falls[at].1);
    }
    path[path.len() / 2]
}

impl Sweep {
    fn csv(&self) -> String {
        let row = |(step, point): (usize, &SweepPoint)| {
            format!("{},{},{},{}\n", step + 1, point.learning_rate, point.loss, point.smoothed_loss)
        };
        let rows: String = self.points.iter().enumerate().map(row).collect();
        format!("step,learning_rate,loss,smoothed_loss\n{rows}")
    }

    /// Draws the losses over the learning rate, as far up as they say something.
    fn svg(&self, lowest: f64) -> String {
        let top = self.points.first().map_or(1.0, |point| 1.5 * point.loss).max(EXPLOSION * lowest);
        let line = |of: fn(&SweepPoint) -> f64| {
            let points = self.points.iter().map(move |point| [point.learning_rate, of(point)]);
            points.filter(move |[_, loss]| *loss <= top).collect::<Vec<_>>()
        };
        let [batch, smoothed] = [line(|point| point.loss), line(|point| point.smoothed_loss)];
        let (low, high) = span(batch.iter().chain(&smoothed).map(|point| point[1]), 0.05);
        let x = Axis::logarithmic("learning rate", self.points.iter().map(|point| point.learning_rate));
        let mut chart = Chart::sized(680.0, 380.0, x, Axis::linear("loss", low, high));
        for (name, color, stroke, points) in
            [("batch", Color::Soft, Stroke::Faint, batch), ("smoothed", Color::Blue, Stroke::Solid, smoothed)]
        {
            chart.line(color, stroke, name, points).key(color, stroke, name);
        }
        let marked = self.points.iter().filter(|p| p.learning_rate == self.steepest || p.learning_rate == self.valley);
        chart.dots(Color::Orange, 4.0, marked.map(|point| [point.learning_rate, point.smoothed_loss]));
        chart.dot_key(Color::Orange, "valley, steepest");
        Figure::new("Loss by learning rate", "").with("", chart.finish("loss by learning rate")).svg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_point_and_the_valley_of_a_known_curve() {
        // Flat, then down a straight slope from 40 to 80, then flat, then up.
        let losses: Vec<f64> = (0..120)
            .map(|at| match at {
                0..40 => 2.0,
                40..80 => 2.0 - f64::from(at - 40) / 40.0,
                80..100 => 1.0,
                _ => 1.0 + f64::from(at - 100),
            })
            .collect();
        assert!((40..80).contains(&steepest(&losses)));
        assert!((57..63).contains(&valley(&losses)), "{}", valley(&losses));
        let mut edge = losses.clone();
        edge[50] = 1.9;
        assert!((55..65).contains(&valley(&edge)), "one point aside changes little");
        assert_eq!((steepest(&[1.0]), valley(&[1.0])), (0, 0));
        assert_eq!(valley(&[1.0, 2.0, 3.0]), 0);
    }

    #[test]
    fn what_is_smoothed_stays_where_it_is() {
        let step =
            |at: usize| SweepPoint { learning_rate: at as f64, loss: f64::from(u8::from(at < 50)), smoothed_loss: 0.0 };
        let mut points: Vec<SweepPoint> = (0..100).map(step).collect();
        smooth(&mut points);
        assert!((points[49].smoothed_loss + points[50].smoothed_loss - 1.0).abs() < 1e-3);
        assert!(points.is_sorted_by(|a, b| a.smoothed_loss >= b.smoothed_loss));
        assert!(points[30].smoothed_loss > 0.99 && points[70].smoothed_loss < 0.01);
    }

    #[test]
    fn step_sizes_grow_by_a_factor_from_the_first_to_the_last() {
        let plan = SweepPlan { steps: 101, from: 1e-6, to: 1.0 };
        assert!((plan.rate(0) / 1e-6 - 1.0).abs() < 1e-9 && (plan.rate(100) - 1.0).abs() < 1e-9);
        assert!((plan.rate(50) / 1e-3 - 1.0).abs() < 1e-9);
        for (steps, from, to) in [(19, 1e-6, 1.0), (100, 0.0, 1.0), (100, 1.0, 1.0), (100, 1e-3, f64::INFINITY)] {
            assert!(SweepPlan { steps, from, to }.validate().is_err());
        }
    }
}
