//! Reads the scans of a JPEG file as far as it takes to know that no block of the picture is missing: the codes are
//! followed (ITU-T T.81, annexes F and G), but nothing is computed from them.

use super::huffman::{Bits, Code};
use super::{HUFFMAN_TABLES, Markers, PROGRESSIVE, RESTART_INTERVAL, START_OF_SCAN, is_frame};

/// The scans that are followed; the decoder stops at as many.
const MAX_SCANS: usize = 100;

/// Returns true if every scan is whole and together they give every bit of every coefficient.
pub(super) fn are_complete(file: &[u8], max_pixels: u64) -> bool {
    let mut markers = Markers::of(file);
    let mut codes = Codes::default();
    let (mut frame, mut interval, mut scans): (Option<Frame>, _, _) = (None, 0, 0);
    while let Some((marker, segment)) = markers.next() {
        match marker {
            HUFFMAN_TABLES if codes.read(segment).is_none() => return false,
            RESTART_INTERVAL => interval = segment.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes).into()),
            START_OF_SCAN => {
                scans += 1;
                let Some(frame) = frame.as_mut().filter(|_| scans <= MAX_SCANS) else { return false };
                let Some(scan) = Scan::read(segment, frame.is_progressive) else { return false };
                let mut bits = Bits::at(file, markers.at);
                if frame.follow(&scan, &codes, interval, &mut bits).is_none() {
                    return false;
                }
                markers.at = bits.place();
            }
            marker if is_frame(marker) && frame.is_none() => frame = Frame::read(marker, segment, max_pixels),
            _ => {}
        }
    }
    frame.is_some_and(|frame| frame.components.iter().all(|component| component.missing == [0; 64]))
}

/// The codes in use, by their numbers.
#[derive(Default)]
pub(super) struct Codes {
    /// For the coefficients of frequency 0.
    pub(super) dc: [Option<Code>; 4],
    /// For the others.
    pub(super) ac: [Option<Code>; 4],
}

impl Codes {
    pub(super) fn read(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((selector, rest)) = segment.split_first() {
            let (code, rest) = Code::read(rest)?;
            let kind = if selector >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *kind.get_mut(usize::from(selector & 15))? = Some(code);
            segment = rest;
        }
        Some(())
    }
}

/// What the header of a scan says.
pub(super) struct Scan {
    /// The identifiers of the components with the numbers of their codes for frequency 0 and for the others.
    pub(super) components: Vec<(u8, usize, usize)>,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) is_refinement: bool,
    /// The bits of the coefficients that later scans will give.
    pub(super) missing: u8,
}

impl Scan {
    pub(super) fn read(segment: &[u8], is_progressive: bool) -> Option<Self> {
        let (count, rest) = segment.split_first()?;
        let (pairs, rest) = rest.split_at_checked(usize::from(*count) * 2)?;
        let stated = *rest.first_chunk()?;
        // Whatever a sequential file states, a scan of it gives all coefficients.
        let [first, last, approximation] = if is_progressive { stated } else { [0, 63, 0] };
        let component = |pair: &[u8]| (pair[0], usize::from(pair[1] >> 4), usize::from(pair[1] & 15));
        let is_valid = (1..=4).contains(count) && first <= last && last < 64;
        is_valid.then(|| Self {
            components: pairs.chunks_exact(2).map(component).collect(),
            first: first.into(),
            last: last.into(),
            is_refinement: approximation >> 4 != 0,
            missing: approximation & 15,
        })
    }
}

/// A colour component of a frame.
struct Component {
    id: u8,
    /// Blocks of a unit across and down where several components are interleaved.
    across: usize,
    down: usize,
    /// Blocks of the component alone.
    width: usize,
    height: usize,
    /// Blocks in a row, those that fill up the last unit included.
    stride: usize,
    /// The coefficients of each block that are not 0 so far, a bit for each; kept for a progressive frame only.
    set: Vec<u64>,
    /// The bits that are still to come of the coefficients at each frequency.
    missing: [u8; 64],
}

struct Frame {
    is_progressive: bool,
    /// Units across and down.
    units: [usize; 2],
    components: Vec<Component>,
}

impl Frame {
    fn read(marker: u8, segment: &[u8], max_pixels: u64) -> Option<Self> {
        let (head, rest) = segment.split_first_chunk::<6>()?;
        let height = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let width = usize::from(u16::from_be_bytes([head[3], head[4]]));
        let specs = rest.get(..usize::from(head[5]) * 3)?;
        let factors = || specs.chunks_exact(3).map(|spec| [usize::from(spec[1] >> 4), usize::from(spec[1] & 15)]);
        let is_valid = (1..=4).contains(&head[5]) && factors().flatten().all(|factor| (1..=4).contains(&factor));
        if !is_valid || width * height == 0 || (width * height) as u64 > max_pixels {
            return None;
        }
        let (most_across, most_down) = (factors().map(|pair| pair[0]).max()?, factors().map(|pair| pair[1]).max()?);
        let units = [width.div_ceil(8 * most_across), height.div_ceil(8 * most_down)];
        let is_progressive = marker == PROGRESSIVE;
        let component = |(spec, [across, down]): (&[u8], [usize; 2])| {
            let stride = units[0] * across;
            let blocks = if is_progressive { stride * units[1] * down } else { 0 };
            Component {
                id: spec[0],
                across,
                down,
                width: (width * across).div_ceil(8 * most_across),
                height: (height * down).div_ceil(8 * most_down),
                stride,
                set: vec![0; blocks],
                missing: [u8::MAX; 64],
            }
        };
        Some(Self { is_progressive, units, components: specs.chunks_exact(3).zip(factors()).map(component).collect() })
    }

    /// Follows the codes of a scan to its end; `None` if something is missing or wrong.
    fn follow(&mut self, scan: &Scan, codes: &Codes, interval: usize, bits: &mut Bits<'_>) -> Option<()> {
        let mut blocks = Blocks { is_progressive: self.is_progressive, scan, bits, run: 0 };
        let mut members = Vec::with_capacity(scan.components.len());
        for (id, dc, ac) in &scan.components {
            let place = self.components.iter().position(|component| component.id == *id)?;
            let code = |kind: &'_ [Option<Code>; 4], number: usize| kind.get(number)?.clone();
            members.push((place, code(&codes.dc, *dc), code(&codes.ac, *ac)));
        }
        let [across, down] = match members.as_slice() {
            [(only, ..)] => [self.components[*only].width, self.components[*only].height],
            _ => self.units,
        };
        for unit in 0..across * down {
            if interval > 0 && unit > 0 && unit % interval == 0 {
                blocks.bits.restart()?;
                blocks.run = 0;
            }
            let (x, y) = (unit % across, unit / across);
            for (member, dc, ac) in &members {
                let component = &mut self.components[*member];
                let [wide, high] = if members.len() == 1 { [1, 1] } else { [component.across, component.down] };
                for (row, column) in (0..high).flat_map(|row| (0..wide).map(move |column| (row, column))) {
                    let block = (y * high + row) * component.stride + x * wide + column;
                    let mut forgotten = 0;
                    let set = component.set.get_mut(block).unwrap_or(&mut forgotten);
                    blocks.follow(dc.as_ref(), ac.as_ref(), set)?;
                }
            }
        }
        for (member, ..) in members {
            self.components[member].missing[scan.first..=scan.last].fill(scan.missing);
        }
        Some(())
    }
}

/// The blocks of a scan, one after the other.
struct Blocks<'s, 'b, 'f> {
    is_progressive: bool,
    scan: &'s Scan,
    bits: &'b mut Bits<'f>,
    /// The blocks to come that have no further coefficients.
    run: u32,
}

impl Blocks<'_, '_, '_> {
    /// Follows the codes of one block, whose coefficients that are not 0 are `set`.
    fn follow(&mut self, dc: Option<&Code>, ac: Option<&Code>, set: &mut u64) -> Option<()> {
        if self.scan.first == 0 {
            if self.scan.is_refinement {
                self.bits.skip(1)?;
            } else {
                let size = dc?.symbol(self.bits)?;
                self.bits.skip(size.into())?;
            }
        }
        let first = self.scan.first.max(1);
        if first > self.scan.last {
            return Some(());
        }
        if self.run > 0 {
            self.run -= 1;
            return self.correct(first, *set);
        }
        if self.is_progressive && self.scan.is_refinement { self.refine(ac?, set) } else { self.first_pass(ac?, set) }
    }

    /// Follows coefficients that no earlier scan gave.
    fn first_pass(&mut self, ac: &Code, set: &mut u64) -> Option<()> {
        let mut frequency = self.scan.first.max(1);
        while frequency <= self.scan.last {
            let symbol = ac.symbol(self.bits)?;
            let (zeros, size) = (symbol >> 4, symbol & 15);
            if size == 0 && zeros < 15 {
                return self.end_of_blocks(zeros.into());
            }
            frequency += usize::from(zeros);
            if frequency > self.scan.last {
                return None;
            }
            if size > 0 {
                self.bits.skip(size.into())?;
                *set |= 1 << frequency;
            }
            frequency += 1;
        }
        Some(())
    }

    /// Follows a further bit of the coefficients that are set, between those that this bit sets.
    fn refine(&mut self, ac: &Code, set: &mut u64) -> Option<()> {
        let mut frequency = self.scan.first.max(1);
        while frequency <= self.scan.last {
            let symbol = ac.symbol(self.bits)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            if size == 0 && zeros < 15 {
                self.end_of_blocks(zeros.into())?;
                return self.correct(frequency, *set);
            }
            self.bits.skip(u32::from(size > 0))?;
            while frequency <= self.scan.last {
                if *set >> frequency & 1 == 1 {
                    self.bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                frequency += 1;
            }
            if size > 0 && frequency <= self.scan.last {
                *set |= 1 << frequency;
            }
            frequency += 1;
        }
        Some(())
    }

    /// Reads how many blocks, this one not counted, have no further coefficients.
    fn end_of_blocks(&mut self, size: u32) -> Option<()> {
        if size > 0 && !self.is_progressive {
            return None;
        }
        self.run = (1 << size) - 1 + self.bits.number(size)?;
        Some(())
    }

    /// Passes over the bits that correct the coefficients from a frequency on.
    fn correct(&mut self, from: usize, set: u64) -> Option<()> {
        if !self.scan.is_refinement {
            return Some(());
        }
        let range = u64::MAX >> (63 - self.scan.last) & u64::MAX << from;
        self.bits.skip((set & range).count_ones())
    }
}
