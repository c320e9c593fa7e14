//! The bits of entropy-coded data, read a word at a time, and Huffman codes looked up in tables.
//!
//! `huffman` reads the same code bit by bit: it is small, and follows the few files without an end. Here every sample
//! of a picture passes.

use memchr::memchr;

use crate::transform::jpeg::huffman::Code;

/// The bits that a table is looked up by: mostly two codes with the values behind them.
const LOOKAHEAD: u32 = 11;
const ENTRIES: usize = 1 << LOOKAHEAD;

/// The step of the code that ends a block: beyond every coefficient.
pub(super) const END_OF_BLOCK: u32 = 128;

/// The entropy-coded data of a scan.
#[derive(Debug)]
pub(super) struct Coded<'a> {
    file: &'a [u8],
    at: usize,
    /// The bytes between two markers, as they were before zeros were stuffed in.
    plain: Vec<u8>,
}

impl<'a> Coded<'a> {
    pub(super) fn at(file: &'a [u8], at: usize) -> Self {
        Self { file, at, plain: Vec::with_capacity(file.len().saturating_sub(at)) }
    }

    /// Returns the place in the file behind the bytes that were read.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Returns the bits up to the next marker.
    pub(super) fn interval(&mut self) -> Bits<'_> {
        self.plain.clear();
        let mut rest = self.file.get(self.at..).unwrap_or_default();
        while let Some(end) = memchr(0xff, rest) {
            // Bytes of 0xff, of which more than one are the same as one, are followed by a stuffed 0, or else start a marker.
            let fill = rest[end..].iter().take_while(|byte| **byte == 0xff).count();
            let is_stuffed = rest.get(end + fill) == Some(&0);
            self.plain.extend_from_slice(&rest[..end + usize::from(is_stuffed)]);
            rest = &rest[if is_stuffed { end + fill + 1 } else { end }..];
            if !is_stuffed {
                break;
            }
        }
        self.at = self.file.len() - rest.len();
        let bits = self.plain.len() * 8;
        self.plain.extend([0; 8]);
        Bits { plain: &self.plain, bits, at: 0, window: 0, count: 0 }
    }

    /// Passes over a restart marker; `None` if there is none.
    pub(super) fn restart(&mut self) -> Option<()> {
        let fill = self.file.get(self.at..)?.iter().take_while(|byte| **byte == 0xff).count();
        let is_marker = fill > 0 && matches!(self.file.get(self.at + fill), Some(0xd0..=0xd7));
        self.at += fill + 1;
        is_marker.then_some(())
    }
}

/// The bits between two markers. Behind the last one follow zeros without end, which [`Bits::is_overrun`] tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    /// The bytes, and eight zeros.
    plain: &'a [u8],
    /// The bits that the file has.
    bits: usize,
    /// The next byte that is not in the window.
    at: usize,
    /// The next bits, the first of them on top.
    window: u64,
    /// The bits of the window that hold.
    count: u32,
}

impl Bits<'_> {
    /// Sees to it that a code and the value behind it can be read.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count > 32 {
            return;
        }
        let next = self.plain.get(self.at..).and_then(|rest| rest.first_chunk::<8>());
        self.window |= next.map_or(0, |bytes| u64::from_be_bytes(*bytes)) >> self.count;
        self.at = self.at.wrapping_add(((63 - self.count) >> 3) as usize);
        self.count |= 56;
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.window <<= bits;
        self.count = self.count.wrapping_sub(bits);
    }

    /// Returns the bits that tables are looked up by.
    #[inline(always)]
    fn ahead(&self) -> usize {
        (self.window >> (64 - LOOKAHEAD)) as usize
    }

    /// Passes over a code and its value.
    #[inline(always)]
    pub(super) fn pass(&mut self, coefficient: Coefficient) {
        self.skip(coefficient.length);
    }

    /// Returns the next bits, at most 16, as a number.
    #[inline(always)]
    pub(super) fn number(&mut self, bits: u32) -> u32 {
        self.refill();
        // In two steps, as no bits at all would be a shift by 64.
        let number = (self.window >> 1 >> (63 - bits)) as u32;
        self.skip(bits);
        number
    }

    /// Returns true if more bits were read than there are.
    #[inline(always)]
    pub(super) fn is_overrun(&self) -> bool {
        self.at * 8 > self.bits + self.count as usize
    }
}

/// What the next code means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Coefficient {
    pub(super) value: i16,
    /// The coefficients from the last one to this: 1 more than the zeros between; [`END_OF_BLOCK`] where none follows.
    pub(super) step: u32,
    /// The length of the code and the value; 0 if it is not known.
    length: u32,
}

/// What the next two codes mean. Where only one is known, the second is the first again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair(u64);

impl Pair {
    fn of(first: Coefficient, second: Coefficient) -> Self {
        let value = |value: i16| u64::from(value as u16);
        let steps = first.step << 8 | second.step;
        let lengths = first.length << 8 | second.length;
        Self(value(first.value) << 48 | value(second.value) << 32 | u64::from(steps << 16 | lengths))
    }

    /// Returns true if not even the first code is known.
    #[inline(always)]
    pub(super) fn is_unknown(self) -> bool {
        self.0 == 0
    }

    /// Returns the first one.
    #[inline(always)]
    pub(super) fn first(self) -> Coefficient {
        Coefficient {
            value: (self.0 >> 48) as i16,
            step: (self.0 >> 24) as u32 & 0xff,
            length: (self.0 >> 8) as u32 & 0xff,
        }
    }

    /// Returns the second one, whose step and length are those of both together.
    #[inline(always)]
    pub(super) fn both(self) -> Coefficient {
        Coefficient { value: (self.0 >> 32) as i16, step: (self.0 >> 16) as u32 & 0xff, length: self.0 as u32 & 0xff }
    }
}

/// A Huffman code as tables.
#[derive(Debug)]
pub(super) struct Table {
    /// By the next bits: what the first two codes mean.
    pairs: Box<[Pair; ENTRIES]>,
    /// By the next bits: the symbol, 8 bits, and the length of its code; 0 where they do not tell.
    symbols: Box<[u16; ENTRIES]>,
    /// For each length of a code: the first number of 16 bits that is none, and what makes an index of a code.
    longer: [(u32, i32); 17],
    all: Vec<u8>,
}

impl Table {
    /// Makes tables of a code; `None` if it has more symbols than fit.
    pub(super) fn of(code: &Code) -> Option<Self> {
        let mut symbols = Box::new([0; ENTRIES]);
        let mut longer = [(0, 0); 17];
        let (mut next, mut index) = (0u32, 0usize);
        for (length, count) in (1..=16).zip(code.lengths.map(u32::from)) {
            longer[length as usize].1 = index as i32 - next as i32;
            for symbol in code.symbols.get(index..index + count as usize)? {
                if next >> length != 0 {
                    return None;
                }
                if let Some(free) = LOOKAHEAD.checked_sub(length) {
                    let entry = (length << 8) as u16 | u16::from(*symbol);
                    symbols[(next << free) as usize..][..1 << free].fill(entry);
                }
                next += 1;
            }
            index += count as usize;
            longer[length as usize].0 = next << (16 - length);
            next <<= 1;
        }
        Some(Self { pairs: pairs(&symbols), symbols, longer, all: code.symbols.clone() })
    }

    /// Returns the next symbol; `None` for bits that are no code.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Option<u8> {
        bits.refill();
        let entry = u32::from(self.symbols[bits.ahead()]);
        if entry == 0 {
            let (symbol, length) = self.longer_symbol(bits.window)?;
            bits.skip(length);
            return Some(symbol);
        }
        bits.skip(entry >> 8);
        Some(entry as u8)
    }

    /// Returns the next symbol and the length of its code. Takes no bits to change, which so stay in registers.
    #[inline(never)]
    fn longer_symbol(&self, window: u64) -> Option<(u8, u32)> {
        let next = (window >> 48) as u32;
        let length = (LOOKAHEAD + 1..=16).find(|length| next < self.longer[*length as usize].0)?;
        let index = (next >> (16 - length)) as i32 + self.longer[length as usize].1;
        Some((*self.all.get(index as usize)?, length))
    }

    /// Returns what the next two codes mean, which are still to be passed.
    #[inline(always)]
    pub(super) fn pair(&self, bits: &mut Bits<'_>) -> Pair {
        bits.refill();
        self.pairs[bits.ahead()]
    }

    /// Returns what the next code means, and passes it; `None` for bits that are no code.
    #[inline(always)]
    pub(super) fn coefficient(&self, bits: &mut Bits<'_>) -> Option<Coefficient> {
        let symbol = self.symbol(bits)?;
        let size = u32::from(symbol & 15);
        Some(Coefficient { value: extended(bits.number(size), size), step: step(symbol), length: 0 })
    }
}

/// Returns what the first two codes mean in all bits that may be next.
fn pairs(symbols: &[u16; ENTRIES]) -> Box<[Pair; ENTRIES]> {
    let single = |ahead: usize| {
        let entry = symbols[ahead];
        let size = u32::from(entry & 15);
        let length = u32::from(entry >> 8) + size;
        if entry == 0 || length > LOOKAHEAD {
            return Coefficient::default();
        }
        let value = (ahead as u32 >> (LOOKAHEAD - length)) & ((1 << size) - 1);
        Coefficient { value: extended(value, size), step: step(entry as u8), length }
    };
    let singles: Vec<Coefficient> = (0..ENTRIES).map(single).collect();
    let mut pairs = Box::new([Pair(0); ENTRIES]);
    for ((ahead, first), pair) in singles.iter().enumerate().zip(pairs.iter_mut()) {
        let second = singles[(ahead << first.length) % ENTRIES];
        let length = first.length + second.length;
        let has_both = first.length > 0 && second.length > 0 && length <= LOOKAHEAD && first.step < END_OF_BLOCK;
        let both = Coefficient { step: first.step + second.step, length, ..second };
        *pair = Pair::of(*first, if has_both { both } else { *first });
    }
    pairs
}

/// Returns the step of a symbol of a sequential frame: its zeros and the coefficient behind them. A symbol without a value
/// ends the block unless it stands for 16 zeros, as libjpeg has it.
#[inline(always)]
fn step(symbol: u8) -> u32 {
    if symbol & 15 == 0 && symbol != 0xf0 { END_OF_BLOCK } else { u32::from(symbol >> 4) + 1 }
}

/// Returns the number that these bits stand for (T.81, annex F.2.2.1): half of them are negative.
#[inline(always)]
pub(super) fn extended(bits: u32, size: u32) -> i16 {
    let is_negative = size > 0 && bits >> (size - 1) == 0;
    let number = if is_negative { bits as i32 - (1 << size) + 1 } else { bits as i32 };
    number as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_before_a_stuffed_zero_are_one_byte() {
        let file = [1, 0xff, 0, 2, 0xff, 0xff, 0xff, 0, 3, 0xff, 0xff, 0xd0, 4, 0xff, 0xd9];
        let mut coded = Coded::at(&file, 0);
        let mut bits = coded.interval();
        assert_eq!([(); 5].map(|()| bits.number(8)), [1, 0xff, 2, 0xff, 3]);
        assert!(!bits.is_overrun());
        bits.number(1);
        assert!(bits.is_overrun());
        assert_eq!((coded.place(), coded.restart()), (9, Some(())));
        assert_eq!(coded.interval().number(8), 4);
        assert_eq!((coded.place(), coded.restart()), (13, None));
    }

    #[test]
    fn a_symbol_without_a_value_ends_the_block_unless_it_is_of_16_zeros() {
        // Codes 00, 01, 10 and 11, alone and as the first of two.
        let mut lengths = [0; 16];
        lengths[1] = 4;
        let table = Table::of(&Code { lengths, symbols: vec![0x00, 0x10, 0xe0, 0xf0] }).unwrap();
        for (byte, expected) in
            [(0u8, END_OF_BLOCK), (0b0100_0000, END_OF_BLOCK), (0b1000_0000, END_OF_BLOCK), (0b1100_0000, 16)]
        {
            let file = [byte, 0, 0xff, 0xd9];
            let mut coded = Coded::at(&file, 0);
            let mut bits = coded.interval();
            assert_eq!(table.pair(&mut bits).first().step, expected, "{byte}");
            assert_eq!(table.coefficient(&mut bits).map(|found| (found.step, found.value)), Some((expected, 0)));
        }
    }
}
