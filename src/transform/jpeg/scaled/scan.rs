//! Decodes the scans of sequential and of progressive frames (T.81, annexes F and G).

use super::Refusal;
use super::bits::{Bits, Coded, END_OF_BLOCK, Table, extended};
use super::cosine::Block;
use super::frame::{Component, Frame, ORDER, Pending};
use crate::simd::vectorized;
use crate::transform::jpeg::huffman::Code;
use crate::transform::jpeg::scans::{Codes, Scan};

/// A component in a scan.
struct Member {
    /// Its place in the frame.
    component: usize,
    dc: Option<Table>,
    ac: Option<Table>,
    /// The coefficient of frequency 0 of the block before.
    previous: i16,
}

/// Decodes a scan. An interval is the number of units between restarts, 0 for no restart.
///
/// # Errors
/// [`Refusal`].
pub(super) fn decode(
    frame: &mut Frame,
    scan: &Scan,
    codes: &Codes,
    interval: usize,
    coded: &mut Coded<'_>,
) -> Result<(), Refusal> {
    let mut members = members(frame, scan, codes)?;
    units(frame, scan, &mut members, interval, coded).ok_or(Refusal::Damaged)?;
    for member in members {
        let component = &mut frame.components[member.component];
        if !frame.is_progressive {
            vectorized(
                #[inline(always)]
                || component.flush(),
            );
        }
        component.missing[scan.first..=scan.last].fill(scan.missing);
    }
    Ok(())
}

/// Returns the components of a scan with their codes.
///
/// # Errors
/// [`Refusal::Unscalable`] where a code is not in the file, as in the pictures of some cameras, which mean those of T.81,
/// annex K; [`Refusal::Damaged`] otherwise.
fn members(frame: &Frame, scan: &Scan, codes: &Codes) -> Result<Vec<Member>, Refusal> {
    let table = |kind: &[Option<Code>; 4], number: usize| {
        let code = kind.get(number).ok_or(Refusal::Damaged)?.as_ref().ok_or(Refusal::Unscalable)?;
        Table::of(code).map(Some).ok_or(Refusal::Damaged)
    };
    let has_dc = scan.first == 0 && !scan.is_refinement;
    let member = |(id, dc, ac): &(u8, usize, usize)| {
        let component = frame.components.iter().position(|component| component.id == *id).ok_or(Refusal::Damaged)?;
        let dc = if has_dc { table(&codes.dc, *dc)? } else { None };
        let ac = if scan.last > 0 { table(&codes.ac, *ac)? } else { None };
        Ok(Member { component, dc, ac, previous: 0 })
    };
    scan.components.iter().map(member).collect()
}

/// Reads the units of a scan; `None` if something is missing or wrong.
fn units(frame: &mut Frame, scan: &Scan, members: &mut [Member], interval: usize, coded: &mut Coded<'_>) -> Option<()> {
    if frame.is_progressive && scan.last > 0 && (members.len() > 1 || scan.first == 0) {
        return None;
    }
    let [across, down] = match &*members {
        [only] => frame.components[only.component].alone,
        _ => frame.units,
    };
    let units = across * down;
    let interval = if interval == 0 { units } else { interval };
    for first in (0..units).step_by(interval) {
        if first > 0 {
            coded.restart()?;
        }
        members.iter_mut().for_each(|member| member.previous = 0);
        let (mut bits, range) = (coded.interval(), first..units.min(first + interval));
        vectorized(
            #[inline(always)]
            || match frame.is_progressive {
                false => sequential(frame, members, across, range.clone(), &mut bits),
                true => progressive(frame, scan, members, across, range.clone(), &mut bits),
            },
        )?;
    }
    Some(())
}

/// Calls back with every block of a unit: its component, and its place there.
#[inline(always)]
fn each_block(
    frame: &mut Frame,
    members: &mut [Member],
    [x, y]: [usize; 2],
    mut work: impl FnMut(&mut Component, &mut Member, [usize; 2]) -> Option<()>,
) -> Option<()> {
    let is_alone = members.len() == 1;
    for member in members {
        let component = frame.components.get_mut(member.component)?;
        let [wide, high] = if is_alone { [1, 1] } else { component.blocks };
        for row in 0..high {
            for column in 0..wide {
                work(component, member, [x * wide + column, y * high + row])?;
            }
        }
    }
    Some(())
}

#[inline(always)]
fn sequential(
    frame: &mut Frame,
    members: &mut [Member],
    across: usize,
    units: std::ops::Range<usize>,
    bits: &mut Bits<'_>,
) -> Option<()> {
    for unit in units {
        each_block(
            frame,
            members,
            [unit % across, unit / across],
            #[inline(always)]
            |component, member, place| {
                member.block(bits, &mut component.pending)?;
                component.add(place);
                Some(())
            },
        )?;
        if bits.is_overrun() {
            return None;
        }
    }
    Some(())
}

impl Member {
    /// Reads all coefficients of a block.
    #[inline(always)]
    fn block(&mut self, from: &mut Bits<'_>, block: &mut Pending) -> Option<()> {
        let mut bits = *from;
        let (Some(dc), Some(ac)) = (&self.dc, &self.ac) else { return None };
        self.previous = self.previous.wrapping_add(dc.coefficient(&mut bits)?.value);
        block.put(0, self.previous);
        let mut at = 0u32;
        while at < LAST {
            let pair = ac.pair(&mut bits);
            if pair.is_unknown() {
                let coefficient = ac.coefficient(&mut bits)?;
                at = at.wrapping_add(coefficient.step);
                block.put(at, coefficient.value);
                continue;
            }
            let first = pair.first();
            let end = at.wrapping_add(first.step);
            block.put(end, first.value);
            if end == LAST {
                // Behind the last coefficient begins another block, with codes of its own.
                bits.pass(first);
                at = end;
            } else {
                let both = pair.both();
                at = at.wrapping_add(both.step);
                block.put(at, both.value);
                bits.pass(both);
            }
        }
        *from = bits;
        let is_ended = (END_OF_BLOCK..=END_OF_BLOCK + LAST).contains(&at);
        (at == LAST || is_ended).then_some(())
    }
}

/// The last coefficient.
const LAST: u32 = 63;

#[inline(always)]
fn progressive(
    frame: &mut Frame,
    scan: &Scan,
    members: &mut [Member],
    across: usize,
    units: std::ops::Range<usize>,
    bits: &mut Bits<'_>,
) -> Option<()> {
    let mut run = 0;
    for unit in units {
        each_block(
            frame,
            members,
            [unit % across, unit / across],
            #[inline(always)]
            |component, member, place| {
                let block = component.block(place)?;
                match (&member.ac, scan.is_refinement) {
                    (None, false) => {
                        let difference = member.dc.as_ref()?.coefficient(bits)?.value;
                        member.previous = member.previous.wrapping_add(difference);
                        block[0] = shifted(member.previous, scan.missing);
                    }
                    (None, true) => block[0] |= shifted(bits.number(1) as i16, scan.missing),
                    (Some(ac), false) => first(ac, scan, bits, block, &mut run)?,
                    (Some(ac), true) => refinement(ac, scan, bits, block, &mut run)?,
                }
                Some(())
            },
        )?;
        if bits.is_overrun() {
            return None;
        }
    }
    Some(())
}

fn shifted(value: i16, bits: u8) -> i16 {
    value.wrapping_shl(bits.into())
}

/// Reads the upper bits of coefficients. `run` counts the blocks to come that have none.
#[inline(always)]
fn first(ac: &Table, scan: &Scan, bits: &mut Bits<'_>, block: &mut Block, run: &mut u32) -> Option<()> {
    if *run > 0 {
        *run -= 1;
        return Some(());
    }
    let mut at = scan.first;
    while at <= scan.last {
        let symbol = ac.symbol(bits)?;
        let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, size) {
            (15, 0) => at += 16,
            (_, 0) => {
                *run = (1 << zeros) - 1 + bits.number(zeros);
                break;
            }
            _ => {
                at += zeros as usize;
                let value = extended(bits.number(size), size);
                *block.get_mut(usize::from(*ORDER.get(at)?))? = shifted(value, scan.missing);
                at += 1;
            }
        }
    }
    Some(())
}

/// Reads a further bit of coefficients. `run` counts the blocks to come that get no new coefficient.
#[inline(always)]
fn refinement(ac: &Table, scan: &Scan, bits: &mut Bits<'_>, block: &mut Block, run: &mut u32) -> Option<()> {
    let bit = shifted(1, scan.missing);
    let mut at = scan.first;
    while *run == 0 && at <= scan.last {
        let symbol = ac.symbol(bits)?;
        let (mut zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let value = match (zeros, size) {
            (15, 0) => 0,
            (_, 0) => {
                *run = (1 << zeros) + bits.number(zeros);
                break;
            }
            (_, 1) if bits.number(1) == 1 => bit,
            (_, 1) => bit.wrapping_neg(),
            _ => return None,
        };
        // The coefficients that are there already get their bits, and so many zeros are passed over.
        while at <= scan.last {
            let coefficient = &mut block[usize::from(ORDER[at])];
            at += 1;
            if *coefficient != 0 {
                refine(coefficient, bit, bits);
            } else if zeros > 0 {
                zeros -= 1;
            } else {
                *coefficient = value;
                break;
            }
        }
    }
    if *run > 0 {
        for place in &ORDER[at..=scan.last] {
            refine(&mut block[usize::from(*place)], bit, bits);
        }
        *run -= 1;
    }
    Some(())
}

/// Reads a bit of a coefficient that is there already, unless it is 0.
#[inline(always)]
fn refine(coefficient: &mut i16, bit: i16, bits: &mut Bits<'_>) {
    if *coefficient != 0 && bits.number(1) == 1 && *coefficient & bit == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { bit.wrapping_neg() });
    }
}
