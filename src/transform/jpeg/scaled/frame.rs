//! The picture that a JPEG file declares, and its colours while they are decoded.

use super::cosine::{self, Block, Blocks, LANES, Pixels};
use crate::transform::jpeg::PROGRESSIVE;

/// The places of the coefficients in a block, in the order of the file.
pub(super) const ORDER: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Blocks that are to be transformed together.
#[derive(Debug)]
pub(super) struct Pending {
    coefficients: Blocks,
    /// The places of the blocks in their component.
    places: [[usize; 2]; LANES],
    count: usize,
}

impl Pending {
    /// The places of all coefficients that steps lead to; those that do not exist have one behind the others.
    const PLACES: [u8; 256] = {
        let mut places = [64; 256];
        let mut at = 0;
        while at < ORDER.len() {
            places[at] = ORDER[at];
            at += 1;
        }
        places
    };

    /// Puts a coefficient, by its number in the order of the file, into the next block.
    #[inline(always)]
    pub(super) fn put(&mut self, at: u32, value: i16) {
        let place = usize::from(Self::PLACES[(at & 255) as usize] & 127);
        self.coefficients[place][self.count % LANES] = value;
    }
}

/// A picture that is decoded to blocks of `side` pixels on a side instead of 8.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) is_progressive: bool,
    /// The size of the scaled picture.
    pub(super) size: [usize; 2],
    /// Units across and down.
    pub(super) units: [usize; 2],
    pub(super) components: Vec<Component>,
}

/// A colour component.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of a unit across and down where several components are interleaved.
    pub(super) blocks: [usize; 2],
    /// Blocks across and down of the component alone.
    pub(super) alone: [usize; 2],
    /// Blocks across, those that fill up the last unit included.
    pub(super) stride: usize,
    /// The number of its quantization table.
    pub(super) table: usize,
    /// What coefficients are multiplied by, once a scan of the component has begun.
    pub(super) factors: Block,
    pub(super) has_begun: bool,
    /// The bits that are still to come of the coefficients at each frequency.
    pub(super) missing: [u8; 64],
    /// The pixels on a side of a block.
    side: usize,
    /// The pixels across and down that are shown.
    pub(super) shown: [usize; 2],
    /// The pixels of the picture for one of the component, across and down.
    pub(super) spread: [usize; 2],
    /// `stride * side` pixels in each row.
    plane: Vec<u8>,
    pub(super) pending: Box<Pending>,
    /// The coefficients of all blocks; of a progressive frame only.
    coefficients: Vec<i16>,
}

impl Frame {
    /// Reads the header of a frame; `None` of one that is decoded at its full size only: of other than 8 bits, of two or four
    /// components, or whose components have sizes that are no multiples.
    pub(super) fn read(marker: u8, segment: &[u8], side: usize) -> Option<Self> {
        let (head, rest) = segment.split_first_chunk::<6>()?;
        let [bits, height @ .., _, _, count] = *head;
        let size =
            [u16::from_be_bytes([head[3], head[4]]), u16::from_be_bytes([height[0], height[1]])].map(usize::from);
        let specs = rest.get(..usize::from(count) * 3)?.chunks_exact(3);
        let factors = |spec: &[u8]| [spec[1] >> 4, spec[1] & 15].map(usize::from);
        let is_valid = specs.clone().flat_map(factors).all(|factor| (1..=4).contains(&factor));
        if bits != 8 || !matches!(count, 1 | 3) || size.contains(&0) || !is_valid {
            return None;
        }
        let most = [0, 1].map(|axis| specs.clone().map(|spec| factors(spec)[axis]).max().unwrap_or(1));
        let units = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        let is_progressive = marker == PROGRESSIVE;
        let component = |spec: &[u8]| Component::of(spec, factors(spec), size, most, side, is_progressive);
        let components = specs.map(component).collect::<Option<_>>()?;
        Some(Self { is_progressive, size: size.map(|length| (length * side).div_ceil(8)), units, components })
    }
}

impl Component {
    fn of(
        spec: &[u8],
        blocks: [usize; 2],
        size: [usize; 2],
        most: [usize; 2],
        least: usize,
        is_progressive: bool,
    ) -> Option<Self> {
        // Where a component has fewer blocks than others, each may give more pixels, which is better than to spread few.
        let mut side = least;
        while side < 8 && [0, 1].iter().all(|axis| (most[*axis] * least).is_multiple_of(blocks[*axis] * side * 2)) {
            side *= 2;
        }
        let has_whole_pixels = [0, 1].iter().all(|axis| (most[*axis] * least).is_multiple_of(blocks[*axis] * side));
        let spread = [0, 1].map(|axis| most[axis] * least / (blocks[axis] * side));
        if !has_whole_pixels || spread == [2, 2] {
            return None;
        }
        let units = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        let all = [0, 1].map(|axis| units[axis] * blocks[axis]);
        Some(Self {
            id: spec[0],
            blocks,
            alone: [0, 1].map(|axis| (size[axis] * blocks[axis]).div_ceil(8 * most[axis])),
            stride: all[0],
            table: usize::from(spec[2]),
            factors: [0; 64],
            has_begun: false,
            missing: [u8::MAX; 64],
            side,
            shown: [0, 1].map(|axis| (size[axis] * blocks[axis] * side).div_ceil(8 * most[axis])),
            spread,
            plane: vec![0; all[0] * all[1] * side * side],
            pending: Box::new(Pending { coefficients: [[0; LANES]; 128], places: [[0; 2]; LANES], count: 0 }),
            coefficients: vec![0; if is_progressive { all[0] * all[1] * 64 } else { 0 }],
        })
    }

    /// Returns a row of pixels, as many as are shown.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.plane[y * self.stride * self.side..][..self.shown[0]]
    }

    /// Returns the coefficients of a block; of a progressive frame only.
    #[inline(always)]
    pub(super) fn block(&mut self, [x, y]: [usize; 2]) -> Option<&mut Block> {
        self.coefficients.get_mut((y * self.stride + x) * 64..)?.first_chunk_mut()
    }

    /// Makes pixels of all coefficients.
    #[inline(always)]
    pub(super) fn show_all(&mut self) {
        let coefficients = std::mem::take(&mut self.coefficients);
        for (at, block) in coefficients.as_chunks::<64>().0.iter().enumerate() {
            for (row, levels) in block.as_chunks::<8>().0.iter().enumerate() {
                // Most rows of most blocks are empty.
                if *levels != [0; 8] {
                    for (column, level) in levels.iter().enumerate() {
                        self.pending.coefficients[row * 8 + column][self.pending.count % LANES] = *level;
                    }
                }
            }
            self.add([at % self.stride, at / self.stride]);
        }
        self.flush();
    }

    /// Adds the block whose coefficients were put to the pending ones.
    #[inline(always)]
    pub(super) fn add(&mut self, place: [usize; 2]) {
        self.pending.places[self.pending.count % LANES] = place;
        self.pending.count += 1;
        if self.pending.count == LANES {
            self.flush();
        }
    }

    /// Makes pixels of the pending blocks.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        let blocks = &self.pending.coefficients;
        match self.side {
            8 => put(&mut self.plane, self.stride, &self.pending, &cosine::whole(blocks, &self.factors)),
            4 => put(&mut self.plane, self.stride, &self.pending, &cosine::half(blocks, &self.factors)),
            2 => put(&mut self.plane, self.stride, &self.pending, &cosine::quarter(blocks, &self.factors)),
            _ => put(&mut self.plane, self.stride, &self.pending, &cosine::eighth(blocks, &self.factors)),
        }
        self.pending.coefficients.fill([0; LANES]);
        self.pending.count = 0;
    }
}

/// Writes the pixels of pending blocks into a plane of `stride` blocks in a row.
#[inline(always)]
fn put<const N: usize>(plane: &mut [u8], stride: usize, pending: &Pending, pixels: &Pixels<N>) {
    let length = stride * N;
    for (lane, [x, y]) in pending.places.iter().enumerate().take(pending.count) {
        let mut start = y * N * length + x * N;
        for row in pixels {
            if let Some(place) = plane.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<N>()) {
                for (place, levels) in place.iter_mut().zip(row) {
                    *place = levels[lane];
                }
            }
            start += length;
        }
    }
}
