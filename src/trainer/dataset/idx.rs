//! The IDX file format of MNIST: a magic number, the dimensions as big-endian 32-bit integers, then
//! bytes (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").

use std::io::Read;

use flate2::read::GzDecoder;

/// An array of unsigned bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Idx {
    pub(super) dims: Vec<usize>,
    pub(super) data: Vec<u8>,
}

/// The largest array that is read: 4 GiB of images is another tool's work.
const MAX_BYTES: u64 = 4 << 30;

/// Reads an IDX file, gzipped or not, with the given number of dimensions.
pub(super) fn parse(file: &[u8], rank: u8) -> Result<Idx, String> {
    let bytes = if file.starts_with(&[0x1f, 0x8b]) { gunzip(file)? } else { file.to_vec() };
    let header = 4 + 4 * usize::from(rank);
    if bytes.len() < header {
        return Err(format!(
            "is {} bytes long, an IDX header alone takes {header}; the file is truncated",
            bytes.len()
        ));
    }
    let magic = [0, 0, 8, rank];
    if bytes[..4] != magic {
        return Err(format!(
            "begins with {:02x?}, expected {magic:02x?}: an IDX file of unsigned bytes with {rank} dimension(s)",
            &bytes[..4]
        ));
    }
    let dims: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize)
        .collect();
    let expected = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if expected != Some(bytes.len() - header) {
        return Err(format!(
            "holds {} bytes after its header, its dimensions {dims:?} say otherwise",
            bytes.len() - header
        ));
    }
    Ok(Idx { dims, data: bytes[header..].to_vec() })
}

fn gunzip(file: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    GzDecoder::new(file)
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("is damaged gzip: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_file_is_read() {
        let file = [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6]].concat();
        assert_eq!(parse(&file, 2), Ok(Idx { dims: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] }));
    }

    #[test]
    fn every_truncation_and_every_lie_is_refused() {
        let file = [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6]].concat();
        for length in 0..file.len() {
            assert!(parse(&file[..length], 2).is_err(), "{length}");
        }
        assert!(parse(&file, 3).is_err());
        assert!(parse(&[file.clone(), vec![0]].concat(), 2).is_err());
        assert!(parse(&[0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255], 2).is_err());
        assert!(parse(&[0x1f, 0x8b, 0, 0], 2).unwrap_err().contains("gzip"));
    }
}
