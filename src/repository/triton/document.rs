//! `docs/triton.md` says what the table of fields says.

use super::schema::{Kind, MODEL_CONFIG, Schema, Treatment};

fn rows(schema: &Schema, path: &str, out: &mut String) {
    for field in schema.fields {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        let (what, why) = match field.treatment {
            Treatment::Obeyed(how) => ("obeyed", how),
            Treatment::Warned(why) => ("no effect, warned about", why),
            Treatment::Refused(why) => ("the model is not served", why),
        };
        out.push_str(&format!("| `{path}` | {what} | {why} |\n"));
        match field.kind {
            Kind::Message(inner) => rows(inner, &path, out),
            Kind::Map(_, Kind::Message(inner)) => rows(inner, &path, out),
            _ => {}
        }
    }
}

#[test]
fn the_document_lists_every_field_and_what_becomes_of_it() {
    let mut table = "| field | | |\n| --- | --- | --- |\n".to_owned();
    rows(&MODEL_CONFIG, "", &mut table);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/triton.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- fields -->\n", "<!-- end -->\n");
    let written = document.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(table, _)| table);
    if written == Some(table.as_str()) {
        return;
    }
    let target = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/triton-fields.md");
    std::fs::write(&target, &table).unwrap();
    panic!("docs/triton.md is out of date: put target/triton-fields.md between its marks");
}
