//! Runs code with the widest vectors of this machine.
//!
//! Closures go through [`vectorized`], [`WithSimd`] types through [`dispatch`]. Called in any other way, pulp may
//! compile them for the oldest CPU that the target allows.

use pulp::{Arch, Simd, WithSimd};

#[cfg(test)]
thread_local! {
    /// Keeps the tests of this thread from using the widest vectors.
    pub(crate) static NARROW: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs work with the widest vectors of this machine.
pub(crate) fn dispatch<W: WithSimd>(work: W) -> W::Output {
    let arch = Arch::new();
    // The dispatch of pulp knows AVX2 only with a feature that another crate may switch off.
    #[cfg(target_arch = "x86_64")]
    if (matches!(arch, Arch::Scalar) || is_narrow())
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Simd::vectorize(simd, work);
    }
    arch.dispatch(work)
}

/// Runs a closure compiled for the widest vectors of this machine. It must be `#[inline(always)]`.
pub(crate) fn vectorized<R>(work: impl FnMut() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnMut() -> R> pulp::NullaryFnOnce for Work<F> {
        type Output = R;

        // The call by reference is a call of the closure itself. A call by value goes through a shim that is not
        // always inlined, and then a large closure is compiled for the oldest CPU after all.
        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }
    dispatch(Work(work))
}

#[cfg(all(test, target_arch = "x86_64"))]
fn is_narrow() -> bool {
    NARROW.get()
}

#[cfg(all(not(test), target_arch = "x86_64"))]
fn is_narrow() -> bool {
    false
}

/// Returns the 32-bit floats in one vector; 1 if there are no vectors.
pub(crate) fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    dispatch(Lanes)
}

/// Returns the number of vector registers.
pub(crate) fn registers() -> usize {
    struct Registers;
    impl WithSimd for Registers {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::REGISTER_COUNT
        }
    }
    dispatch(Registers)
}

/// Runs an expression with the widest vectors. In it, `$lanes` is a constant with the value of [`lanes`].
macro_rules! with_lanes {
    ($lanes:ident => $work:expr) => {
        match $crate::simd::lanes() {
            16 => {
                const $lanes: usize = 16;
                $crate::simd::vectorized(
                    #[inline(always)]
                    || $work,
                )
            }
            8 => {
                const $lanes: usize = 8;
                $crate::simd::vectorized(
                    #[inline(always)]
                    || $work,
                )
            }
            4 => {
                const $lanes: usize = 4;
                $crate::simd::vectorized(
                    #[inline(always)]
                    || $work,
                )
            }
            _ => {
                const $lanes: usize = 1;
                $crate::simd::vectorized(
                    #[inline(always)]
                    || $work,
                )
            }
        }
    };
}
pub(crate) use with_lanes;
