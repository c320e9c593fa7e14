//! A certificate for a try: made in memory, for this machine's own names, signed by nobody else.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::files::Identity;
use crate::error::{Error, Result};

/// The names that the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The days for which it is good. It lives no longer than its process.
const DAYS: i64 = 365;

/// Makes a certificate that is good from the day before this moment on.
///
/// # Errors
/// [`Error::Internal`] when the system gives no random numbers.
pub(super) fn identity(now: Timestamp) -> Result<Identity> {
    let failed = |error: rcgen::Error| Error::internal("a certificate could not be made", error);
    let day = |at: Timestamp| {
        let date = TimeZone::UTC.to_datetime(at).date();
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut params = CertificateParams::new(NAMES.map(str::to_owned)).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "weir --tls-self-signed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = day(now - SignedDuration::from_hours(24));
    params.not_after = day(now + SignedDuration::from_hours(24 * DAYS));
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(Identity { chain: vec![certificate.der().clone()], key })
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn it_is_good_for_this_machine_and_for_a_year() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let made = identity(now).unwrap();
        let validity = made.validity().unwrap();
        assert_eq!(validity.from.to_string(), "2026-02-28T00:00:00Z");
        assert_eq!(validity.until.to_string(), "2027-03-01T00:00:00Z");
        let certificate = webpki::EndEntityCert::try_from(&made.chain[0]).unwrap();
        for name in NAMES {
            let name: ServerName<'_> = name.try_into().unwrap();
            certificate.verify_is_valid_for_subject_name(&name).unwrap();
        }
        let other: ServerName<'_> = "weir.example".try_into().unwrap();
        assert!(certificate.verify_is_valid_for_subject_name(&other).is_err());
        assert_ne!(made.sha256(), identity(now).unwrap().sha256(), "each has a key of its own");
    }
}
