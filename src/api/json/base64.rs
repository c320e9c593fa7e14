//! Bytes in base64, in the forms in which clients write them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Returns the bytes of a text in base64 (RFC 4648): in the standard or the url-safe alphabet, with padding or without,
/// in one line or broken into several, as it is or in a `data:` URL.
///
/// # Errors
/// The fault, in words.
pub(in crate::api) fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    // Most texts are plain, and need no copy.
    STANDARD.decode(text).or_else(|_| decode_lenient(text))
}

fn decode_lenient(text: &str) -> Result<Vec<u8>, String> {
    let mut digits: Vec<u8> = payload(text)?.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let length = digits.len();
    while digits.last() == Some(&b'=') {
        digits.pop();
    }
    let padding = length - digits.len();
    if padding > 0 && (padding > 2 || !length.is_multiple_of(4)) {
        return Err(format!("{padding} characters '=' at its end do not fill it up to a multiple of 4"));
    }
    let engine = if digits.iter().any(|byte| matches!(byte, b'-' | b'_')) { URL_SAFE_NO_PAD } else { STANDARD_NO_PAD };
    engine.decode(digits).map_err(|error| error.to_string())
}

/// Returns the base64 in a `data:` URL (RFC 2397), or the text itself if it is none.
fn payload(text: &str) -> Result<&str, String> {
    let text = text.trim_ascii();
    let is_url = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if !is_url {
        return Ok(text);
    }
    let (head, data) = text.split_once(',').ok_or("a data: URL has a comma before its data")?;
    let is_base64 = head.rsplit(';').next().is_some_and(|word| word.eq_ignore_ascii_case("base64"));
    if is_base64 { Ok(data) } else { Err("a data: URL must say \";base64\" before its data".into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_forms_of_base64_are_taken() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("aGk=", b"hi"),
            ("aGk", b"hi"),
            (" a\r\nG k=\n", b"hi"),
            ("data:text/plain;charset=utf-8;base64,aGk=", b"hi"),
            ("DATA:;BASE64,aGk", b"hi"),
            ("__8=", b"\xff\xff"),
            ("//8", b"\xff\xff"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Ok(bytes), "{text}");
        }
        for bad in [
            "=",
            "aGk==",
            "aGkx=",
            "aGkx====",
            "=aGk",
            "aG=k",
            "a",
            "aGl",
            "_/8=",
            "data:image/png,aGk=",
            "data:base64",
            "http://127.0.0.1/7.png",
            "ａＧｋ",
            "a\0Gk",
        ] {
            assert!(decode_base64(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_from_every_form(bytes in prop::collection::vec(any::<u8>(), 0..60), width in 1usize..20) {
            let standard = STANDARD.encode(&bytes);
            let lines: Vec<&str> = standard.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
            for text in [
                lines.join("\r\n"),
                STANDARD_NO_PAD.encode(&bytes),
                URL_SAFE_NO_PAD.encode(&bytes),
                format!("data:image/png;base64,{standard}"),
            ] {
                prop_assert_eq!(decode_base64(&text), Ok(bytes.clone()), "{}", text);
            }
        }
    }
}
