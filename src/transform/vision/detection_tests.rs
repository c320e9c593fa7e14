use super::*;
use crate::signature::{DType, DetectionAnswer, Dim, Signature, TensorSpec};
use crate::transform::vision::outputs::GraphOutputs;

type Shape<'a> = (&'a str, &'a [i64]);

/// Describes a graph with a batch of one picture of 100 × 50 pixels, and outputs of these shapes; -1 is open.
fn graph(outputs: &[Shape<'_>]) -> Signature {
    let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Symbol("boxes".into()), Dim::Fixed);
    let spec = |(name, shape): &Shape<'_>| TensorSpec {
        name: (*name).into(),
        dtype: DType::Float32,
        shape: shape.iter().map(dim).collect(),
    };
    Signature { inputs: vec![spec(&("images", &[1, 3, 50, 100]))], outputs: outputs.iter().map(spec).collect() }
}

fn resolved(outputs: &[Shape<'_>], answer: &DetectionAnswer, labels: usize) -> Result<Detector, String> {
    Detector::resolve(answer, GraphOutputs::new(&graph(outputs)), &[], labels)
}

/// A picture of 200 × 100, twice the input.
fn geometry() -> Geometry {
    Geometry::stretched([200, 100], [100, 50])
}

fn found(detector: &Detector, outputs: &[(&[usize], &[f32])]) -> Result<Vec<([f64; 4], usize, f32)>, Fault> {
    let outputs: Vec<SampleOutput<'_>> = outputs.iter().map(|(shape, data)| SampleOutput { shape, data }).collect();
    let found = detector.detect(&outputs, &geometry(), detector.defaults())?;
    let edges = |rect: Rect| [rect.left, rect.top, rect.right, rect.bottom].map(|edge| (edge * 100.0).round() / 100.0);
    Ok(found.iter().map(|found| (edges(found.rect), found.class, found.confidence)).collect())
}

#[test]
fn yolo_v5_multiplies_objectness_and_class() {
    let detector = resolved(&[("output0", &[1, 25200, 7])], &DetectionAnswer::default(), 0).unwrap();
    let rows = [
        [50.0, 25.0, 20.0, 10.0, 0.8, 0.1, 0.9],
        [51.0, 25.0, 20.0, 10.0, 0.7, 0.2, 0.9], // overlaps the first
        [51.0, 25.0, 20.0, 10.0, 0.9, 0.8, 0.1], // another class
        [10.0, 10.0, 4.0, 4.0, 0.9, 0.2, 0.1],   // 0.18 of 0.25
        [10.0, 10.0, 4.0, 4.0, 0.2, 0.9, 0.1],   // no object
    ];
    let found = found(&detector, &[(&[5, 7], rows.as_flattened())]).unwrap();
    let boxes: Vec<_> = found.iter().map(|(rect, class, _)| (*rect, *class)).collect();
    assert_eq!(boxes, [([80.0, 40.0, 120.0, 60.0], 1), ([82.0, 40.0, 122.0, 60.0], 0)]);
    assert!((found[0].2 - 0.72).abs() < 1e-6 && (found[1].2 - 0.72).abs() < 1e-6);
}

#[test]
fn yolo_v8_has_boxes_in_columns_and_leaves_masks_alone() {
    let columns = [
        [50.0, 95.0],
        [25.0, 48.0],
        [20.0, 20.0],
        [10.0, 10.0],
        [0.1, 0.6],
        [0.9, 0.5],
        [7.0, 8.0], // a coefficient of a mask
    ];
    let detector = resolved(&[("output0", &[1, 7, 8400])], &DetectionAnswer::default(), 2).unwrap();
    assert!(detector.said().contains("2 classes by the labels"), "{}", detector.said());
    let found = found(&detector, &[(&[1, 7, 2], columns.as_flattened())]).unwrap();
    // The second ends at the edges of the picture.
    assert_eq!(found, [([80.0, 40.0, 120.0, 60.0], 1, 0.9), ([170.0, 86.0, 200.0, 100.0], 0, 0.6)]);
    assert!(resolved(&[("output0", &[1, 7, 8400])], &DetectionAnswer::default(), 4).unwrap_err().contains("4 labels"));
}

#[test]
fn finished_boxes_are_not_suppressed() {
    let detector = resolved(&[("output0", &[1, 300, 6])], &DetectionAnswer::default(), 0).unwrap();
    let rows = [[10.0, 10.0, 20.0, 20.0, 0.9, 3.0], [10.0, 10.0, 20.0, 20.0, 0.8, 3.0], [0.0, 0.0, 1.0, 1.0, 0.2, 0.0]];
    let found = found(&detector, &[(&[3, 6], rows.as_flattened())]).unwrap();
    assert_eq!(found, [([20.0, 20.0, 40.0, 40.0], 3, 0.9), ([20.0, 20.0, 40.0, 40.0], 3, 0.8)]);
}

#[test]
fn ssd_skips_the_background_and_tells_every_likely_class() {
    let shapes: [Shape<'_>; 2] = [("scores", &[1, 3000, 3]), ("boxes", &[1, 3000, 4])];
    let detector = resolved(&shapes, &DetectionAnswer { confidence: Some(0.3), ..Default::default() }, 2).unwrap();
    assert_eq!((detector.label_of(1), detector.label_of(0)), (Some(0), None));
    let boxes = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1.0, 1.0]];
    let scores = [[0.9, 0.05, 0.05], [0.2, 0.35, 0.45]];
    let told = found(&detector, &[(&[2, 3], scores.as_flattened()), (&[2, 4], boxes.as_flattened())]).unwrap();
    assert_eq!(told, [([100.0, 50.0, 200.0, 100.0], 2, 0.45), ([100.0, 50.0, 200.0, 100.0], 1, 0.35)]);
    let pixels = [[10.0, 10.0, 20.0, 20.0], [50.0, 25.0, 100.0, 50.0]];
    let misread = found(&detector, &[(&[2, 3], scores.as_flattened()), (&[2, 4], pixels.as_flattened())]);
    assert!(matches!(misread, Err(Fault::Misfit(said)) if said.contains("box_unit = \"pixels\"")));
}

#[test]
fn tensorflow_s_lists_end_where_they_say() {
    let shapes: [Shape<'_>; 4] = [
        ("detection_boxes", &[1, 100, 4]),
        ("detection_classes", &[1, 100]),
        ("detection_scores", &[1, 100]),
        ("num_detections", &[1]),
    ];
    let detector = resolved(&shapes, &DetectionAnswer::default(), 90).unwrap();
    assert_eq!(detector.label_of(1), Some(0));
    let boxes = [[0.2, 0.1, 0.4, 0.3], [0.0, 0.0, 1.0, 1.0]];
    let outputs: [(&[usize], &[f32]); 4] =
        [(&[2, 4], boxes.as_flattened()), (&[2], &[17.0, 3.0]), (&[2], &[0.8, 0.9]), (&[], &[1.0])];
    assert_eq!(found(&detector, &outputs).unwrap(), [([20.0, 20.0, 60.0, 40.0], 17, 0.8)]);
}

#[test]
fn torchvision_s_boxes_have_no_batch() {
    let shapes: [Shape<'_>; 3] = [("boxes", &[-1, 4]), ("labels", &[-1]), ("scores", &[-1])];
    let detector = resolved(&shapes, &DetectionAnswer::default(), 0).unwrap();
    let boxes = [[10.0, 10.0, 20.0, 20.0], [0.0, 0.0, 5.0, 5.0]];
    let outputs: [(&[usize], &[f32]); 3] = [(&[2, 4], boxes.as_flattened()), (&[2], &[7.0, 1.0]), (&[2], &[0.6, 0.4])];
    assert_eq!(found(&detector, &outputs).unwrap(), [([20.0, 20.0, 40.0, 40.0], 7, 0.6)]);
    let none: [(&[usize], &[f32]); 3] = [(&[0, 4], &[]), (&[0], &[]), (&[0], &[])];
    assert_eq!(found(&detector, &none).unwrap(), []);
}

#[test]
fn detr_has_a_last_class_of_nothing_and_its_successors_none() {
    let shapes: [Shape<'_>; 2] = [("logits", &[1, 100, 3]), ("pred_boxes", &[1, 100, 4])];
    let boxes = [[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]];
    let logits = [[0.0, 2.0, 0.0], [1.0, 0.0, 5.0]];
    let outputs: [(&[usize], &[f32]); 2] = [(&[2, 3], logits.as_flattened()), (&[2, 4], boxes.as_flattened())];
    let detr = resolved(&shapes, &DetectionAnswer::default(), 2).unwrap();
    let told = found(&detr, &outputs).unwrap();
    let share = 2f32.exp() / (2f32.exp() + 2.0);
    assert!(told.len() == 1 && told[0].1 == 1 && (told[0].2 - share).abs() < 1e-6, "{told:?}");
    assert_eq!(told[0].0, [80.0, 40.0, 120.0, 60.0]);
    let successor = resolved(&shapes, &DetectionAnswer { confidence: Some(0.7), ..Default::default() }, 3).unwrap();
    let told: Vec<usize> = found(&successor, &outputs).unwrap().iter().map(|(_, class, _)| *class).collect();
    // As many as there are queries, the best of all pairs: 5 and 2 of 5, 2, 1.
    assert_eq!(told, [2, 1]);
}

#[test]
fn outputs_that_are_not_as_said_are_refused() {
    let detector = resolved(&[("output0", &[1, 300, 6])], &DetectionAnswer::default(), 0).unwrap();
    let of = |row: [f32; 6]| found(&detector, &[(&[1, 6], &row)]);
    assert_eq!(of([0.0, 0.0, f32::NAN, 1.0, 0.1, 0.0]), Err(Fault::NotFinite));
    assert_eq!(of([0.0, 0.0, f32::INFINITY, 1.0, 0.9, 0.0]), Err(Fault::NotFinite));
    assert!(matches!(of([0.0, 0.0, 1.0, 1.0, 7.0, 0.0]), Err(Fault::Misfit(said)) if said.contains("sigmoid")));
    let narrow = found(&detector, &[(&[2, 3], &[0.0; 6])]);
    assert!(matches!(narrow, Err(Fault::Misfit(said)) if said.contains("[2, 3]")));
}

#[test]
fn layouts_are_told_by_names_shapes_and_metadata() {
    let told = |outputs: &[Shape<'_>], labels: usize| {
        resolved(outputs, &DetectionAnswer::default(), labels).map(|detector| detector.layout)
    };
    let two = |boxes: &'static str| -> [Shape<'static>; 2] { [("x", &[1, 300, 80]), (boxes, &[1, 300, 4])] };
    for (outputs, labels, expected) in [
        (&[("output0", &[1_i64, 84, 8400][..])][..], 0, DetectionLayout::YoloV8),
        (&[("output0", &[1, 84, -1])], 80, DetectionLayout::YoloV8),
        (&[("output0", &[1, 25200, 85])], 0, DetectionLayout::YoloV5),
        (&[("output", &[1, 25200, 6])], 1, DetectionLayout::YoloV5),
        (&[("output0", &[1, -1, 6])], 80, DetectionLayout::YoloV10),
        (&[("output0", &[1, 300, 6])], 80, DetectionLayout::YoloV10),
        (&two("boxes"), 0, DetectionLayout::Ssd),
        (&two("pred_boxes"), 0, DetectionLayout::RtDetr),
        (&two("pred_boxes"), 79, DetectionLayout::Detr),
        (&[("dets", &[1, 300, 4]), ("labels", &[1, 300, 91])], 0, DetectionLayout::RtDetr),
        (&[("boxes", &[-1, 4]), ("labels", &[-1]), ("scores", &[-1])], 0, DetectionLayout::Torchvision),
    ] {
        assert_eq!(told(outputs, labels), Ok(expected), "{outputs:?}");
    }
    let unknown = told(&[("y", &[1, 10])], 0).unwrap_err();
    assert!(unknown.contains("\"y\" [1, 10]") && unknown.contains("layout ="), "{unknown}");
    let end_to_end = [("end2end".to_owned(), "True".to_owned())];
    let signature = graph(&[("output0", &[1, 5000, 6])]);
    let detector =
        Detector::resolve(&DetectionAnswer::default(), GraphOutputs::new(&signature), &end_to_end, 80).unwrap();
    assert!(detector.said().starts_with("layout yolov10 (by the exporter's metadata) of \"output0\""));
}

#[test]
fn what_answer_says_comes_first() {
    let answer = DetectionAnswer {
        layout: Some(DetectionLayout::YoloV8),
        box_form: Some(BoxForm::Xyxy),
        box_unit: Some(BoxUnit::Normalised),
        scores: Some(ScoreKind::Sigmoid),
        suppress: Some(false),
        max_detections: Some(1),
        boxes_output: Some("second".into()),
        ..DetectionAnswer::default()
    };
    let detector = resolved(&[("first", &[1, 6, 100]), ("second", &[1, 6, 100])], &answer, 0).unwrap();
    let columns = [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.4, 0.4], [-3.0, 3.0], [0.0, 2.0]];
    let told = found(&detector, &[(&[6, 2], &[0.0; 12]), (&[6, 2], columns.as_flattened())]).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1), ([20.0, 20.0, 60.0, 40.0], 0));
    let wrong = DetectionAnswer { boxes_output: Some("third".into()), ..answer };
    assert!(resolved(&[("first", &[1, 6, 100])], &wrong, 0).unwrap_err().contains("no output \"third\""));
    let wrong = DetectionAnswer { confidence: Some(1.5), ..DetectionAnswer::default() };
    assert!(resolved(&[("first", &[1, 6, 100])], &wrong, 0).unwrap_err().contains("confidence must be from 0 to 1"));
}
