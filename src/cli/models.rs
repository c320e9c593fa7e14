//! `weir models`: what a server has loaded, and changes to it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client;
use crate::error::Result;
use crate::ids::{AliasName, ModelName, Version};
use crate::repository::{AliasStore, Storage, scan};

/// Shows and changes what a running server has loaded.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir models list\n  weir models promote mnist-mlp stable 2\n  weir models rollback mnist-mlp stable\n  weir models unload mnist-mlp 1\n  weir models list --models DIR    without a server: what a folder holds\n  weir models describe FILE.onnx > models/NAME/model.toml"
)]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
    /// The server
    #[arg(long, env = "WEIR_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080", global = true)]
    server: String,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "S", default_value_t = 150.0, global = true, value_parser = super::healthcheck::parse_seconds)]
    timeout_seconds: f64,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All models and versions
    List {
        /// Without a server: what this repository folder holds
        #[arg(long, value_name = "DIR")]
        models: Option<PathBuf>,
    },
    /// One model
    Show { model: ModelName },
    /// Point an alias to a version that serves
    Promote {
        model: ModelName,
        alias: AliasName,
        version: Version,
        /// Only if the alias points to this version now; 0: if it does not exist yet
        #[arg(long, value_name = "N")]
        expected: Option<u64>,
        /// Also if callers of the alias would find other inputs, outputs or labels
        #[arg(long)]
        allow_changes: bool,
    },
    /// Point an alias back to where it pointed before
    Rollback { model: ModelName, alias: AliasName },
    /// Load a version, or what the version policy wants of a model
    Load { model: ModelName, version: Option<Version> },
    /// Guess the model.toml of an ONNX file that takes pictures, without a server
    Describe {
        /// The graph
        #[arg(value_name = "FILE.onnx")]
        file: PathBuf,
    },
    /// Unload a version, or all of a model
    Unload { model: ModelName, version: Option<Version> },
}

pub(super) fn run(args: &ModelsArgs) -> Result<ExitCode> {
    let which = |version: &Option<Version>| version.map_or_else(|| json!({}), |version| json!({"version": version.0}));
    let (method, path, body) = match &args.action {
        Action::List { models: Some(folder) } => return offline(folder, args.json),
        Action::Describe { file } => {
            super::print(&super::describe::describe(file, args.json)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Action::List { models: None } => ("GET", "/models".to_owned(), None),
        Action::Show { model } => ("GET", format!("/models/{model}"), None),
        Action::Promote { model, alias, version, expected, allow_changes } => {
            let mut body = json!({"alias": alias, "version": version.0, "allow_changes": allow_changes});
            if let Some(expected) = expected {
                body["expected"] = json!(expected);
            }
            ("POST", format!("/models/{model}/promote"), Some(body))
        }
        Action::Rollback { model, alias } => {
            ("POST", format!("/models/{model}/rollback"), Some(json!({"alias": alias})))
        }
        Action::Load { model, version } => ("POST", format!("/models/{model}/load"), Some(which(version))),
        Action::Unload { model, version } => ("POST", format!("/models/{model}/unload"), Some(which(version))),
    };
    let timeout = Duration::from_secs_f64(args.timeout_seconds);
    let (status, answer) = client::ask(&args.server, method, &path, body.as_ref(), timeout)?;
    if status != 200 {
        return Err(client::refused(status, &answer));
    }
    let text = match &args.action {
        _ if args.json => pretty(&answer),
        Action::Describe { .. } => String::new(),
        Action::List { .. } => table(answer["models"].as_array().map_or(&[][..], Vec::as_slice)),
        Action::Show { .. } => table(std::slice::from_ref(&answer)),
        Action::Promote { .. } | Action::Rollback { .. } => {
            let changes = answer["changes"].as_array().map_or(&[][..], Vec::as_slice);
            let changes = changes.iter().map(|change| format!("callers find it changed: {}\n", plain(change)));
            let pointed = (plain(&answer["model"]), plain(&answer["alias"]), &answer["version"]);
            format!("{} {} is version {}\n{}", pointed.0, pointed.1, pointed.2, changes.collect::<String>())
        }
        Action::Load { .. } => format!("{} serves versions {}\n", plain(&answer["model"]), answer["versions"]),
        Action::Unload { .. } => format!("{} unloaded versions {}\n", plain(&answer["model"]), answer["versions"]),
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the models of a folder, in the shape of the server's answer.
fn offline(folder: &Path, as_json: bool) -> Result<ExitCode> {
    let storage = Storage::from(folder);
    let store = AliasStore::new(&storage, Path::new("state"));
    let found = scan(&storage)?;
    let model = |name: &ModelName| {
        let versions: Vec<Value> = found
            .versions
            .iter()
            .filter(|version| version.name == *name)
            .map(|version| json!({"version": version.version.0, "state": "ON DISK"}))
            .collect();
        let aliases = store.read(name)?;
        let aliases: serde_json::Map<String, Value> =
            aliases.aliases.iter().map(|(name, alias)| (name.to_string(), json!(alias.version.0))).collect();
        Ok(json!({"name": name.as_str(), "aliases": aliases, "versions": versions}))
    };
    let models = found.models.iter().map(model).collect::<Result<Vec<Value>>>()?;
    super::print(&if as_json { pretty(&json!({"models": models})) } else { table(&models) })?;
    Ok(ExitCode::SUCCESS)
}

fn table(models: &[Value]) -> String {
    let all = || models.iter().flat_map(|model| model["versions"].as_array().into_iter().flatten());
    let is_signed = all().any(|version| !version["signed"].is_null());
    let mut rows = vec![["MODEL", "VERSION", "STATE", "ALIASES", "SIGNED BY", "REASON"].map(str::to_owned)];
    for model in models {
        for version in model["versions"].as_array().into_iter().flatten() {
            let aliases = model["aliases"].as_object().into_iter().flatten();
            let aliases: Vec<&str> =
                aliases.filter(|(_, to)| **to == version["version"]).map(|(name, _)| name.as_str()).collect();
            rows.push([
                plain(&model["name"]).to_owned(),
                version["version"].to_string(),
                plain(&version["state"]).to_owned(),
                aliases.join(","),
                signer(&version["signed"]),
                plain(&version["reason"]).lines().next().unwrap_or_default().to_owned(),
            ]);
        }
    }
    if is_signed {
        return aligned(&rows);
    }
    let without = |[model, version, state, aliases, _, reason]: [String; 6]| [model, version, state, aliases, reason];
    aligned(&rows.into_iter().map(without).collect::<Vec<_>>())
}

/// Returns the name of the key that signed a version; `nobody` for none that is trusted, nothing where nobody looked.
fn signer(signed: &Value) -> String {
    match (&signed["by"], signed) {
        (_, Value::Null) => String::new(),
        (Value::String(name), _) => name.clone(),
        _ => "nobody".to_owned(),
    }
}

/// Returns rows of cells as lines whose columns are aligned.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
