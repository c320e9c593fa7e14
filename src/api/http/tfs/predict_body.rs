//! The body of `:predict`: rows (`instances`) or columns (`inputs`).

use crate::api::json::{Accepts, Cursor, Inputs, Instances, Layout, parse_error};
use crate::api::tfs::check_signature_name;
use crate::error::{Error, Result};
use crate::serving::{Input, NamedInputs};

/// Reads a body for a model.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::InvalidInput`], in the words of TensorFlow Serving where it has some.
pub(super) fn read(body: &[u8], names: &NamedInputs<'_>, takes_images: bool) -> Result<(Input, Layout)> {
    let accepts = Accepts { base64: true, files: takes_images, ..Accepts::default() };
    let Fields { signature_name, instances, inputs } =
        read_fields(&mut Cursor::with_words(body), names, accepts).map_err(parse_error)?;
    check_signature_name(signature_name.as_deref().unwrap_or_default())?;
    match (instances, inputs) {
        (Some(rows), None) => Ok((rows.into_input(Instances::Rows)?, Layout::Rows)),
        (None, Some(columns)) => Ok((columns.into_input(Instances::Rows)?, Layout::Columns)),
        (None, None) => Err(Error::InvalidInput("Missing 'inputs' or 'instances' key".into())),
        (Some(_), Some(_)) => Err(Error::InvalidInput(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist".into(),
        )),
    }
}

#[derive(Default)]
struct Fields<'a> {
    signature_name: Option<String>,
    instances: Option<Inputs<'a>>,
    inputs: Option<Inputs<'a>>,
}

fn read_fields<'a>(cursor: &mut Cursor<'_>, names: &NamedInputs<'a>, accepts: Accepts) -> Result<Fields<'a>> {
    let mut fields = Fields::default();
    cursor.begins_with(b'{', "an object with 'instances' or 'inputs'")?;
    cursor.object(|cursor, key| {
        match key {
            "signature_name" if fields.signature_name.is_none() => {
                fields.signature_name = Some(read_signature_name(cursor)?);
            }
            "instances" if fields.instances.is_none() => {
                fields.instances = Some(read_instances(cursor, Inputs::new(names.clone(), accepts, Layout::Rows))?);
            }
            "inputs" if fields.inputs.is_none() => {
                let mut columns = Inputs::new(names.clone(), accepts, Layout::Columns);
                columns.read(cursor)?;
                fields.inputs = Some(columns);
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
        let reads = |json: &str, takes_images| read(json.as_bytes(), &names, takes_images);
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
