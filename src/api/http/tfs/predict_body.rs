//! The body of `:predict`: rows (`instances`) or columns (`inputs`).

use crate::api::json::{
    Accepts, Cursor, Inputs, Instances, Layout, PAIR_KEY, TEXT_KEY, is_list_of_texts, parse_error, read_text_columns,
    read_texts,
};
use crate::api::tfs::check_signature_name;
use crate::error::{Error, Result};
use crate::serving::{Input, NamedInputs};
use crate::transform::text::Text;

/// Reads a body for a model.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::InvalidInput`], in the words of TensorFlow Serving where it has some.
pub(super) fn read(body: &[u8], names: &NamedInputs<'_>, takes: Takes) -> Result<(Input, Layout)> {
    let Fields { signature_name, instances, inputs } =
        read_fields(&mut Cursor::with_words(body), names, takes).map_err(parse_error)?;
    check_signature_name(signature_name.as_deref().unwrap_or_default())?;
    match (instances, inputs) {
        (Some(rows), None) => Ok((rows.into_input()?, Layout::Rows)),
        (None, Some(columns)) => Ok((columns.into_input()?, Layout::Columns)),
        (None, None) => Err(Error::InvalidInput("Missing 'inputs' or 'instances' key".into())),
        (Some(_), Some(_)) => Err(Error::InvalidInput(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist".into(),
        )),
    }
}

/// The inputs that a model takes beside tensors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takes {
    /// Encoded images.
    pub(super) images: bool,
    /// Texts, at most so many.
    pub(super) texts: Option<usize>,
}

/// The samples of a body.
enum Samples<'a> {
    Inputs(Inputs<'a>),
    Texts(Vec<Text>),
}

impl Samples<'_> {
    fn into_input(self) -> Result<Input> {
        match self {
            Self::Inputs(inputs) => inputs.into_input(Instances::Rows),
            Self::Texts(texts) => Ok(Input::Texts(texts)),
        }
    }
}

#[derive(Default)]
struct Fields<'a> {
    signature_name: Option<String>,
    instances: Option<Samples<'a>>,
    inputs: Option<Samples<'a>>,
}

fn read_fields<'a>(cursor: &mut Cursor<'_>, names: &NamedInputs<'a>, takes: Takes) -> Result<Fields<'a>> {
    let accepts = Accepts { base64: true, files: takes.images, ..Accepts::default() };
    let mut fields = Fields::default();
    cursor.begins_with(b'{', "an object with 'instances' or 'inputs'")?;
    cursor.object(|cursor, key| {
        match key {
            "signature_name" if fields.signature_name.is_none() => {
                fields.signature_name = Some(read_signature_name(cursor)?);
            }
            "instances" if fields.instances.is_none() => {
                fields.instances = Some(match takes.texts.filter(|_| is_list_of_texts(cursor)) {
                    Some(most) => Samples::Texts(texts(cursor, most)?),
                    None => {
                        let rows = Inputs::new(names.clone(), accepts, Layout::Rows);
                        Samples::Inputs(read_instances(cursor, rows)?)
                    }
                });
            }
            "inputs" if fields.inputs.is_none() => {
                let is_text_key = |key: &str| (key == TEXT_KEY || key == PAIR_KEY) && names.position(key).is_none();
                let names_a_text =
                    cursor.peek() == Some(b'{') && cursor.first_key().is_some_and(|key| is_text_key(&key));
                fields.inputs = Some(match takes.texts {
                    Some(most) if names_a_text => Samples::Texts(read_text_columns(cursor, most)?),
                    Some(most) if is_list_of_texts(cursor) => Samples::Texts(texts(cursor, most)?),
                    Some(_) | None => {
                        let mut columns = Inputs::new(names.clone(), accepts, Layout::Columns);
                        columns.read(cursor)?;
                        Samples::Inputs(columns)
                    }
                });
            }
            "signature_name" | "instances" | "inputs" => {
                return Err(cursor.fault(format_args!("the key '{key}' is given twice")));
            }
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    cursor.end().map(|()| fields)
}

/// Reads a list of texts.
fn texts(cursor: &mut Cursor<'_>, most: usize) -> Result<Vec<Text>> {
    let texts = read_texts(cursor, most)?;
    match texts.count {
        count if count > most => {
            Err(cursor.fault(format_args!("there are {count} texts, and a request may bring {most}")))
        }
        _ => Ok(texts.kept),
    }
}

fn read_instances<'a>(cursor: &mut Cursor<'_>, mut rows: Inputs<'a>) -> Result<Inputs<'a>> {
    cursor.begins_with(b'[', "'instances' to be an list/array")?;
    cursor.list(|cursor| rows.read(cursor))?;
    if rows.count() == 0 { Err(cursor.fault("No values in 'instances' array")) } else { Ok(rows) }
}

/// Reads the name of a signature.
pub(super) fn read_signature_name(cursor: &mut Cursor<'_>) -> Result<String> {
    cursor.begins_with(b'"', "a string: 'signature_name' key must be a string value.")?;
    cursor.string().map(|name| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DType, Dim, Signature, TensorSpec};

    #[test]
    fn words_bytes_and_depths_are_those_of_tensorflow_serving() {
        let spec = TensorSpec { name: "x".into(), dtype: DType::Float32, shape: vec![Dim::Symbol("N".into())] };
        let signature = Signature { inputs: vec![spec], outputs: vec![] };
        let names = NamedInputs::new(&signature, 1, &[]);
        let reads = |json: &str, images| read(json.as_bytes(), &names, Takes { images, texts: None });
        for good in [
            r#"{"instances":[NaN, Infinity, -Infinity, 1e-50, 3.4028235e38]}"#,
            r#"{"inputs":[1, 2], "unknown": [{"a": NaN}, null]}"#,
            r#"{"inputs":{"x":[1]},"signature_name":"serving_default"}"#,
        ] {
            assert!(reads(good, false).is_ok(), "{good}");
        }
        for (syntax, bad) in [
            (true, r#"{"instances":[nan]}"#),
            (true, r#"{"instances":[1,]}"#),
            (true, r#"{"instances":[01]}"#),
            (false, r#"{"instances":[1e39]}"#),
            (false, r#"{"instances":[null]}"#),
            (false, r#"{"instances":["AAAA"]}"#),
            (false, r#"{"inputs":{"x":[1], "y":[1]}}"#),
            (false, r#"{"instances":[{"x":1, "y":1}]}"#),
            (false, r#"{"instances":[{"b64":"AAAA"}]}"#),
        ] {
            let refused = reads(bad, false).unwrap_err();
            assert_eq!(matches!(refused, Error::Malformed(_)), syntax, "{bad}: {refused}");
        }
        assert!(matches!(reads(r#"{"instances":[{"b64":"AAAA"}]}"#, true), Ok((Input::Images(_), Layout::Rows))));
        assert!(reads(r#"{"instances":["AAAA"]}"#, true).is_err());
        let deep = |depth: usize| format!("{{\"inputs\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        let too_deep = reads(&deep(9), false).unwrap_err().to_string();
        assert!(too_deep.contains("nested deeper than 8"), "{too_deep}");
        assert!(!reads(&deep(8), false).unwrap_err().to_string().contains("nested"));
    }
}
