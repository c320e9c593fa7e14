//! Reads what rustls and webpki do not say of a certificate: its time, and whom it names.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use webpki::EndEntityCert;

use crate::keys::principal_of;

/// Tags of DER.
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The object identifier of a common name, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The time in which a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// Returns the time in which a certificate holds; `None` if it cannot be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let mut all = certificate.as_ref();
    let mut signed = Element::take(&mut all)?.inside(SEQUENCE)?;
    let mut fields = Element::take(&mut signed)?.inside(SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        Element::take(&mut fields)?;
    }
    // The serial number, the algorithm and the issuer.
    for _ in 0..3 {
        Element::take(&mut fields)?;
    }
    let mut moments = Element::take(&mut fields)?.inside(SEQUENCE)?;
    Some(Validity { from: Element::take(&mut moments)?.moment()?, until: Element::take(&mut moments)?.moment()? })
}

/// Returns the moment at which the next list should replace a list of revoked certificates; `None` if it names none.
pub(super) fn next_update(list: &CertificateRevocationListDer<'_>) -> Option<Timestamp> {
    let mut all = list.as_ref();
    let mut signed = Element::take(&mut all)?.inside(SEQUENCE)?;
    let mut fields = Element::take(&mut signed)?.inside(SEQUENCE)?;
    // The version, which only the first form lacks, the algorithm, the issuer and the list's own moment.
    for _ in 0..4 {
        Element::take(&mut fields)?;
    }
    Element::take(&mut fields)?.moment()
}

/// Returns the name of the holder of a certificate, which has been verified: its first URI, else its first DNS name,
/// else its common name, each with its kind. `None` if it has none that could be in a file of keys.
pub(super) fn principal(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let uri = parsed.valid_uri_names().next().map(|uri| format!("URI:{uri}"));
    let name = uri.or_else(|| parsed.valid_dns_names().next().map(|name| format!("DNS:{name}")));
    let name = name.or_else(|| common_name(parsed.subject()).map(|name| format!("CN:{name}")));
    name.as_deref().and_then(principal_of)
}

/// Returns the common name in the subject of a certificate.
fn common_name(mut subject: &[u8]) -> Option<String> {
    while let Some(mut set) = Element::take(&mut subject) {
        while let Some(mut attribute) = Element::take(&mut set.content) {
            let kind = Element::take(&mut attribute.content)?;
            let value = Element::take(&mut attribute.content)?;
            if kind.inside(OID) == Some(COMMON_NAME) {
                return value.text();
            }
        }
    }
    None
}

/// One element of DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

impl<'a> Element<'a> {
    /// Takes the first element off these bytes; `None` if they do not begin with a whole one.
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let [tag, short, rest @ ..] = *bytes else { return None };
        let (length, rest) = match short {
            0..=0x7f => (usize::from(*short), rest),
            // Four bytes of length are more than a certificate can have.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
                (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        Some(Self { tag: *tag, content })
    }

    /// Returns what is inside, if the element has this tag.
    fn inside(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }

    fn text(self) -> Option<String> {
        let is_text = matches!(self.tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
        String::from_utf8(self.content.to_vec()).ok().filter(|_| is_text)
    }

    /// Returns a moment, in the forms that certificates have: `YYMMDDhhmmssZ` and `YYYYMMDDhhmmssZ`. Moments beyond
    /// the range of [`Timestamp`], which mean for ever, are its last.
    fn moment(self) -> Option<Timestamp> {
        let digits = self.content.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let number = |digits: &[u8]| digits.iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0'));
        let (year, rest) = match (self.tag, digits.len()) {
            (UTC_TIME, 12) => (number(&digits[..2]), &digits[2..]),
            (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
            _ => return None,
        };
        let year = match self.tag {
            // RFC 5280: from 1950 to 2049.
            UTC_TIME if year >= 50 => 1900 + year,
            UTC_TIME => 2000 + year,
            _ => year,
        };
        let part = |at: usize| i8::try_from(number(&rest[2 * at..2 * at + 2])).ok();
        let civil = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
        Some(TimeZone::UTC.to_timestamp(civil).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn named(names: &[SanType], common: Option<&str>) -> Option<String> {
        principal(&made(|params| {
            params.subject_alt_names = names.to_vec();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "CN=root");
            if let Some(common) = common {
                params.distinguished_name.push(DnType::CommonName, common);
            }
        }))
    }

    #[test]
    fn the_time_is_read_in_both_forms() {
        let of = |from: (i32, u8, u8), until: (i32, u8, u8)| {
            let certificate = made(|params| {
                params.not_before = date_time_ymd(from.0, from.1, from.2);
                params.not_after = date_time_ymd(until.0, until.1, until.2);
            });
            validity(&certificate).map(|validity| (validity.from.to_string(), validity.until.to_string())).unwrap()
        };
        let text = |from: &str, until: &str| (format!("{from}T00:00:00Z"), format!("{until}T00:00:00Z"));
        assert_eq!(of((2026, 2, 28), (2027, 12, 31)), text("2026-02-28", "2027-12-31"));
        assert_eq!(of((1950, 1, 1), (2049, 12, 31)), text("1950-01-01", "2049-12-31"));
        assert_eq!(of((1999, 12, 31), (2050, 1, 1)), text("1999-12-31", "2050-01-01"));
        let of = |tag, content: &'static [u8]| Element { tag, content }.moment();
        assert_eq!(of(GENERALIZED_TIME, b"99991231235959Z"), Some(Timestamp::MAX), "for ever, as RFC 5280 writes it");
        for wrong in [&b"20260228000000"[..], b"2026022800000Z", b"20260230000000Z", b"2026-2-8000000Z", b"Z", b""] {
            assert_eq!(of(GENERALIZED_TIME, wrong), None, "{wrong:?}");
        }
        assert_eq!(of(OID, b"260228000000Z"), None);
    }

    #[test]
    fn the_holder_is_named_by_uri_then_dns_then_common_name() {
        let uri = SanType::URI("spiffe://example.org/Shop".try_into().unwrap());
        let dns = SanType::DnsName("Shop.Example".try_into().unwrap());
        let ip = SanType::IpAddress([127, 0, 0, 1].into());
        let all = [dns.clone(), ip.clone(), uri];
        assert_eq!(named(&all, Some("shop")).unwrap(), "URI:spiffe://example.org/Shop");
        assert_eq!(named(&[ip.clone(), dns], Some("shop")).unwrap(), "DNS:shop.example");
        assert_eq!(named(&[ip], Some("URI:spiffe://example.org/Shop")).unwrap(), "CN:URI:spiffe://example.org/Shop");
        assert_eq!(named(&[], Some("läden")).unwrap(), "CN:läden");
        for none in [None, Some(""), Some("a\nb")] {
            assert_eq!(named(&[], none), None, "{none:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_say_nothing() {
        let certificate = made(|_| {});
        assert!(validity(&certificate).is_some());
        for end in 0..certificate.len() {
            assert_eq!(validity(&CertificateDer::from(&certificate[..end])), None, "cut off at {end}");
            assert_eq!(principal(&CertificateDer::from(&certificate[..end])), None);
        }
        for bytes in [&[0x30, 0x80][..], &[0x30, 0x85, 0, 0, 0, 0, 0], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30]] {
            assert_eq!(Element::take(&mut &*bytes), None, "{bytes:?}");
        }
    }
}
