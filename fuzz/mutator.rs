//! Changes of an input, as fuzzers make them.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The longest input.
const MAX_BYTES: usize = 256 << 10;

/// Numbers at the ends of what something can hold.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "1e-400",
];

/// Texts that mean something to many parsers.
const WORDS: [&str; 16] = [
    "null", "true", "{}", "[]", "[[", "{\"", "\"\"", "\\u0000", "\\ud800", "\0", "\r\n", "\n\n", "NaN", "Infinity",
    "=", "\u{feff}",
];

/// Mutates seeds.
pub(super) struct Mutator<'a> {
    pub(super) rng: &'a mut ChaCha8Rng,
    /// Further texts that mean something to the target.
    pub(super) words: &'static [&'static str],
}

impl Mutator<'_> {
    /// Returns a mutant of one of the seeds.
    pub(super) fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        if self.below(8) == 0 {
            let other = &seeds[self.below(seeds.len())];
            let (cut, from) = (self.below(bytes.len() + 1), self.below(other.len() + 1));
            bytes.truncate(cut);
            bytes.extend(&other[from..]);
        }
        for _ in 0..=self.below(6) {
            self.change(&mut bytes);
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end.max(1))
    }

    /// Returns a place in the bytes; the head is likelier, as it says most.
    fn place(&mut self, length: usize) -> usize {
        let near = if self.below(2) == 0 { length.min(200) } else { length };
        self.below(near)
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.place(bytes.len());
        let length = 1 << self.below(7);
        let end = (at + self.below(length) + 1).min(bytes.len());
        match self.below(12) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = self.rng.random(),
            2 if !bytes.is_empty() => bytes[at..end].fill([0, 0xff, 0x7f, 0x80, b' ', b'9', b'['][self.below(7)]),
            3 if !bytes.is_empty() => bytes[at] = bytes[at].wrapping_add([1, 255][self.below(2)]),
            4 => drop(bytes.drain(at..end)),
            5 if self.below(4) == 0 => bytes.truncate(at),
            6 => {
                let piece = bytes[at.min(end)..end].to_vec();
                let to = self.place(bytes.len() + 1);
                drop(bytes.splice(to..to, piece));
            }
            7 => {
                let times = 1 << self.below(10);
                let piece = bytes[at.min(end)..end].repeat(times);
                drop(bytes.splice(at..at, piece));
            }
            8 => self.replace_number(bytes),
            9 => {
                let random: Vec<u8> = (0..self.below(16)).map(|_| self.rng.random()).collect();
                drop(bytes.splice(at..at, random));
            }
            _ => {
                let word = self.word();
                let end = if self.below(2) == 0 { at } else { end };
                drop(bytes.splice(at.min(end)..end, word.bytes()));
            }
        }
    }

    fn word(&mut self) -> &'static str {
        let own = self.words.len();
        match self.below(3) {
            0 => NUMBERS[self.below(NUMBERS.len())],
            1 if own > 0 => self.words[self.below(own)],
            _ => WORDS[self.below(WORDS.len())],
        }
    }

    /// Puts a number at an end of its range in the place of one that is written in digits.
    fn replace_number(&mut self, bytes: &mut Vec<u8>) {
        let from = self.below(bytes.len());
        let Some(begin) = bytes[from.min(bytes.len())..].iter().position(u8::is_ascii_digit).map(|at| from + at) else {
            return;
        };
        let digits = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        drop(bytes.splice(begin..begin + digits, number.bytes()));
    }
}
