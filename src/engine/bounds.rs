//! The memory that the values and sizes of a request may ask for inside an engine.
//!
//! A graph may make tensors as large as a request says: a request of a few bytes can ask `Range`, `Tile` or `Expand`
//! for terabytes. The engines refuse such a request before they allocate anything, by the limit and in the words of
//! this file. Weights and inputs do not count: they have limits of their own.

/// The limit on tensors that a graph makes from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The bytes that one tensor may take (`max-tensor-bytes`).
    pub tensor_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { tensor_bytes: 1 << 30 }
    }
}

impl Bounds {
    /// Returns the bytes of a tensor of this shape whose elements have `element_bytes` each; `u64::MAX` if it has more
    /// than can be counted.
    pub fn bytes(shape: impl IntoIterator<Item = u64>, element_bytes: u64) -> u64 {
        let mut bytes = element_bytes.max(1);
        for size in shape {
            if size == 0 {
                return 0;
            }
            bytes = bytes.saturating_mul(size);
        }
        bytes
    }

    /// Checks that a tensor of this shape may be made.
    ///
    /// # Errors
    /// The reason why it may not, in words. It ends without a full stop and names no node; the caller says where.
    pub fn check(&self, shape: impl IntoIterator<Item = u64> + Clone, element_bytes: u64) -> Result<(), String> {
        if Self::bytes(shape.clone(), element_bytes) <= self.tensor_bytes {
            return Ok(());
        }
        let shape: Vec<String> = shape.into_iter().take(MAX_SHOWN).map(|size| size.to_string()).collect();
        Err(format!(
            "the request asks for a tensor of shape [{}] with {element_bytes} bytes an element, and one tensor may take \
             {} bytes (max-tensor-bytes)",
            shape.join(", "),
            self.tensor_bytes
        ))
    }
}

/// The most dimensions that a message shows.
const MAX_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_takes_up_to_the_limit_and_none_overflows() {
        let bounds = Bounds { tensor_bytes: 4000 };
        assert!(bounds.check([10, 100], 4).is_ok());
        assert!(bounds.check([0, u64::MAX], 4).is_ok());
        assert!(bounds.check([u64::MAX, 0, u64::MAX], 4).is_ok());
        let said = bounds.check([1001], 4).unwrap_err();
        assert!(said.contains("[1001]") && said.contains("4000 bytes (max-tensor-bytes)"), "{said}");
        assert!(bounds.check([u64::MAX, u64::MAX], 8).is_err());
        assert_eq!(Bounds::bytes([1 << 40, 1 << 40], 4), u64::MAX);
    }
}
