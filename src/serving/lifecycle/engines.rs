//! Engine choice: the engine that the settings name, or else the first that can run a version.

use super::check::Checker;
use crate::config::EngineChoice;
use crate::engine::{EngineKind, Engines, Hints, Plan, Trial, refuse_external_data, remedy};
use crate::error::{Error, Result};

/// The engines that a version may run in, and the check of a file before this process trusts it.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// The engine that the settings name.
    pub choice: EngineChoice,
    /// The engines of this machine.
    pub engines: Engines,
    /// Tries each file in a process of its own; without one, files are trusted.
    pub checker: Option<Checker>,
    /// Knowledge of the inputs of the version.
    pub hints: Hints,
}

/// A plan, and what its trial found.
#[derive(Debug)]
pub struct Tried {
    /// The plan.
    pub plan: Plan,
    /// The findings.
    pub trial: Trial,
}

impl Candidates {
    /// Loads a file, of which `sha256` is the hash, in the engine of choice.
    ///
    /// # Errors
    /// [`Error::Repository`] saying why no engine can run it, [`Error::Config`] when the engine of
    /// choice is not there, [`Error::ShuttingDown`].
    pub fn plan(&self, onnx: &[u8], sha256: &str) -> Result<Tried> {
        refuse_external_data(onnx)?;
        crate::engine::refuse_containers(onnx)?;
        match self.choice {
            EngineChoice::Tract => {
                self.load(EngineKind::Tract, onnx, sha256).map_err(|error| alone(error, "tract", "ONNX Runtime"))
            }
            EngineChoice::Onnxruntime => {
                self.load(EngineKind::OnnxRuntime, onnx, sha256).map_err(|error| alone(error, "ONNX Runtime", "tract"))
            }
            EngineChoice::Auto => match self.load(EngineKind::Tract, onnx, sha256) {
                Err(Error::ShuttingDown) => Err(Error::ShuttingDown),
                Err(first) => {
                    self.load(EngineKind::OnnxRuntime, onnx, sha256).map_err(|second| neither(&first, second))
                }
                // Nothing shows that tract can run it. The other engine knows more operators.
                Ok(tried) if tried.trial.example.is_none() && self.engines.finds_onnxruntime() => {
                    match self.load(EngineKind::OnnxRuntime, onnx, sha256) {
                        Err(Error::ShuttingDown) => Err(Error::ShuttingDown),
                        other => Ok(other.unwrap_or(tried)),
                    }
                }
                Ok(tried) => Ok(tried),
            },
        }
    }

    /// Loads a file in this engine, after it has passed the check.
    ///
    /// # Errors
    /// As [`Candidates::plan`].
    pub fn load(&self, engine: EngineKind, onnx: &[u8], sha256: &str) -> Result<Tried> {
        if engine == EngineKind::OnnxRuntime {
            self.engines.onnxruntime()?;
        }
        let checked = match &self.checker {
            Some(checker) => Some(checker.check(&self.engines, engine, onnx, sha256, &self.hints)?),
            None => None,
        };
        let plan = self.engines.load(engine, onnx)?;
        let trial = match checked {
            Some(trial) => trial,
            None => Trial::of(&plan, &self.hints, onnx)?,
        };
        Ok(Tried { plan, trial })
    }
}

/// Says what to do about a file that an engine, which alone was asked, cannot run.
fn alone(error: Error, asked: &str, other: &str) -> Error {
    match error {
        Error::Repository { what, problem } if !is_of_file(&problem) => {
            let advice = remedy(&problem);
            let problem =
                format!("{problem}{advice}. Only {asked} was asked; the engine \"auto\" asks {other} as well");
            Error::Repository { what, problem }
        }
        other => other,
    }
}

/// Returns true if a file is refused whatever the engine: it cannot be read.
fn is_of_file(problem: &str) -> bool {
    ["not an ONNX model", "it is damaged"].iter().any(|phrase| problem.contains(phrase))
}

fn neither(first: &Error, second: Error) -> Error {
    let problem = match second {
        Error::ShuttingDown => return second,
        // The engine is not there; its problem says how to give it.
        Error::Config { problem, .. } => format!("tract cannot run it: {}. {problem}", reason(first)),
        second if is_of_file(&reason(first)) => reason(&second),
        second => format!(
            "tract cannot run it: {}. ONNX Runtime cannot either: {}{}",
            reason(first),
            reason(&second),
            remedy(&reason(&second))
        ),
    };
    Error::Repository { what: "model.onnx".into(), problem }
}

/// Returns the reason why an engine refuses a file or fails.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Repository { problem, .. } => problem.clone(),
        Error::Internal { message, source } => format!("{message}: {source}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_names_the_engine_that_was_not_asked() {
        let refusal = |problem: &str| Error::Repository { what: "model.onnx".into(), problem: problem.into() };
        let said = |problem: &str| reason(&alone(refusal(problem), "tract", "ONNX Runtime"));
        let operator = said("node \"n\" (Foo): the built-in engine has no such operator");
        assert!(
            operator.ends_with("no such operator. Only tract was asked; the engine \"auto\" asks ONNX Runtime as well")
        );
        let blocks = said("a node (QuantizeLinear): blocked quantization is not supported");
        assert!(blocks.contains("To do: quantize") && blocks.contains("asks ONNX Runtime as well"), "{blocks}");
        assert_eq!(said("it is truncated or not an ONNX model"), "it is truncated or not an ONNX model");
        let both = reason(&neither(&refusal("no such"), refusal("Could not find an implementation for Pow(15)")));
        assert!(both.contains("ONNX Runtime cannot either") && both.contains("To do: convert"), "{both}");
        let broken = refusal("it is truncated or not an ONNX model");
        assert_eq!(reason(&neither(&broken, refusal("it is damaged"))), "it is damaged");
    }
}
