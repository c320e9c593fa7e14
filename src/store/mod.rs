//! Files that the server itself writes, in its state directory.

mod audit;

pub use audit::{Audit, AuditEntry};
