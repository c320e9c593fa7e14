//! Label Studio's formats: tasks with the model's answers as predictions, and the labels that it exports.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::chosen::{Chosen, Exported, Input, base64};

/// The name of the control in which labels are given.
const CONTROL: &str = "label";

/// The fields of a task's data that say which prediction it is about.
const REQUEST: &str = "weir_request_id";
const ITEM: &str = "weir_item";
const INCLUSION: &str = "weir_inclusion";

/// Returns tasks to be imported. Pictures are in them, or linked to.
pub(super) fn tasks(chosen: &Chosen, exported: &[Exported], link: Option<&str>) -> Value {
    exported.iter().map(|one| task(chosen, one, link)).collect()
}

fn task(chosen: &Chosen, one: &Exported, link: Option<&str>) -> Value {
    let item = &one.item;
    let mut data = Map::new();
    let shown = match &one.input {
        Input::Picture(picture) => {
            let address = match link {
                Some(prefix) => format!("{prefix}{}", picture.name),
                None => format!("data:{};base64,{}", picture.media, base64(&picture.bytes)),
            };
            data.insert("image".into(), json!(address));
            data.insert("file".into(), json!(picture.name));
            "image"
        }
        Input::Row(row) => {
            let lines: Vec<String> = row.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            data.insert("text".into(), json!(lines.join("\n")));
            "text"
        }
        Input::Sequence(Value::String(text)) => {
            data.insert("text".into(), json!(text));
            "text"
        }
        Input::Sequence(other) => {
            data.insert("text".into(), json!(other.to_string()));
            "text"
        }
    };
    data.insert(REQUEST.into(), json!(item.request_id));
    data.insert(ITEM.into(), json!(item.item));
    data.insert(INCLUSION.into(), json!(item.inclusion));
    let mut task = json!({ "data": data });
    if let Some(result) = item.predicted.as_ref().and_then(|predicted| result(chosen, predicted, shown)) {
        let mut prediction =
            json!({ "model_version": format!("{}/{}", chosen.model, chosen.version), "result": [result] });
        if let Some(score) = item.confidence {
            prediction["score"] = json!(score);
        }
        task["predictions"] = json!([prediction]);
    }
    task
}

/// Returns an answer as the control has it.
fn result(chosen: &Chosen, predicted: &str, shown: &str) -> Option<Value> {
    let (kind, value) = match chosen.answers.as_str() {
        "classes" => ("choices", json!({ "choices": [predicted] })),
        "numbers" => ("number", json!({ "number": predicted.parse::<f64>().ok()? })),
        _ => return None,
    };
    Some(json!({ "from_name": CONTROL, "to_name": shown, "type": kind, "value": value }))
}

/// Returns the labelling interface for these tasks.
pub(super) fn interface(chosen: &Chosen, exported: &[Exported]) -> String {
    let is_picture = exported.iter().any(|one| matches!(one.input, Input::Picture(_)));
    let shown = if is_picture { "image" } else { "text" };
    let object = match is_picture {
        true => "<Image name=\"image\" value=\"$image\"/>",
        false => "<Text name=\"text\" value=\"$text\"/>",
    };
    let mut view = format!("<View>\n  {object}\n");
    if chosen.answers == "numbers" {
        let _done = writeln!(view, "  <Number name=\"{CONTROL}\" toName=\"{shown}\" required=\"true\"/>");
    } else {
        let _done =
            writeln!(view, "  <Choices name=\"{CONTROL}\" toName=\"{shown}\" choice=\"single\" required=\"true\">");
        for label in &chosen.labels {
            let _done = writeln!(view, "    <Choice value=\"{}\"/>", escaped(label));
        }
        view.push_str("  </Choices>\n");
    }
    view + "</View>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// The labels in a file that Label Studio exported.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Annotated {
    /// Bodies of `POST /feedback`, each with the place of its task in the file, from 1.
    pub(super) pieces: Vec<(u64, Value)>,
    /// Tasks without a label.
    pub(super) unlabelled: u64,
}

/// Reads an export of Label Studio, JSON or JSON-MIN, of tasks that `weir feedback export` made.
///
/// # Errors
/// The task at fault and what is wrong with it.
pub(super) fn annotated(tasks: &[Value]) -> Result<Annotated, String> {
    let mut found = Annotated::default();
    for (task, number) in tasks.iter().zip(1..) {
        let before = found.pieces.len();
        let is_whole = task.get("annotations").is_some();
        let data = if is_whole { &task["data"] } else { task };
        if data.get(REQUEST).is_none() {
            let expected =
                format!("task {number} has no {REQUEST} in its data: expected a task of weir feedback export");
            return Err(expected);
        }
        let at = |problem: String| format!("task {number}: {problem}");
        if is_whole {
            for annotation in task["annotations"].as_array().into_iter().flatten() {
                if let Some(piece) = of_annotation(data, annotation).map_err(at)? {
                    found.pieces.push((number, piece));
                }
            }
        } else if let Some(label) = task.get(CONTROL) {
            let value = label.as_array().and_then(|list| list.first()).unwrap_or(label);
            let said = said(value).ok_or_else(|| at(format!("its {CONTROL} is neither a choice nor a number")))?;
            found.pieces.push((number, piece(data, said, &task["annotator"], &task["updated_at"], false)));
        }
        found.unlabelled += u64::from(found.pieces.len() == before);
    }
    Ok(found)
}

/// Returns the feedback of an annotation; `None` for one that was skipped or says nothing.
fn of_annotation(data: &Value, annotation: &Value) -> Result<Option<Value>, String> {
    if annotation["was_cancelled"] == json!(true) {
        return Ok(None);
    }
    let results = annotation["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(result) = results.iter().find(|result| result["from_name"] == json!(CONTROL)) else { return Ok(None) };
    let said = said(&result["value"]).ok_or("its result is neither one choice nor a number")?;
    let is_gold = annotation["ground_truth"] == json!(true);
    Ok(Some(piece(data, said, &annotation["completed_by"], &annotation["updated_at"], is_gold)))
}

/// Returns the field of feedback that a result is.
fn said(value: &Value) -> Option<(&'static str, Value)> {
    if let Some(text) = value.as_str() {
        return Some(("label", json!(text)));
    }
    if let Some(number) = value.get("number").and_then(Value::as_f64).or_else(|| value.as_f64()) {
        return Some(("value", json!(number)));
    }
    match value.get("choices")?.as_array()?.as_slice() {
        [Value::String(one)] => Some(("label", json!(one))),
        _ => None,
    }
}

fn piece(data: &Value, (field, said): (&str, Value), annotator: &Value, at: &Value, is_gold: bool) -> Value {
    let mut piece = Map::new();
    piece.insert("request_id".into(), data[REQUEST].clone());
    piece.insert("item".into(), data.get(ITEM).cloned().unwrap_or(json!(0)));
    if let Some(inclusion) = data.get(INCLUSION) {
        piece.insert("inclusion".into(), inclusion.clone());
    }
    piece.insert(field.into(), said);
    piece.insert("source".into(), json!(if is_gold { "gold" } else { "expert" }));
    // An identifier, or an object with one.
    let who = annotator.get("email").or_else(|| annotator.get("id")).unwrap_or(annotator);
    if !who.is_null() {
        let who = who.as_str().map_or_else(|| who.to_string(), str::to_owned);
        piece.insert("annotator".into(), json!(who));
    }
    if at.is_string() {
        piece.insert("labelled_at".into(), at.clone());
    }
    Value::Object(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Value {
        json!({"image": "data:image/png;base64,AA==", "weir_request_id": "r", "weir_item": 1, "weir_inclusion": 0.25})
    }

    #[test]
    fn both_exports_of_label_studio_give_the_same_labels() {
        let result = json!({"id": "x", "from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["7"]}});
        let annotation = json!({
            "id": 11, "completed_by": 3, "result": [result], "was_cancelled": false, "ground_truth": false,
            "created_at": "2026-11-28T10:00:00.5Z", "updated_at": "2026-11-28T10:00:01.5Z", "lead_time": 2.5,
        });
        let whole = json!([{"id": 1, "data": data(), "annotations": [annotation], "predictions": []}]);
        let mut short = data();
        for (key, value) in
            [("id", json!(1)), ("label", json!("7")), ("annotator", json!(3)), ("annotation_id", json!(11))]
        {
            short[key] = value;
        }
        short["updated_at"] = json!("2026-11-28T10:00:01.5Z");
        let expected = json!({
            "request_id": "r", "item": 1, "inclusion": 0.25, "label": "7", "source": "expert", "annotator": "3",
            "labelled_at": "2026-11-28T10:00:01.5Z",
        });
        for tasks in [whole, json!([short])] {
            let found = annotated(tasks.as_array().unwrap()).unwrap();
            assert_eq!(found, Annotated { pieces: vec![(1, expected.clone())], unlabelled: 0 });
        }
    }

    #[test]
    fn skipped_tasks_are_unlabelled_and_ground_truth_is_gold() {
        let label = |choices: Value| json!([{"from_name": "label", "value": choices}]);
        let task = |annotation: Value| json!({"data": data(), "annotations": [annotation]});
        let tasks = [
            task(json!({"was_cancelled": true, "result": label(json!({"choices": ["7"]}))})),
            task(json!({"result": []})),
            task(
                json!({"result": label(json!({"number": 2.5})), "ground_truth": true, "completed_by": {"id": 1, "email": "a@b"}}),
            ),
            json!({"data": data(), "annotations": []}),
            data(),
        ];
        let found = annotated(&tasks).unwrap();
        assert_eq!((found.unlabelled, found.pieces.len(), found.pieces[0].0), (4, 1, 3));
        let piece = &found.pieces[0].1;
        assert_eq!(
            (&piece["value"], &piece["source"], &piece["annotator"]),
            (&json!(2.5), &json!("gold"), &json!("a@b"))
        );
    }

    #[test]
    fn what_is_no_label_of_ours_is_refused() {
        for (task, hint) in [
            (json!({"data": {"image": "x"}, "annotations": []}), "weir_request_id"),
            (json!({"image": "x", "label": "7"}), "weir_request_id"),
            (json!(3), "weir_request_id"),
            (
                json!({"data": data(), "annotations": [{"result": [{"from_name": "label", "value": {"choices": ["1", "2"]}}]}]}),
                "task 1",
            ),
            (json!({"weir_request_id": "r", "label": true}), "task 1"),
        ] {
            let problem = annotated(&[task]).unwrap_err();
            assert!(problem.contains(hint), "{problem}");
        }
    }
}
