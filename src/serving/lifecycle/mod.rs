//! The life of versions: found, checked, loaded, measured, served, probed, unloaded.

pub(crate) mod check;
pub(crate) mod comparison;
pub(crate) mod engines;
pub(crate) mod load;
pub(crate) mod manager;
pub(crate) mod policy;
pub(crate) mod probe;
pub(crate) mod triton;
pub(crate) mod tuner;
pub(crate) mod tuning_store;
pub(crate) mod verify;
