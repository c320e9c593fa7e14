use super::*;
use crate::signature::{DType, Dim, Signature, TensorSpec};

fn graph(dtype: DType, shape: &[usize]) -> Signature {
    let spec = |name: &str, dtype, shape: &[usize]| TensorSpec {
        name: name.into(),
        dtype,
        shape: shape.iter().map(|size| Dim::Fixed(*size)).collect(),
    };
    Signature { inputs: vec![spec("x", DType::Float32, &[1, 3, 4, 4])], outputs: vec![spec("y", dtype, shape)] }
}

fn resolved(dtype: DType, shape: &[usize], answer: &SegmentationAnswer) -> Result<Segmenter, String> {
    Segmenter::resolve(answer, GraphOutputs::new(&graph(dtype, shape)))
}

fn classes(segmenter: &Segmenter, shape: &[usize], data: &[f32], geometry: &Geometry) -> Vec<u8> {
    segmenter.segment(&[SampleOutput { shape, data }], geometry).unwrap().classes
}

#[test]
fn scores_are_interpolated_before_the_greatest_wins() {
    let segmenter = resolved(DType::Float32, &[1, 2, 1, 2], &SegmentationAnswer::default()).unwrap();
    // Class 0 falls from 3 to 0 and class 1 stays at 1: they meet at two thirds of the way between the centres.
    let scores = [3.0, 0.0, 1.0, 1.0];
    let geometry = Geometry::stretched([12, 1], [4, 4]);
    assert_eq!(classes(&segmenter, &[2, 1, 2], &scores, &geometry), [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    let nearest = SegmentationAnswer { interpolation: Some(MaskInterpolation::Nearest), ..Default::default() };
    let segmenter = resolved(DType::Float32, &[1, 2, 1, 2], &nearest).unwrap();
    assert_eq!(classes(&segmenter, &[2, 1, 2], &scores, &geometry), [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn a_shortcut_where_corners_agree_changes_nothing() {
    let (size, classes) = (6usize, 4usize);
    let data: Vec<f32> = (0..classes * size * size).map(|n| ((n * 7919) % 101) as f32).collect();
    let geometry = Geometry::stretched([23, 17], [4, 4]);
    let output = SampleOutput { shape: &[classes, size, size], data: &data };
    let mut plane = Plane::of(Kind::Scores(Layout::Nchw), output).unwrap();
    let axes = [0, 1].map(|axis| samples(&geometry, axis, size, MaskInterpolation::Bilinear));
    let all = |plane: &Plane<'_>| -> Vec<u8> {
        let rows = axes[1].iter().flatten();
        rows.flat_map(|row| axes[0].iter().flatten().map(|column| plane.class_between(*column, *row))).collect()
    };
    let with = all(&plane);
    plane.best.clear();
    assert_eq!(with, all(&plane));
    assert!(with.iter().collect::<std::collections::BTreeSet<_>>().len() == classes);
}

#[test]
fn channels_may_come_last() {
    let segmenter = resolved(DType::Float32, &[1, 8, 8, 3], &SegmentationAnswer::default()).unwrap();
    assert!(segmenter.said().contains("nhwc (guessed"), "{}", segmenter.said());
    let data = [[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]];
    let geometry = Geometry::stretched([2, 1], [4, 4]);
    assert_eq!(classes(&segmenter, &[1, 2, 3], data.as_flattened(), &geometry), [0, 2]);
}

#[test]
fn a_class_map_keeps_what_has_no_class() {
    for (shape, of_sample) in [(&[1, 2, 2][..], &[2, 2][..]), (&[1, 1, 2, 2], &[1, 2, 2]), (&[1, 2, 2, 1], &[2, 2, 1])]
    {
        let segmenter = resolved(DType::Int64, shape, &SegmentationAnswer::default()).unwrap();
        let output = SampleOutput { shape: of_sample, data: &[0.0, 7.0, -1.0, 255.0] };
        let map = segmenter.segment(&[output], &Geometry::stretched([4, 2], [4, 4])).unwrap();
        assert_eq!(map.classes, [0, 0, 7, 7, NO_CLASS, NO_CLASS, NO_CLASS, NO_CLASS], "{shape:?}");
        assert_eq!(map.areas(), [(0, 2), (7, 2), (NO_CLASS, 4)]);
        assert_eq!(map.run_lengths(), [(0, 2), (7, 2), (NO_CLASS, 4)]);
    }
    let segmenter = resolved(DType::Int64, &[1, 2, 2], &SegmentationAnswer::default()).unwrap();
    let geometry = Geometry::stretched([2, 2], [4, 4]);
    for bad in [300.0, -2.0, 0.5] {
        let output = SampleOutput { shape: &[2, 2], data: &[0.0, bad, 0.0, 0.0] };
        assert!(matches!(segmenter.segment(&[output], &geometry), Err(Fault::Misfit(_))), "{bad}");
    }
    let output = SampleOutput { shape: &[2, 2], data: &[f32::NAN; 4] };
    assert_eq!(segmenter.segment(&[output], &geometry), Err(Fault::NotFinite));
}

#[test]
fn one_score_a_pixel_says_what_it_is() {
    let asked = |scores, threshold| SegmentationAnswer { scores, threshold, ..Default::default() };
    let unsaid = resolved(DType::Float32, &[1, 1, 2, 2], &asked(None, None)).unwrap_err();
    assert!(unsaid.contains("scores = \"sigmoid\""), "{unsaid}");
    let geometry = Geometry::stretched([2, 2], [4, 4]);
    let map = |scores, threshold, data: [f32; 4]| {
        let segmenter = resolved(DType::Float32, &[1, 1, 2, 2], &asked(Some(scores), threshold)).unwrap();
        classes(&segmenter, &[1, 2, 2], &data, &geometry)
    };
    assert_eq!(map(ScoreKind::Sigmoid, None, [-1.0, 0.0, 1.0, 9.0]), [0, 1, 1, 1]);
    assert_eq!(map(ScoreKind::Probabilities, Some(0.9), [0.0, 0.8, 0.9, 1.0]), [0, 0, 1, 1]);
    assert_eq!(map(ScoreKind::Sigmoid, Some(1.0), [-1.0, 0.0, 1.0, 99.0]), [0; 4]);
}

#[test]
fn padding_lends_no_class_and_what_is_cropped_has_none() {
    let segmenter = resolved(DType::Float32, &[1, 2, 4, 4], &SegmentationAnswer::default()).unwrap();
    // The middle two rows are the picture, the others padding of class 1.
    let middle = |row: usize| if row == 1 || row == 2 { 1.0 } else { 0.0 };
    let scores: Vec<f32> = (0..32).map(|place| if place < 16 { middle(place / 4) } else { 0.5 }).collect();
    let padded = Geometry::placed([8, 4], [4, 4], [4, 2], [0, 1]);
    assert_eq!(classes(&segmenter, &[2, 4, 4], &scores, &padded), [0; 32]);
    let cropped = Geometry::placed([4, 2], [2, 2], [4, 2], [-1, 0]);
    let none = NO_CLASS;
    assert_eq!(classes(&segmenter, &[2, 4, 4], &scores, &cropped), [none, 0, 0, none, none, 0, 0, none]);
}
