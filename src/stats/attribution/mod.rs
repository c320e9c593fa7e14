//! Attribution: which parts of an input made the answer?
//!
//! The methods here need the answers for masked inputs and nothing else of a model, but for [`class_map`], which needs its
//! last maps. A [`Plan`] says which masks to ask
//! about and turns the answers into one number for each unit; a [`Trial`] finds out what that is worth.

mod class_map;
mod linear;
mod plan;
mod rise;
mod shap;
mod trial;
mod units;

pub use class_map::{Maps, class_map, spread};
pub use plan::{Method, Plan};
pub use trial::{Score, Trial};
pub use units::{Mask, Units};
