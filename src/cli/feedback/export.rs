//! `weir feedback export`: writes captured inputs for those who label.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::{client, progress};
use super::chosen::{Chosen, Exported, INTERFACE, Input, Item, LINES, PICTURES, PREFIX, TABLE, TASKS, base64};
use super::tasks;
use crate::error::{Error, Result};
use crate::ids::ModelName;

/// The choice of inputs, and the form in which they are written.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The model that answered
    model: ModelName,
    /// The folder to write; it must not be there, or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The version that answered [default: the newest of which inputs are kept]
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Inputs to be labelled
    #[arg(long, value_name = "N", default_value_t = 100)]
    count: usize,
    /// Seed of the random part
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Only predictions from this moment on, as 2026-11-22T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only predictions before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Form of the export
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: Format,
    /// With label-studio: the address of the folder as Label Studio sees it, as /data/local-files/?d=digits/, before the
    /// names of pictures [default: pictures are in the tasks]
    #[arg(long, value_name = "PREFIX")]
    link: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// labels.csv with a column to fill in, and the pictures in a folder; of sequences labels.jsonl
    Table,
    /// labels.jsonl, an object a line, which holds the input (a picture in base64)
    Jsonl,
    /// The table, and tasks.json with interface.xml for Label Studio
    LabelStudio,
}

pub(super) fn run(args: &ExportArgs, server: &str, timeout: Duration, is_json: bool) -> Result<ExitCode> {
    if fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_some()) {
        let problem = format!("{} is there already, and is not empty", args.out.display());
        return Err(Error::Config { setting: "out".into(), problem });
    }
    let chosen = ask(args, server, timeout)?;
    let Chosen { inputs, columns, .. } = &chosen;
    let (of, mut exported) = (*inputs, Vec::with_capacity(chosen.items.len()));
    let mut gone = 0;
    let (columns, mut chosen) = (columns.clone(), chosen);
    for item in std::mem::take(&mut chosen.items) {
        let (status, bytes) = client::fetch(server, &item.input, timeout)?;
        match status {
            200 => exported.push(Exported { input: Input::read(&item, &bytes, &columns)?, item }),
            // Retention and erasure go on meanwhile.
            404 | 410 => gone += 1,
            status => return Err(client::refused(status, &serde_json::from_slice(&bytes).unwrap_or_default())),
        }
    }
    write(args, &chosen, &exported)?;
    let counted = |name: &str| exported.iter().filter(|one| one.item.selection == name).count();
    let counts = [("uncertain", counted("uncertain")), ("unusual", counted("unusual")), ("random", counted("random"))];
    if gone > 0 {
        progress::note(&format!("{gone} inputs are no longer kept"));
    }
    let text = if is_json {
        let found = json!({
            "model": chosen.model, "version": chosen.version, "inputs": of, "exported": exported.len(),
            "uncertain": counts[0].1, "unusual": counts[1].1, "random": counts[2].1, "out": args.out,
        });
        serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"
    } else {
        let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let (model, version) = (&chosen.model, chosen.version);
        let out = args.out.display();
        format!("{} of {of} inputs of {model}/{version} ({}) in {out}\n", exported.len(), parts.join(", "))
    };
    super::super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the server for a choice.
fn ask(args: &ExportArgs, server: &str, timeout: Duration) -> Result<Chosen> {
    let mut path = format!("/models/{}/labelling?count={}&seed={}", args.model, args.count, args.seed);
    let version = args.version.map(|number| number.to_string());
    for (name, value) in [("since", &args.since), ("until", &args.until), ("version", &version)] {
        value.iter().for_each(|value| path.push_str(&format!("&{name}={}", client::encoded(value))));
    }
    let (status, answer) = client::ask(server, "GET", &path, None, timeout)?;
    if status != 200 {
        return Err(client::refused(status, &answer));
    }
    serde_json::from_value(answer).map_err(|error| {
        Error::Conflict(format!("the server's answer is not understood: {error}; is it of another version?"))
    })
}

/// Writes the files.
fn write(args: &ExportArgs, chosen: &Chosen, exported: &[Exported]) -> Result<()> {
    let out = &args.out;
    fs::create_dir_all(out).map_err(Error::io("create", out))?;
    if args.format == Format::Jsonl {
        return save(&out.join(LINES), lines(chosen, exported, true).as_bytes());
    }
    for one in exported {
        if let Input::Picture(picture) = &one.input {
            fs::create_dir_all(out.join(PICTURES)).map_err(Error::io("create", out))?;
            save(&out.join(&picture.name), &picture.bytes)?;
        }
    }
    if exported.iter().any(|one| matches!(one.input, Input::Sequence(_))) {
        save(&out.join(LINES), lines(chosen, exported, false).as_bytes())?;
    } else {
        save(&out.join(TABLE), &table(chosen, exported)?)?;
    }
    if args.format == Format::LabelStudio {
        save(&out.join(TASKS), tasks::tasks(chosen, exported, args.link.as_deref()).to_string().as_bytes())?;
        save(&out.join(INTERFACE), tasks::interface(chosen, exported).as_bytes())?;
    }
    Ok(())
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io("write", path))
}

/// Returns the name of the column with the truth: another one where the input has a column of that name.
fn truth(chosen: &Chosen, exported: &[Exported]) -> String {
    let name = if chosen.answers == "numbers" { "value" } else { "label" };
    let is_taken = |one: &Exported| match &one.input {
        Input::Row(row) => row.iter().any(|(column, _)| column == name),
        Input::Picture(_) | Input::Sequence(_) => false,
    };
    if exported.iter().any(is_taken) { format!("{PREFIX}{name}") } else { name.to_owned() }
}

/// Returns the export's own columns of an input, in their order.
fn facts(item: &Item) -> [(String, Value); 6] {
    let of = |name: &str| format!("{PREFIX}{name}");
    [
        (of("request_id"), json!(item.request_id)),
        (of("item"), json!(item.item)),
        (of("predicted"), json!(item.predicted)),
        (of("confidence"), json!(item.confidence)),
        (of("selection"), json!(item.selection)),
        (of("inclusion"), json!(item.inclusion)),
    ]
}

/// Writes an object a line; `is_whole` with the bytes of pictures.
fn lines(chosen: &Chosen, exported: &[Exported], is_whole: bool) -> String {
    let truth = truth(chosen, exported);
    let mut text = String::new();
    for one in exported {
        let mut line = serde_json::Map::new();
        match &one.input {
            Input::Picture(picture) if is_whole => {
                line.insert("image".into(), json!(base64(&picture.bytes)));
            }
            Input::Picture(picture) => drop(line.insert("file".into(), json!(picture.name))),
            Input::Row(row) => line.extend(row.iter().cloned()),
            Input::Sequence(sequence) => drop(line.insert("sequence".into(), sequence.clone())),
        }
        line.insert(truth.clone(), Value::Null);
        line.extend(facts(&one.item));
        text.push_str(&Value::Object(line).to_string());
        text.push('\n');
    }
    text
}

/// Writes a table whose rows may lack columns that others have.
fn table(chosen: &Chosen, exported: &[Exported]) -> Result<Vec<u8>> {
    let mut columns: Vec<String> = Vec::new();
    for one in exported {
        let names: Vec<&str> = match &one.input {
            Input::Picture(_) => vec!["file"],
            Input::Row(row) => row.iter().map(|(name, _)| name.as_str()).collect(),
            Input::Sequence(_) => Vec::new(),
        };
        let new: Vec<String> =
            names.into_iter().filter(|name| !columns.iter().any(|column| column == name)).map(str::to_owned).collect();
        columns.extend(new);
    }
    let failed = |error: csv::Error| Error::internal("the table cannot be written", error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let own: Vec<String> =
        exported.first().map(|one| facts(&one.item).map(|(name, _)| name).to_vec()).unwrap_or_default();
    let head = columns.iter().cloned().chain([truth(chosen, exported)]).chain(own);
    writer.write_record(head).map_err(failed)?;
    for one in exported {
        let cell = |column: &String| match &one.input {
            Input::Picture(picture) => picture.name.clone(),
            Input::Row(row) => {
                row.iter().find(|(name, _)| name == column).map_or_else(String::new, |(_, cell)| text(cell))
            }
            Input::Sequence(_) => String::new(),
        };
        let cells = columns.iter().map(cell).chain([String::new()]);
        writer.write_record(cells.chain(facts(&one.item).map(|(_, cell)| text(&cell)))).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| Error::internal("the table cannot be written", error.into_error()))
}

/// Returns a value as the cell of a table.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
