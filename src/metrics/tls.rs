//! TLS.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{register, register_error};
use crate::error::Result;

/// The families of TLS, which have no series until it is switched on: a date of 0 would alarm.
#[derive(Debug)]
pub struct TlsFamilies {
    expiry: IntGaugeVec,
    failures: IntCounterVec,
    reload_failures: IntCounter,
}

/// The metric handles of TLS.
#[derive(Debug)]
pub struct TlsMetrics {
    /// The end of the certificate, in Unix time.
    pub expiry: IntGauge,
    /// Handshakes that came to nothing.
    pub handshake_failures: IntCounter,
    /// States of the files that could not be used.
    pub reload_failures: IntCounter,
}

impl TlsFamilies {
    pub(super) fn register(registry: &Registry, reload_failures: IntCounter) -> Result<Self> {
        let name = "weir_tls_certificate_expiry_timestamp_seconds";
        let expiry = IntGaugeVec::new(Opts::new(name, "The end of the certificate in use, in Unix time."), &[]);
        let name = "weir_tls_handshake_failures_total";
        let failures = IntCounterVec::new(Opts::new(name, "TLS handshakes that failed or took too long."), &[]);
        Ok(Self { expiry: register(registry, expiry)?, failures: register(registry, failures)?, reload_failures })
    }

    /// Binds the handles, and exports them from now on.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) when a family had labels, which tests rule out.
    pub fn bind(&self) -> Result<TlsMetrics> {
        Ok(TlsMetrics {
            expiry: self.expiry.get_metric_with_label_values::<&str>(&[]).map_err(register_error)?,
            handshake_failures: self.failures.get_metric_with_label_values::<&str>(&[]).map_err(register_error)?,
            reload_failures: self.reload_failures.clone(),
        })
    }
}
