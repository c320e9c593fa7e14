//! Huffman codes and the bits of entropy-coded data (ITU-T T.81, annex F.2.2).

/// A canonical Huffman code.
#[derive(Clone)]
pub(super) struct Code {
    /// The number of codes of each length, from 1 to 16.
    pub(super) lengths: [u8; 16],
    pub(super) symbols: Vec<u8>,
}

impl Code {
    /// Reads a code from a segment of Huffman tables; returns the rest of the segment behind it.
    pub(super) fn read(segment: &[u8]) -> Option<(Self, &[u8])> {
        let (lengths, rest) = segment.split_first_chunk::<16>()?;
        let count = lengths.iter().map(|count| usize::from(*count)).sum();
        let (symbols, rest) = rest.split_at_checked(count)?;
        Some((Self { lengths: *lengths, symbols: symbols.to_vec() }, rest))
    }

    /// Returns the next symbol; `None` at the end of the data or for bits that are no code.
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in self.lengths.map(u32::from) {
            code = code << 1 | bits.bit()?;
            if code < first + count {
                return self.symbols.get((index + code.checked_sub(first)?) as usize).copied();
            }
            index += count;
            first = (first + count) << 1;
        }
        None
    }
}

/// The bits of one scan, up to the next marker.
pub(super) struct Bits<'a> {
    file: &'a [u8],
    at: usize,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn at(file: &'a [u8], at: usize) -> Self {
        Self { file, at, byte: 0, left: 0 }
    }

    /// Returns the place in the file behind the bytes that were read.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Returns the next bit; `None` at the end.
    pub(super) fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.byte = *self.file.get(self.at)?;
            // A byte of 0xff is followed by a stuffed 0, or else starts a marker.
            if self.byte == 0xff && *self.file.get(self.at + 1)? != 0 {
                return None;
            }
            self.at += if self.byte == 0xff { 2 } else { 1 };
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte) >> self.left & 1)
    }

    /// Returns the next bits as a number; `None` if they are not all there.
    pub(super) fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |number: u32, _| Some(number << 1 | self.bit()?))
    }

    /// Passes over bits; `None` if they are not all there.
    pub(super) fn skip(&mut self, bits: u32) -> Option<()> {
        (0..bits).try_for_each(|_| self.bit().map(drop))
    }

    /// Passes over a restart marker; `None` if there is none.
    pub(super) fn restart(&mut self) -> Option<()> {
        self.left = 0;
        let fill = self.file.get(self.at..)?.iter().take_while(|byte| **byte == 0xff).count();
        let is_marker = fill > 0 && matches!(self.file.get(self.at + fill), Some(0xd0..=0xd7));
        self.at += fill + 1;
        is_marker.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_read_up_to_the_next_marker() {
        // Codes 00, 01 and 10 of two bits, 110 of three.
        let mut segment = vec![0, 3, 1];
        segment.resize(16, 0);
        segment.extend([b'a', b'b', b'c', b'd', 99]);
        let (code, rest) = Code::read(&segment).unwrap();
        assert_eq!(rest, [99]);
        let mut bits = Bits::at(&[0b0001_1011, 0b0110_1011, 0xff, 0xd0, 0b0000_1111, 0xff, 0, 0xff], 0);
        let text: Vec<u8> = std::iter::from_fn(|| code.symbol(&mut bits)).collect();
        assert_eq!(text, b"abcddc", "the bits 11 that are left are no code");
        assert_eq!(bits.restart(), Some(()));
        assert_eq!((bits.number(4), bits.skip(4)), (Some(0), Some(())));
        assert_eq!((bits.number(8), bits.bit(), bits.place()), (Some(255), None, 7), "a stuffed byte and the end");
        assert_eq!(bits.restart(), None);
        assert_eq!(code.symbol(&mut Bits::at(&[0xf0; 4], 0)), None, "1111 is no code");
        assert!(Code::read(&segment[..18]).is_none());
    }
}
