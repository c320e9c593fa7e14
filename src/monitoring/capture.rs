//! Which inputs are kept: decided on the thread that answers, by the answer and a hash of the request's identifier.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::record::{Answer, Record};
use crate::config::{CaptureMode, CaptureSettings};
use crate::metrics::{CaptureFate, StoreMetrics};
use crate::serving::{Finished, Identity};
use crate::stats::Inclusion;
use crate::store::{CapturedInput, InputBudget};

/// An input with a lower p-value is unusual.
const UNUSUAL: f64 = 0.01;

/// An answer of lower confidence is uncertain, where the version has no threshold of its own.
const CONFIDENT: f32 = 0.9;

/// Chooses inputs to be kept.
#[derive(Debug)]
pub struct Capture {
    settings: CaptureSettings,
    budget: InputBudget,
    metrics: StoreMetrics,
}

impl Capture {
    /// Makes a choice by settings, which counts what comes of it.
    pub fn new(settings: CaptureSettings, metrics: StoreMetrics) -> Self {
        Self { settings, budget: InputBudget::default(), metrics }
    }

    /// Returns true if inputs of a version may be kept.
    pub(super) fn is_on_for(&self, version: &Identity) -> bool {
        self.settings.models.is_empty() || self.settings.models.contains(&version.model)
    }

    /// Adds the inputs that are to be kept to the records of a request that was answered. They are
    /// copied: what a sample came in may be a part of a far larger body.
    pub(super) fn add(&self, prediction: &Finished<'_>, records: &mut [Record]) {
        let Some(id) = records.first().map(|record| record.id) else { return };
        let drawn = Inclusion::new(self.settings.rate).filter(|_| share_of(id) < self.settings.rate);
        let (mut not_kept, mut too_large, mut dropped) = (0, 0, 0);
        for record in records {
            let is_chosen = self.settings.mode == CaptureMode::Unsure && is_unsure(record);
            let chosen = if is_chosen { Some(Inclusion::CERTAIN) } else { drawn };
            let Some(inclusion) = chosen else { continue };
            let Some(bytes) = prediction.sent.get(record.item as usize) else {
                not_kept += 1;
                continue;
            };
            if bytes.len() > self.settings.max_bytes {
                too_large += 1;
                continue;
            }
            match self.budget.take(bytes.len()).map(Arc::new) {
                Some(charge) => {
                    let bytes = Bytes::copy_from_slice(bytes);
                    record.captured = Some(Box::new(CapturedInput { bytes, inclusion, charge }));
                }
                None => dropped += 1,
            }
        }
        self.metrics.captured(CaptureFate::NotKept, not_kept);
        self.metrics.captured(CaptureFate::TooLarge, too_large);
        self.metrics.captured(CaptureFate::Dropped, dropped);
    }

    /// Counts inputs that were chosen and have no place in the queue.
    pub(super) fn dropped(&self, inputs: u64) {
        self.metrics.captured(CaptureFate::Dropped, inputs);
    }
}

/// Returns a number from 0 to 1 that is a hash of an identifier: all samples of a request, and all who ask, agree on it.
fn share_of(id: Uuid) -> f64 {
    let (high, low) = id.as_u64_pair();
    let mut z = high.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ low;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Returns true if an answer is uncertain, or its input unusual, by the reference of the version.
fn is_unsure(record: &Record) -> bool {
    let Answer::Classified { margin, energy, confidence, .. } = record.answer else { return false };
    let reference = record.version.reference.as_deref();
    let ranks = reference.and_then(|reference| reference.unusual.as_ref());
    let p_value = ranks.zip(energy).map(|(ranks, energy)| ranks.p_value(f64::from(energy)));
    // The strictest: where the accuracy is high, the others withhold nothing.
    let strictest = reference.and_then(|reference| {
        reference.abstentions.iter().min_by(|a, b| a.error_rate.total_cmp(&b.error_rate)).map(|one| one.margin)
    });
    let is_uncertain = match strictest {
        Some(least) => f64::from(margin) < least,
        None => confidence < CONFIDENT,
    };
    is_uncertain || p_value.is_some_and(|p| p <= UNUSUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 20,000 identifiers a tenth is drawn, within four standard deviations.
    #[test]
    fn a_share_of_identifiers_is_drawn() {
        let drawn = (0..20_000).filter(|_| share_of(Uuid::now_v7()) < 0.1).count();
        assert!((1830..=2170).contains(&drawn), "{drawn}");
        let id = Uuid::now_v7();
        assert!((0.0..1.0).contains(&share_of(id)) && share_of(id) == share_of(id));
    }
}
