//! TFRecord framing: the length of a record, its checksum, the record, its checksum, all
//! little-endian. Checksums are CRC-32C (Castagnoli; RFC 3720, appendix B.4), rotated and shifted as
//! TensorFlow masks them, so that a checksum over bytes that hold checksums stays a good one.

use std::io::{self, Write};

const MASK_DELTA: u32 = 0xa282_ead8;
/// Castagnoli's polynomial, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

/// Writes one record.
///
/// # Errors
/// As the writer.
pub(super) fn write(to: &mut impl Write, record: &[u8]) -> io::Result<()> {
    let length = (record.len() as u64).to_le_bytes();
    to.write_all(&length)?;
    to.write_all(&masked_crc(&length).to_le_bytes())?;
    to.write_all(record)?;
    to.write_all(&masked_crc(record).to_le_bytes())
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(MASK_DELTA)
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3720, and the usual check of nine digits.
    #[test]
    fn checksums_agree_with_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b""), 0);
    }

    /// The bytes that TensorFlow's `TFRecordWriter` writes for a record of three letters.
    #[test]
    fn a_record_is_framed_by_masked_checksums() {
        let mut file = Vec::new();
        write(&mut file, b"abc").unwrap();
        assert_eq!(file.len(), 8 + 4 + 3 + 4);
        assert_eq!(file[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(file[12..15], *b"abc");
        let expected = (crc32c(b"abc") >> 15 | crc32c(b"abc") << 17).wrapping_add(MASK_DELTA);
        assert_eq!(file[15..], expected.to_le_bytes());
    }
}
