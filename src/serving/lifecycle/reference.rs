//! The comparison of the engines while a version loads, so that its first request gets the answer of the reference.

use super::comparison::{self, Rival};
use super::engines::Tried;
use super::graphs::LoadSettings;
use super::warm;
use crate::engine::ExampleInputs;
use crate::error::Result;
use crate::serving::execution::{Runner, Runtime, Sharing, Tuning, TuningStage};
use crate::serving::servable::{Part, Servable};

/// Compares the engines on a version that is about to serve, and lets the reference serve where they disagree. A version
/// that has answered its golden examples as recorded is right already; the tuner compares it later, for its cost.
pub(super) fn compare(servable: &Servable, settings: &LoadSettings) {
    if servable.manifest.as_ref().is_some_and(|manifest| !manifest.golden.is_empty()) {
        return;
    }
    for part in [Part::Model, Part::Decoder] {
        let Ok(runner) = servable.runner(part) else { continue };
        if let Err(error) = compare_part(servable, part, runner, settings) {
            let (model, version) = (servable.name.as_str(), servable.version.0);
            tracing::info!(model, version, %error, "ONNX Runtime does not run it; its answers are not compared");
        }
    }
}

fn compare_part(servable: &Servable, part: Part, runner: &Runner, settings: &LoadSettings) -> Result<()> {
    let sha256 = &runner.source().sha256;
    let engines = &settings.candidates.engines;
    // Absent or unusable: there is nothing to compare with.
    let Ok(runtime) = engines.finds_onnxruntime().then(|| engines.onnxruntime()).transpose() else { return Ok(()) };
    let Some(runtime) = runtime.filter(|runtime| !settings.tuning.agree(sha256, runtime)) else { return Ok(()) };
    let Some(rival) = comparison::rival(&settings.candidates, servable, part, settings.max_model_bytes)? else {
        return Ok(());
    };
    let Some(difference) = &rival.difference else {
        settings.tuning.remember_agreement(sha256, runtime);
        return Ok(());
    };
    let (model, version) = (servable.name.as_str(), servable.version.0);
    tracing::warn!(model, version, difference, "the engines disagree; ONNX Runtime, the reference, serves");
    take_over(runner, rival, settings)
}

/// Lets the other engine serve.
fn take_over(runner: &Runner, rival: Rival, settings: &LoadSettings) -> Result<()> {
    let Tried { plan, trial } = rival.tried;
    let source = runner.source();
    let sharing = Sharing::new(runner.batching(), source.batches, &trial);
    let examples = trial.example.map(|example| ExampleInputs::new(plan.signature(), &source.hints, example));
    let mut sessions = warm::sessions(&plan, examples.as_ref(), settings.pool.size())?;
    let (stage, costs) = match &examples {
        Some(examples) => (TuningStage::Loading, warm::first_costs(&mut sessions[0], examples, &sharing)?),
        None => (TuningStage::Unmeasured, Vec::new()),
    };
    let tuning = Tuning::choose(stage, plan.engine(), costs, sharing, runner.pinned());
    let threads = runner.runtime().threads();
    runner.replace_runtime(Runtime::new(plan, threads, sessions));
    if let Some(examples) = examples {
        runner.learn(examples);
    }
    runner.apply(tuning);
    settings.tuning.remember_disagreement(&source.sha256);
    Ok(())
}
