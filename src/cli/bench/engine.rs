//! `weir bench engine`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::super::engine::EngineName;
use super::super::paint::Paint;
use super::live::{Bar, Expected};
use super::profile::profile_table;
use super::table::{engine_heading, engine_row};
use super::{Output, OutputArgs, exit_code, limits, stop_on_signal};
use crate::bench::{
    EngineModel, EnginePlan, EngineStep, EngineTarget, Live, MAX_DURATION, Plot, PlotStep, REPORT_SCHEMA, Report, Slo,
    parse_span, run_engine,
};
use crate::engine::Engines;
use crate::error::{Error, Result};

/// Measure a model in the engine alone, batch size by batch size, without a server.
///
/// The difference to the same model served over HTTP is the cost of the server. The input is random numbers.
///
/// The exit code is 0, or 6 if --slo is given and no batch met it, or 130 after Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir bench engine models/mnist-mlp
  weir bench engine models/mnist-mlp/1 --batch 1,32 --threads 2
  weir bench engine some.onnx --batch 1,2,4,8,16,32,64 --slo 'p99<=10ms' --svg batches.svg
  weir bench engine some.onnx --profile                which operation takes the time?

Keys of --json (they are only added to):
  schema, kind, weir_version, warmup_seconds, slo, slo_met, interrupted
  target   model, engine, inputs[]: name, dtype, shape
  steps[]  batch, threads, seconds, runs, samples, runs_per_second, samples_per_second
    latency_ms     min, mean, p50, p90, p95, p99, p99.9, max
    latency_curve  quantile, ms
    slo            met, terms[]: term, measured, unit, met
    profile        runs, run_ms, outside_ms, peak_gflops
      kinds[]      kind, kernel, nodes, ms, share, gflops, peak_share
      nodes[]      node, kind, kernel, shape, ms, share, gflops, peak_share")]
pub(super) struct EngineArgs {
    /// An .onnx file, models/<name> (its newest version) or models/<name>/<version>
    model: PathBuf,
    /// Batch sizes, one step for each [default: 1,2,4,8,16,32, or the fixed size of the graph]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    batch: Vec<usize>,
    /// Threads that run at the same time, each with a session of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Engine that runs the model
    #[arg(long, value_name = "ENGINE", default_value = "tract")]
    engine: EngineName,
    /// Library of ONNX Runtime [default: ORT_DYLIB_PATH, or libonnxruntime.so* beside weir]
    #[arg(long, env = "WEIR_ONNXRUNTIME", value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Measured time of each step
    #[arg(long, short, value_name = "TIME", default_value = "2s", value_parser = parse_span)]
    duration: Duration,
    /// Warm-up before each step, which is not measured
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = parse_span)]
    warmup: Duration,
    /// Take the time of every node: by operation, with its share of the peak that a small matrix product reaches here,
    /// and whether a fast kernel computes it (weir, packed) or none (generic). Built-in engine, one thread, batch 1
    /// unless --batch is given
    #[arg(long)]
    profile: bool,
    /// Service level for a run of a batch, such as p99<=10ms; the exit code is 6 if no batch meets it
    #[arg(long, value_name = "TERMS")]
    slo: Option<Slo>,
    /// Model repository in which a bare name is looked up
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Refuses arguments that cannot be meant, before anything is loaded.
fn check(args: &EngineArgs) -> Result<()> {
    let refuse = |setting: &str, problem: String| Err(Error::Config { setting: setting.into(), problem });
    for (setting, span) in [("--duration", args.duration), ("--warmup", args.warmup)] {
        if span > MAX_DURATION {
            return refuse(setting, format!("expected at most {MAX_DURATION:?}, got {span:?}"));
        }
    }
    if args.profile && args.engine != EngineName::Tract {
        let problem = "only the built-in engine (--engine tract) tells the time of each node";
        return refuse("--profile", problem.into());
    }
    Ok(())
}

pub(super) fn run(args: &EngineArgs) -> Result<ExitCode> {
    check(args)?;
    let engine = args.engine.prepare();
    let model = EngineModel::load(&args.model, &args.models, engine, &Engines::new(args.onnxruntime.clone()))?;
    let output = Output::open(&args.output)?;
    let paint = Paint(output.is_terminal());
    let stop = stop_on_signal()?;
    let batches = match (&args.batch[..], model.fixed_batch()) {
        ([], Some(fixed)) => vec![fixed],
        ([], None) if args.profile => vec![1],
        ([], None) => vec![1, 2, 4, 8, 16, 32],
        (given, _) => given.to_vec(),
    };
    let how = format!("{}, threads {}, {:?} for each batch", model.engine(), args.threads, args.duration);
    output.say(&format!("{}\n{how}\n\n{}", model.path().display(), engine_heading()))?;
    let mut steps: Vec<EngineStep> = Vec::new();
    for batch in batches {
        let EngineArgs { threads, warmup, duration, profile, .. } = *args;
        let plan = EnginePlan { batch, threads, warmup, duration, profile };
        let live = Arc::new(Live::default());
        let expected = Expected {
            name: format!("batch {batch}"),
            warmup: args.warmup,
            duration: Some(args.duration),
            requests: None,
        };
        let bar = Bar::show(expected, live.clone(), args.output.quiet);
        let mut step = run_engine(&model, &plan, &stop, &live)?;
        drop(bar);
        step.slo = args.slo.as_ref().map(|slo| slo.judge(&step.latencies, 0));
        output.say(&engine_row(&step, paint))?;
        if let Some(of_nodes) = &step.profile {
            output.say(&profile_table(of_nodes, paint))?;
        }
        steps.push(step);
        if stop.is_asked() {
            break;
        }
    }
    let met = |step: &EngineStep| step.slo.as_ref().is_some_and(|verdict| verdict.met);
    let slo_met = args.slo.as_ref().map(|_| steps.iter().any(met));
    if let Some(slo) = &args.slo {
        let best = steps.iter().filter(|step| met(step)).map(|step| step.batch).max();
        let said =
            best.map_or("no batch meets it".into(), |batch| format!("the largest batch that meets it is {batch}"));
        output.say(&format!("\nslo          {slo}: {said}\n"))?;
    }
    let picture = picture(args, &model, &how, &steps);
    let report = Report {
        schema: REPORT_SCHEMA,
        kind: "engine",
        weir_version: env!("CARGO_PKG_VERSION"),
        target: EngineTarget {
            model: model.path().display().to_string(),
            engine: model.engine(),
            inputs: model.inputs().to_vec(),
        },
        warmup_seconds: args.warmup.as_secs_f64(),
        steps,
        slo: args.slo.as_ref().map(Slo::to_string),
        slo_met,
        found_rate: None,
        interrupted: stop.is_asked(),
    };
    output.finish(&report, &picture)?;
    Ok(exit_code(slo_met, stop.is_asked()))
}

fn picture(args: &EngineArgs, model: &EngineModel, how: &str, steps: &[EngineStep]) -> Plot {
    let draw = |step: &EngineStep| {
        Some(PlotStep {
            load: step.batch.to_string(),
            throughput: step.samples_per_second,
            percentiles: step.latency_ms?,
            curve: step.latency_curve.clone(),
            bins: step.latencies.bins(60),
        })
    };
    Plot {
        title: model.path().display().to_string(),
        subtitle: how.to_owned(),
        throughput_unit: "samples/s",
        load_name: "batch",
        limits: limits(args.slo.as_ref()),
        steps: steps.iter().filter_map(draw).collect(),
    }
}
