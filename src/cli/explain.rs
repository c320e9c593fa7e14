//! `weir explain`: asks a running server why a model answers as it does.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::{self, Sent, encoded};
use super::paint::{Paint, bar};
use super::target::Target;
use crate::error::{Error, Result};
use crate::ids::VersionSpec;
use crate::serving::Baseline;
use crate::stats::attribution::Method;

/// Credits each part of one input with a model's answer to it: cells of a picture, columns of a row, steps of a sequence.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir explain mnist-mlp data/seven.png
  weir explain mnist-mlp/stable data/seven.png --class 1 --out why.png
  echo '{\"instances\": [{\"age\": 41, \"job\": \"clerk\"}]}' | weir explain people - --method occlusion

The answer is that of POST /models/MODEL/explain. Credits are told as percentages of the largest one: above zero a part
speaks for the answer, below zero against it. Each explanation is tried against ten random ones: if it is no better,
that is said, and it is not to be trusted.")]
pub(super) struct ExplainArgs {
    /// The model, and its version or alias
    #[arg(value_name = "MODEL[/VERSION]")]
    model: Target,
    /// A picture, or JSON as of /predict; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The server
    #[arg(long, env = "WEIR_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// The way in which parts are credited: occlusion, rise, shap, or cam for networks with a global average pool [default: shap]
    #[arg(long, value_name = "METHOD", value_parser = named::<Method>)]
    method: Option<Method>,
    /// The values that stand for hidden parts: auto, zero, mean or missing [default: auto]
    #[arg(long, value_name = "KIND", value_parser = named::<Baseline>)]
    baseline: Option<Baseline>,
    /// The class to explain, by label or index [default: the most probable one]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Masks that rise and shap draw, each a run of the model [default: 500]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Rows and columns of the grid over a picture [default: 14, of shap 7, of cam those of its maps]
    #[arg(long, value_name = "N")]
    cells: Option<usize>,
    /// Seed of what is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Parts that are told of a row or sequence, the most important first
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Write the picture with its credits over it to this PNG file, too
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = super::healthcheck::parse_seconds)]
    timeout_seconds: f64,
}

/// The part of a server's answer that is shown.
#[derive(Debug, Deserialize)]
struct Explained {
    model: String,
    version: u64,
    method: String,
    baseline: String,
    label: Option<String>,
    value: f64,
    baseline_value: f64,
    unit: String,
    shape: Vec<usize>,
    names: Option<Vec<String>>,
    attributions: Vec<f64>,
    score: Option<Score>,
}

#[derive(Debug, Deserialize)]
struct Score {
    better_than_random: bool,
    beats: f64,
    deletion: f64,
    random_deletion: f64,
}

pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    let input = input(&args.file)?;
    let json = ask(args, &input, "application/json")?;
    if let Some(place) = &args.out {
        let picture = ask(args, &input, "image/png")?;
        std::fs::write(place, picture).map_err(Error::io("write", place))?;
    }
    if args.json {
        super::print(&format!("{}\n", String::from_utf8_lossy(&json)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let explained: Explained = serde_json::from_slice(&json).map_err(|error| {
        Error::Conflict(format!("the server's answer is not understood: {error}; is it of another version?"))
    })?;
    super::print(&told(&explained, args.top, Paint(std::io::stdout().is_terminal())))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads one of the values that a field of the API takes.
fn named<T: DeserializeOwned>(text: &str) -> std::result::Result<T, String> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|error| error.to_string())
}

/// Returns the name of a value in the API.
fn name_of(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

fn input(file: &Path) -> Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(Error::io("read", "standard input"))?;
        return Ok(bytes);
    }
    std::fs::read(file).map_err(Error::io("read", file))
}

/// Asks for an explanation in one of the forms that the server gives.
fn ask(args: &ExplainArgs, input: &[u8], form: &'static str) -> Result<Vec<u8>> {
    let is_json = input.trim_ascii_start().first() == Some(&b'{');
    let sent = Sent {
        method: "POST",
        content_type: if is_json { "application/json" } else { "application/octet-stream" },
        accept: Some(form),
        body: input.to_vec().into(),
    };
    let timeout = Duration::from_secs_f64(args.timeout_seconds);
    let (status, body) = client::send(&args.server, &path(args), sent, timeout)?;
    match status {
        200 => Ok(body.into()),
        _ => Err(client::refused(status, &serde_json::from_slice(&body).unwrap_or_default())),
    }
}

fn path(args: &ExplainArgs) -> String {
    let version = match &args.model.version {
        VersionSpec::Latest => String::new(),
        VersionSpec::Specific(version) => format!("/versions/{version}"),
        VersionSpec::Alias(alias) => format!("/versions/{}", alias.as_str()),
    };
    let stated = [
        ("method", args.method.map(name_of)),
        ("baseline", args.baseline.map(name_of)),
        ("class", args.class.clone()),
        ("samples", args.samples.map(|samples| samples.to_string())),
        ("cells", args.cells.map(|cells| cells.to_string())),
    ];
    let stated =
        stated.into_iter().filter_map(|(name, value)| value.map(|value| format!("&{name}={}", encoded(&value))));
    format!("/models/{}{version}/explain?seed={}{}", args.model.name, args.seed, stated.collect::<String>())
}

/// Returns an explanation in words and figures.
fn told(explained: &Explained, top: usize, paint: Paint) -> String {
    let Explained { model, version, method, baseline, value, baseline_value, unit, .. } = explained;
    let what = explained.label.as_ref().map_or_else(|| "the answer".to_owned(), |label| format!("\"{label}\""));
    let mut text = format!(
        "{model} version {version}: {what} {value:.4}; with all {unit} hidden (baseline {baseline}) {baseline_value:.4}\n\
         credits by {method}, in % of the largest:\n\n"
    );
    let most = explained.attributions.iter().fold(0.0, |most: f64, credit| most.max(credit.abs()));
    let percent: Vec<f64> =
        explained.attributions.iter().map(|credit| if most > 0.0 { credit / most * 100.0 } else { 0.0 }).collect();
    text += &match explained.shape[..] {
        [_, columns] if unit == "cells" => grid(&percent, columns, paint),
        _ => list(&percent, explained, top, paint),
    };
    text.push('\n');
    text += &match &explained.score {
        Some(Score { better_than_random: true, beats, deletion, random_deletion }) => format!(
            "better than {:.0} % of random orders: hiding the most important {unit} first leaves {deletion:.3} on the \
             average, a random order {random_deletion:.3}\n",
            beats * 100.0
        ),
        Some(_) => {
            paint.red("no better than a random order of the parts: do not trust it; try another method or baseline")
                + "\n"
        }
        None => "not tried against random orders\n".into(),
    };
    text
}

/// Returns the credits of a picture's cells where they stand.
fn grid(percent: &[f64], columns: usize, paint: Paint) -> String {
    let cell = |percent: &f64| {
        let rounded = percent.round();
        let text = if rounded == 0.0 { format!("{:>5}", "·") } else { format!("{rounded:>+5.0}") };
        match rounded {
            50.0.. => paint.bold(&text),
            0.0.. => text,
            _ => paint.dim(&text),
        }
    };
    let line = |row: &[f64]| row.iter().map(cell).collect::<String>() + "\n";
    percent.chunks(columns.max(1)).map(line).collect()
}

/// Returns the largest credits, one a line.
fn list(percent: &[f64], explained: &Explained, top: usize, paint: Paint) -> String {
    const BAR: f64 = 30.0;
    let name = |at: usize| match &explained.names {
        Some(names) => names.get(at).cloned().unwrap_or_default(),
        None => format!("{} {}", explained.unit.trim_end_matches('s'), at + 1),
    };
    let mut order: Vec<usize> = (0..percent.len()).collect();
    order.sort_by(|a, b| percent[*b].abs().total_cmp(&percent[*a].abs()));
    let width = order.iter().take(top).map(|at| name(*at).chars().count()).max().unwrap_or_default();
    let line = |at: &usize| {
        let bar = bar(percent[*at].abs() / 100.0 * BAR);
        let bar = if percent[*at] < 0.0 { paint.dim(&bar) } else { bar };
        format!("{:<width$} {:>+6.1}  {bar}\n", name(*at), percent[*at])
    };
    let mut text: String = order.iter().take(top).map(line).collect();
    if order.len() > top {
        text += &format!("and {} {} with less; --top shows more\n", order.len() - top, explained.unit);
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ExplainArgs,
    }

    fn explained(unit: &str, shape: &[usize], names: Option<&[&str]>, attributions: &[f64]) -> Explained {
        Explained {
            model: "m".into(),
            version: 3,
            method: "shap".into(),
            baseline: "zero".into(),
            label: Some("7".into()),
            value: 0.75,
            baseline_value: 0.1,
            unit: unit.into(),
            shape: shape.to_vec(),
            names: names.map(|names| names.iter().map(ToString::to_string).collect()),
            attributions: attributions.to_vec(),
            score: None,
        }
    }

    #[test]
    fn the_path_has_what_was_stated_and_nothing_else() {
        let asked = |line: &[&str]| path(&Line::try_parse_from([&["explain"], line].concat()).unwrap().args);
        assert_eq!(asked(&["m", "a.png"]), "/models/m/explain?seed=0");
        assert_eq!(
            asked(&["m/2", "-", "--method", "rise", "--baseline", "missing", "--class", "a b&c", "--cells", "5"]),
            "/models/m/versions/2/explain?seed=0&method=rise&baseline=missing&class=a%20b%26c&cells=5"
        );
        assert_eq!(
            asked(&["m/stable", "-", "--samples", "9", "--seed", "4"]),
            "/models/m/versions/stable/explain?seed=4&samples=9"
        );
        let wrong = Line::try_parse_from(["explain", "m", "-", "--method", "lime"]).unwrap_err().to_string();
        assert!(wrong.contains("lime") && wrong.contains("occlusion"), "{wrong}");
    }

    #[test]
    fn cells_are_told_where_they_stand() {
        let text = told(&explained("cells", &[2, 2], None, &[0.5, -0.1, 0.0, 0.25]), 20, Paint(false));
        assert!(text.contains("m version 3: \"7\" 0.7500; with all cells hidden (baseline zero) 0.1000\n"), "{text}");
        assert!(text.contains("\n +100  -20\n    ·  +50\n"), "{text}");
        assert!(text.ends_with("not tried against random orders\n"), "{text}");
    }

    #[test]
    fn columns_are_told_by_their_weight() {
        let one = explained("columns", &[3], Some(&["age", "job", "city"]), &[0.1, -0.4, 0.0]);
        let text = told(&one, 2, Paint(false));
        assert!(
            text.contains(
                "\njob -100.0  ██████████████████████████████\nage  +25.0  ███████▌\nand 1 columns with less"
            ),
            "{text}"
        );
        let nothing = told(&explained("steps", &[2], None, &[0.0, 0.0]), 20, Paint(false));
        assert!(nothing.contains("step 1   +0.0"), "{nothing}");
    }

    #[test]
    fn an_explanation_that_is_worth_nothing_says_so_first_of_all() {
        let score = Score { better_than_random: false, beats: 0.3, deletion: 0.5, random_deletion: 0.4 };
        let text = told(&Explained { score: Some(score), ..explained("steps", &[1], None, &[1.0]) }, 20, Paint(false));
        assert!(text.contains("do not trust it"), "{text}");
    }
}
