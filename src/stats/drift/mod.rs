//! Changes of a stream of numbers or classes against a reference: how large, how sure, and what neighbours share.

mod dependence;
mod detector;
mod effect;
mod evidence;
#[cfg(test)]
mod scipy;
#[cfg(test)]
mod simulations;

pub use dependence::{autocorrelation_time, median};
pub use detector::{Detector, DetectorSettings, Standing, StreamReference, StreamStanding};
pub use effect::{
    Effect, benjamini_hochberg, chi_squared_above, deviation, effect, jensen_shannon, kolmogorov_smirnov, places,
    visible_shift, wasserstein,
};
pub use evidence::{Bins, Evidence};
