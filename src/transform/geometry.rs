//! The map from a picture, as it was sent and turned upright, to the input of a model, and back.
//!
//! Both sides count in pixels from the top left corner, and a pixel is a square: the first one reaches from 0 to 1.
//! The map scales each axis and moves it. Padding is what no part of the picture reaches, and what is cropped away
//! lies outside the input.

/// A rectangle by its edges.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    /// The left edge.
    pub left: f64,
    /// The top edge.
    pub top: f64,
    /// The right edge.
    pub right: f64,
    /// The bottom edge.
    pub bottom: f64,
}

impl Rect {
    /// Makes a rectangle of its left, top, right and bottom edge.
    pub const fn new(left: f64, top: f64, right: f64, bottom: f64) -> Self {
        Self { left, top, right, bottom }
    }

    /// Makes a rectangle of its centre and size.
    pub fn centred(x: f64, y: f64, width: f64, height: f64) -> Self {
        Self::new(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)
    }

    /// Makes the rectangle that holds all pixels of a picture of this width and height.
    pub fn of_size([width, height]: [u32; 2]) -> Self {
        Self::new(0.0, 0.0, f64::from(width), f64::from(height))
    }

    /// Returns the width; 0 if the right edge is not right of the left one.
    pub fn width(&self) -> f64 {
        (self.right - self.left).max(0.0)
    }

    /// Returns the height; 0 if the bottom edge is not below the top one.
    pub fn height(&self) -> f64 {
        (self.bottom - self.top).max(0.0)
    }

    /// Returns the area.
    pub fn area(&self) -> f64 {
        self.width() * self.height()
    }

    /// Returns the part of this rectangle within another; of no area if they do not meet.
    #[must_use]
    pub fn clipped(&self, to: &Self) -> Self {
        Self::new(
            self.left.clamp(to.left, to.right.max(to.left)),
            self.top.clamp(to.top, to.bottom.max(to.top)),
            self.right.clamp(to.left, to.right.max(to.left)),
            self.bottom.clamp(to.top, to.bottom.max(to.top)),
        )
    }

    /// Returns the area that both rectangles share over the area that either covers; 0 if neither has any.
    pub fn intersection_over_union(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        let shared = width.max(0.0) * height.max(0.0);
        let union = self.area() + other.area() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }

    /// Returns true if every edge is a finite number.
    pub fn is_finite(&self) -> bool {
        [self.left, self.top, self.right, self.bottom].iter().all(|edge| edge.is_finite())
    }
}

/// The map from a sent picture to the input of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    picture: [u32; 2],
    input: [u32; 2],
    /// Pixels of the input for one of the picture, across and down.
    scale: [f64; 2],
    /// The picture's top left corner in the input; negative where it is cropped.
    offset: [f64; 2],
    /// The scale of both axes before the sizes were rounded, if the picture was to keep its ratio.
    ratio: Option<f64>,
}

impl Geometry {
    /// Describes a picture that was scaled to fill the input, each axis by itself. Sizes are widths and heights in
    /// pixels; a size of 0 counts as 1.
    pub fn stretched(picture: [u32; 2], input: [u32; 2]) -> Self {
        Self::placed(picture, input, input.map(u64::from), [0, 0])
    }

    /// Describes a picture that was scaled to `resized` pixels whose top left corner was put at `corner` of the input:
    /// right of and below its own corner when the picture is padded, left of and above it when it is cropped.
    pub fn placed(picture: [u32; 2], input: [u32; 2], resized: [u64; 2], corner: [i64; 2]) -> Self {
        let [right, bottom] = [0, 1].map(|axis| corner[axis] as f64 + resized[axis].max(1) as f64);
        let onto = Rect::new(corner[0] as f64, corner[1] as f64, right, bottom);
        Self::mapped(picture, input, Rect::of_size(picture.map(|size| size.max(1))), onto)
    }

    /// Describes a picture of which the part `from` was scaled to fill the part `onto` of the input. Parts without
    /// width or height count as one pixel there.
    pub fn mapped(picture: [u32; 2], input: [u32; 2], from: Rect, onto: Rect) -> Self {
        let size = |size: f64| if size > 0.0 { size } else { 1.0 };
        let scale = [size(onto.width()) / size(from.width()), size(onto.height()) / size(from.height())];
        let offset = [onto.left - from.left * scale[0], onto.top - from.top * scale[1]];
        let [picture, input] = [picture, input].map(|sizes| sizes.map(|size| size.max(1)));
        Self { picture, input, scale, offset, ratio: None }
    }

    /// Takes note that the picture was to be scaled by this ratio, before its sizes were rounded to whole pixels.
    #[must_use]
    pub fn with_ratio(self, ratio: f64) -> Self {
        Self { ratio: Some(ratio), ..self }
    }

    /// Returns the map by the ratio before rounding, as Ultralytics' `scale_boxes` has it; this one if there is none.
    #[must_use]
    pub fn before_rounding(&self) -> Self {
        self.ratio.map_or(*self, |ratio| Self { scale: [ratio; 2], ..*self })
    }

    /// Returns the width and height of the picture.
    pub fn picture(&self) -> [u32; 2] {
        self.picture
    }

    /// Returns the width and height of the input.
    pub fn input(&self) -> [u32; 2] {
        self.input
    }

    /// Returns the point of the input that shows a point of the picture.
    pub fn point_to_input(&self, point: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|axis| point[axis] * self.scale[axis] + self.offset[axis])
    }

    /// Returns the point of the picture that a point of the input shows, which padding shows outside the picture.
    pub fn point_to_picture(&self, point: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|axis| (point[axis] - self.offset[axis]) / self.scale[axis])
    }

    /// Returns a rectangle of the picture in the input, as much of it as the input shows.
    pub fn to_input(&self, rect: Rect) -> Rect {
        let [left, top] = self.point_to_input([rect.left, rect.top]);
        let [right, bottom] = self.point_to_input([rect.right, rect.bottom]);
        Rect::new(left, top, right, bottom).clipped(&Rect::of_size(self.input))
    }

    /// Returns a rectangle of the input in the picture, as much of it as lies within the picture.
    pub fn to_picture(&self, rect: Rect) -> Rect {
        let [left, top] = self.point_to_picture([rect.left, rect.top]);
        let [right, bottom] = self.point_to_picture([rect.right, rect.bottom]);
        Rect::new(left, top, right, bottom).clipped(&Rect::of_size(self.picture))
    }

    /// Returns the part of the input that shows the picture; the rest is padding.
    pub fn shown(&self) -> Rect {
        self.to_input(Rect::of_size(self.picture))
    }

    /// Returns the part of the picture that the input shows; the rest is cropped away.
    pub fn seen(&self) -> Rect {
        self.to_picture(Rect::of_size(self.input))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_near(a: Rect, b: Rect) -> bool {
        let pairs = [(a.left, b.left), (a.top, b.top), (a.right, b.right), (a.bottom, b.bottom)];
        pairs.iter().all(|(a, b)| (a - b).abs() < 1e-6)
    }

    #[test]
    fn a_padded_picture_is_found_between_its_bars() {
        // 200 × 100 at 3.2 is 640 × 320, with bars of 160.
        let geometry = Geometry::placed([200, 100], [640, 640], [640, 320], [0, 160]);
        assert!(is_near(geometry.shown(), Rect::new(0.0, 160.0, 640.0, 480.0)));
        assert!(is_near(geometry.seen(), Rect::new(0.0, 0.0, 200.0, 100.0)));
        let found = geometry.to_picture(Rect::new(320.0, 240.0, 640.0, 480.0));
        assert!(is_near(found, Rect::new(100.0, 25.0, 200.0, 100.0)), "{found:?}");
        // What reaches into the bars ends at the edge of the picture.
        let clipped = geometry.to_picture(Rect::new(-64.0, 0.0, 32.0, 192.0));
        assert!(is_near(clipped, Rect::new(0.0, 0.0, 10.0, 10.0)), "{clipped:?}");
        assert_eq!(geometry.to_picture(Rect::new(0.0, 0.0, 640.0, 100.0)).area(), 0.0);
    }

    #[test]
    fn the_ratio_before_rounding_is_used_where_it_is_asked_for() {
        // 97 × 0.64 is 62.08, rounded to 62, with a bar of 289.
        let rounded = Geometry::placed([97, 1000], [640, 640], [62, 640], [289, 0]);
        assert_eq!(rounded.before_rounding(), rounded);
        let noted = rounded.with_ratio(0.64);
        assert_eq!(noted.to_picture(Rect::of_size([640, 640])), rounded.to_picture(Rect::of_size([640, 640])));
        let box_of = |geometry: &Geometry| geometry.to_picture(Rect::new(300.0, 64.0, 332.0, 128.0));
        assert!(is_near(box_of(&noted.before_rounding()), Rect::new(17.1875, 100.0, 67.1875, 200.0)));
        assert!(!is_near(box_of(&noted), box_of(&noted.before_rounding())));
    }

    #[test]
    fn a_cropped_picture_is_seen_in_part() {
        // 300 × 200 at 1.12 is 336 × 224, of which the middle 224 × 224 is taken.
        let geometry = Geometry::placed([300, 200], [224, 224], [336, 224], [-56, 0]);
        assert!(is_near(geometry.seen(), Rect::new(50.0, 0.0, 250.0, 200.0)));
        assert!(is_near(geometry.shown(), Rect::new(0.0, 0.0, 224.0, 224.0)));
        assert!(is_near(geometry.to_input(Rect::new(0.0, 0.0, 100.0, 50.0)), Rect::new(0.0, 0.0, 56.0, 56.0)));
        let cut_first =
            Geometry::mapped([300, 200], [224, 224], Rect::new(50.0, 0.0, 250.0, 200.0), Rect::of_size([224, 224]));
        let rect = Rect::new(60.0, 20.0, 90.0, 70.0);
        assert!(is_near(geometry.to_input(rect), cut_first.to_input(rect)));
    }

    #[test]
    fn overlap_counts_what_both_share_of_what_either_covers() {
        let square = Rect::new(0.0, 0.0, 2.0, 2.0);
        for (other, expected) in [
            (square, 1.0),
            (Rect::new(1.0, 0.0, 3.0, 2.0), 1.0 / 3.0),
            (Rect::new(2.0, 0.0, 4.0, 2.0), 0.0),
            (Rect::new(1.0, 1.0, 0.0, 0.0), 0.0),
            (Rect::centred(1.0, 1.0, 1.0, 1.0), 0.25),
        ] {
            assert!((square.intersection_over_union(&other) - expected).abs() < 1e-12, "{other:?}");
        }
        assert_eq!(Rect::default().intersection_over_union(&Rect::default()), 0.0);
        assert!(!Rect::new(0.0, f64::NAN, 1.0, 1.0).is_finite());
    }

    #[test]
    fn sizes_of_zero_divide_nothing() {
        let geometry = Geometry::placed([0, 0], [0, 5], [0, 0], [0, 0]);
        assert!(geometry.point_to_picture([1.0, 1.0]).iter().all(|part| part.is_finite()));
    }

    proptest! {
        #[test]
        fn back_and_forth_is_where_it_was(
            picture in prop::array::uniform2(1u32..4000),
            input in prop::array::uniform2(1u32..1000),
            resized in prop::array::uniform2(1u64..1500),
            corner in prop::array::uniform2(-400i64..400),
            point in prop::array::uniform2(-10.0..4000.0),
        ) {
            let geometry = Geometry::placed(picture, input, resized, corner);
            let back = geometry.point_to_picture(geometry.point_to_input(point));
            prop_assert!((back[0] - point[0]).abs() < 1e-6 && (back[1] - point[1]).abs() < 1e-6);
            prop_assert!(is_near(geometry.to_input(geometry.seen()), geometry.shown()) || geometry.shown().area() == 0.0);
            let seen = geometry.seen();
            prop_assert_eq!(seen, seen.clipped(&Rect::of_size(picture)));
        }
    }
}
