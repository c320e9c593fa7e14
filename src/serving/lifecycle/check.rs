//! Tries a model in a child process before the server trusts it: there it may crash, hang or eat
//! memory. The child is this program as `weir check-model`.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded, select};
use serde::Deserialize;

use crate::config::CheckConfig;
use crate::engine::{EngineKind, Engines, Hints, Trial};
use crate::error::{Error, Result};
use crate::files;
use crate::repository::sha256_hex;

/// The most that is read of the child's answer and of its messages.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
const MAX_WORDS_BYTES: u64 = 4 << 10;

/// The time between two looks at a child that has answered and not ended yet.
const POLL: Duration = Duration::from_millis(1);

/// The revision of what a check and the measurements of a model find out; those of other revisions are made again. It goes up
/// with every change of what is found out, and with every change of the kernels: new ones need to be checked and measured.
pub(super) const REVISION: u32 = 3;

/// The most checks that are remembered; beyond it all are forgotten and made again.
const MAX_REMEMBERED: usize = 4096;

/// Runs the checks.
#[derive(Debug, Clone)]
pub struct Checker {
    config: CheckConfig,
    /// The folder that remembers the files that have passed.
    remembered: PathBuf,
    /// Ends when the server stops.
    stopped: Receiver<()>,
    is_told: Arc<AtomicBool>,
}

/// The child's answer, one line of JSON.
#[derive(Debug, Deserialize)]
struct Report {
    /// The parts of its sandbox; `None` if it was to have none.
    sandbox: Option<Vec<String>>,
    #[serde(flatten)]
    answer: Answer,
}

/// A problem, or what the trial found.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Problem(String),
    Trial(Trial),
}

/// The end of a check.
enum End {
    Exited { status: ExitStatus, answer: Vec<u8>, words: String },
    TimedOut,
    Stopped,
}

impl Checker {
    /// Makes a checker that remembers in `<state>/checked` and gives up when `stopped` ends.
    pub fn new(config: CheckConfig, stopped: Receiver<()>) -> Self {
        Self { remembered: config.state_dir.join("checked"), config, stopped, is_told: Arc::default() }
    }

    /// Loads a file, of which `sha256` is the hash, in this engine and tries it on example inputs, elsewhere. Returns what
    /// the trial found.
    ///
    /// # Errors
    /// [`Error::Repository`] saying what became of it, [`Error::ShuttingDown`] when the server stops,
    /// [`Error::Internal`] when no child can be started.
    pub fn check(
        &self,
        engines: &Engines,
        engine: EngineKind,
        onnx: &[u8],
        sha256: &str,
        hints: &Hints,
    ) -> Result<Trial> {
        let runtime = if engine == EngineKind::OnnxRuntime { engines.onnxruntime()? } else { "" };
        let hints = if hints.is_empty() { String::new() } else { serde_json::to_string(hints).unwrap_or_default() };
        let known = if hints.is_empty() { String::new() } else { format!("-{}", &sha256_hex(hints.as_bytes())[..12]) };
        let program = env!("CARGO_PKG_VERSION");
        let mark = format!("{sha256}-{}{runtime}{known}-weir{program}-{REVISION}", engine.name());
        if let Some(trial) = self.recall(&mark) {
            return Ok(trial);
        }
        let begun = Instant::now();
        let memory = self.config.memory_bytes.unwrap_or((2 << 30) + 4 * onnx.len() as u64);
        let child = self.spawn(engines, engine, memory, &hints)?;
        tracing::debug!(engine = engine.name(), bytes = onnx.len(), "a model is being checked");
        let end = self.attend(child, onnx).map_err(|error| Error::internal("a model could not be checked", error))?;
        let judged = match end {
            End::Stopped => return Err(Error::ShuttingDown),
            End::TimedOut => Err(format!(
                "it was not loaded and run within {} s (check-timeout-seconds)",
                self.config.timeout.as_secs_f64()
            )),
            End::Exited { status, answer, words } => {
                tracing::debug!(%status, words, "the check of a model has ended");
                self.tell_sandbox(&answer);
                judge(status, &answer, &words, memory)
            }
        };
        tracing::debug!(engine = engine.name(), elapsed_ms = begun.elapsed().as_millis() as u64, ?judged, "checked");
        let trial = judged.map_err(|problem| Error::Repository { what: "model.onnx".into(), problem })?;
        self.remember(&mark, &trial);
        Ok(trial)
    }

    fn spawn(&self, engines: &Engines, engine: EngineKind, memory: u64, hints: &str) -> Result<Child> {
        let mut command = Command::new(&self.config.executable);
        command.args(["check-model", "--engine", engine.name()]);
        command.arg("--memory-bytes").arg(memory.to_string());
        command.arg("--cpu-seconds").arg(self.config.timeout.as_secs_f64().ceil().to_string());
        command.arg("--max-tensor-bytes").arg(engines.bounds().tensor_bytes.to_string());
        command.arg("--hints").arg(hints);
        if self.config.sandbox {
            command.arg("--sandbox");
        }
        if let Some(file) = engines.onnxruntime_file() {
            command.arg("--onnxruntime").arg(file);
        }
        // The model's process sees nothing of ours but what its engine needs. The allocator would
        // otherwise claim a gigabyte at once, which counts against the limit.
        command.env_clear().env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
        for name in ["LD_LIBRARY_PATH", "ORT_DYLIB_PATH", "ORT_DISABLE_TELEMETRY"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
            .spawn()
            .map_err(|error| Error::internal("a model could not be checked: no process can be started", error))
    }

    /// Feeds the child, reads its answer and waits for its end; a child that is late is killed.
    fn attend(&self, mut child: Child, onnx: &[u8]) -> io::Result<End> {
        let deadline = Instant::now() + self.config.timeout;
        let (mut input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (heard, hear) = bounded(1);
        std::thread::scope(|scope| {
            // A child that ends early does not read to the end.
            scope.spawn(move || input.take().map(|mut input| input.write_all(onnx)));
            let words = scope.spawn(move || read_head(errors, MAX_WORDS_BYTES));
            scope.spawn(move || heard.send(read_head(output, MAX_ANSWER_BYTES)));
            let answer = select! {
                recv(hear) -> answer => answer.ok(),
                recv(self.stopped) -> _ => None,
                default(self.config.timeout) => None,
            };
            let status = match answer {
                Some(_) => self.wait(&mut child, deadline)?,
                None => None,
            };
            let Some(status) = status else {
                child.kill()?;
                child.wait()?;
                return Ok(if self.is_stopped() { End::Stopped } else { End::TimedOut });
            };
            let words = String::from_utf8_lossy(&words.join().unwrap_or_default()).into_owned();
            Ok(End::Exited { status, answer: answer.unwrap_or_default(), words })
        })
    }

    /// Waits for the end of a child that has answered.
    fn wait(&self, child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            let stopped = self.stopped.recv_timeout(POLL) == Err(RecvTimeoutError::Disconnected);
            if stopped || Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Says once which parts of the sandbox this kernel has.
    fn tell_sandbox(&self, answer: &[u8]) {
        let Ok(Report { sandbox: Some(parts), .. }) = serde_json::from_slice(answer) else { return };
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        match parts.is_empty() {
            false => tracing::info!(parts = parts.join(", "), "models are tried in a sandbox"),
            true => tracing::warn!("models are tried without a sandbox: this kernel offers none to the server"),
        }
    }

    /// Returns what an earlier check of the same file found.
    fn recall(&self, mark: &str) -> Option<Trial> {
        serde_json::from_slice(&files::read(&self.remembered.join(mark), MAX_ANSWER_BYTES).ok()?).ok()
    }

    /// A state folder that cannot be written costs the next start a check and nothing else.
    fn remember(&self, mark: &str, trial: &Trial) {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.remembered)?;
            if fs::read_dir(&self.remembered)?.count() >= MAX_REMEMBERED {
                fs::remove_dir_all(&self.remembered)?;
                fs::create_dir_all(&self.remembered)?;
            }
            files::replace(&self.remembered.join(mark), &serde_json::to_vec(trial)?)
        };
        if let Err(error) = write() {
            tracing::debug!(folder = %self.remembered.display(), %error, "a passed check is not remembered");
        }
    }
}

/// Returns the head of a child's output; the rest is read and dropped, so that the child never waits for us.
fn read_head(from: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut head = Vec::new();
    if let Some(mut from) = from {
        // What was heard before a pipe broke still counts.
        drop(from.by_ref().take(limit).read_to_end(&mut head));
        drop(io::copy(&mut from, &mut io::sink()));
    }
    head
}

/// Returns what the child of a model found, or the fault that its end shows.
///
/// # Errors
/// The fault, in words.
fn judge(status: ExitStatus, answer: &[u8], words: &str, memory: u64) -> std::result::Result<Trial, String> {
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    const SIGXFSZ: i32 = 25;
    let too_large = || format!("it needs more memory than {memory} bytes (check-memory-bytes)");
    Err(match (status.signal(), status.success()) {
        (Some(SIGKILL), _) => "the system killed its check, as it does for want of memory".into(),
        (Some(SIGXCPU), _) => "it takes too long (check-timeout-seconds)".into(),
        (Some(SIGXFSZ), _) => "it makes the engine write a file".into(),
        (Some(_), _) if words.contains("overflowed its stack") => {
            "it is nested or chained so deeply that the engine's stack overflows".into()
        }
        (Some(_), _) if is_out_of_memory(words) => too_large(),
        (Some(signal), _) => format!("it crashes the engine (signal {signal})"),
        (None, true) => match serde_json::from_slice::<Report>(answer).map(|report| report.answer) {
            Ok(Answer::Problem(problem)) if is_out_of_memory(&problem) => too_large(),
            Ok(Answer::Problem(problem)) => problem,
            Ok(Answer::Trial(trial)) => return Ok(trial),
            Err(_) => "its check gave no answer".into(),
        },
        (None, false) => format!("its check failed with exit code {}", status.code().unwrap_or(-1)),
    })
}

/// Returns true if the messages are those of an allocator that got no memory.
fn is_out_of_memory(words: &str) -> bool {
    let words = words.to_lowercase();
    ["memory allocation of", "bad_alloc", "out of memory", "failed to allocate"]
        .iter()
        .any(|phrase| words.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Independence;

    #[test]
    fn every_end_of_a_child_is_a_reason_of_its_own() {
        let signal = ExitStatus::from_raw;
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let found = r#"{"trial":{"example":null,"independence":{"kind":"no_batch"},"samples":1}}"#;
        for (status, answer, words, expected) in [
            (exit(0), "{\"problem\":\"unknown op\"}", "", "unknown op"),
            (exit(0), "{\"problem\":\"Failed to allocate memory for 4000 bytes\"}", "", "more memory than 7 bytes"),
            (exit(0), "", "", "no answer"),
            (exit(2), "", "", "exit code 2"),
            (signal(9), "", "", "want of memory"),
            (signal(24), "", "", "too long"),
            (signal(6), "", "thread 'model' has overflowed its stack", "stack overflows"),
            (signal(6), "", "memory allocation of 4000 bytes failed", "more memory than 7 bytes"),
            (signal(11), found, "", "signal 11"),
        ] {
            let problem = judge(status, answer.as_bytes(), words, 7).unwrap_err();
            assert!(problem.contains(expected), "{status}: {problem}");
        }
        assert_eq!(judge(exit(0), format!("{found}\n").as_bytes(), "", 7).unwrap().independence, Independence::NoBatch);
    }
}
