//! The two precisions of thresholds and weights.

use std::ops::{Add, AddAssign, Div, Neg};

use tract_onnx::tract_hir::internal::Datum;

/// A floating-point number in which trees are evaluated.
pub(super) trait Number:
    Datum + Copy + Default + PartialOrd + Add<Output = Self> + AddAssign + Div<Output = Self> + Neg<Output = Self>
{
    const INFINITY: Self;
    const NAN: Self;

    /// Returns the nearest number of this precision.
    fn nearest(number: f64) -> Self;

    /// Returns the nearest 32-bit float.
    fn to_f32(self) -> f32;

    fn is_nan(self) -> bool;

    /// Returns the largest number below this one; NaN if there is none.
    fn before(self) -> Self;
}

macro_rules! number {
    ($float:ty) => {
        impl Number for $float {
            const INFINITY: Self = <$float>::INFINITY;
            const NAN: Self = <$float>::NAN;

            fn nearest(number: f64) -> Self {
                number as Self
            }

            fn to_f32(self) -> f32 {
                self as f32
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$float>::is_nan(self)
            }

            fn before(self) -> Self {
                if self == <$float>::NEG_INFINITY { <$float>::NAN } else { self.next_down() }
            }
        }
    };
}

number!(f32);
number!(f64);
