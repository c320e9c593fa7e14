//! Which vectors this machine has, and running something with them.

use pulp::{Arch, Simd, WithSimd};

#[cfg(test)]
thread_local! {
    /// Makes the tests of this thread do without the widest vectors.
    pub(crate) static NARROW: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs something with the widest vectors there are.
pub(crate) fn dispatch<W: WithSimd>(work: W) -> W::Output {
    let arch = Arch::new();
    // AVX2, which pulp's own dispatch knows only with a feature that another crate may switch off.
    #[cfg(target_arch = "x86_64")]
    if (matches!(arch, Arch::Scalar) || is_narrow())
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Simd::vectorize(simd, work);
    }
    arch.dispatch(work)
}

/// Runs a closure, compiled for the widest vectors there are; it must be `#[inline(always)]`.
pub(crate) fn vectorized<R>(work: impl FnMut() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnMut() -> R> pulp::NullaryFnOnce for Work<F> {
        type Output = R;

        // By reference, which is the closure itself. By value there is a shim in between, which is not always
        // inlined, and then a large closure is compiled for the oldest CPU after all.
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

/// 32-bit floats in one vector; 1 if there are no vectors.
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

/// Vectors that fit the registers.
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

/// Runs an expression with the widest vectors, in which `$lanes` is a constant: [`lanes`].
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
