//! Fuzzing of every parser, on the stable compiler: a part of the tests, so it needs no build of its own.
//!
//! `fuzz/run [SECONDS [TARGET]]` mutates the seeds of each target for a time. There is no instrumentation; what guides it
//! is the outcome: an input that is refused, or taken, in words that no other input had becomes a seed itself. A panic, an
//! answer that is the server's fault, or an input that takes too long is kept in `fuzz/found`, from where it goes into
//! `fuzz/seeds/TARGET` together with the change that mends it. The tests replay the seeds, with a few mutants each.

mod mutator;
mod targets;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use mutator::Mutator;
use targets::{Target, targets};

/// The mutants of each target that the tests try.
const FEW: usize = 60;
/// The longest that one input may take, also in an unoptimised build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most inputs that are kept as seeds.
const MAX_SEEDS: usize = 2000;
/// The memory that may be taken beyond what was there before a target began.
const MAX_GROWTH_BYTES: u64 = 1 << 30;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Returns the memory of this process.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

/// The inputs of a target, those that were in the tree and those that were found.
struct Fuzzer {
    target: Target,
    seeds: Vec<Vec<u8>>,
    outcomes: HashSet<String>,
    before: u64,
    runs: u64,
}

impl Fuzzer {
    fn new(target: Target) -> Self {
        let kept = std::fs::read_dir(here().join("seeds").join(target.name)).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = kept.map(|entry| entry.path()).collect();
        paths.sort();
        let kept = paths.iter().map(|path| std::fs::read(path).unwrap());
        let seeds: Vec<Vec<u8>> = target.seeds.iter().cloned().chain(kept).collect();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        Self { target, seeds, outcomes: HashSet::new(), before: resident_bytes(), runs: 0 }
    }

    /// Tries one input.
    fn try_one(&mut self, input: &[u8]) {
        self.runs += 1;
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        let problem = match &outcome {
            Err(_) => Some("panicked".to_owned()),
            Ok(Err(problem)) => Some(problem.clone()),
            Ok(Ok(_)) if began.elapsed() > PATIENCE => Some(format!("took {} s", began.elapsed().as_secs())),
            Ok(Ok(_)) => None,
        };
        if let Some(problem) = problem {
            let name = weir::repository::sha256_hex(input);
            let path = here().join("found").join(self.target.name).join(&name[..16]);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, input).unwrap();
            panic!("{}: {problem}; the input is in {}", self.target.name, path.display());
        }
        if self.runs.is_multiple_of(256) {
            let growth = resident_bytes().saturating_sub(self.before);
            assert!(growth < MAX_GROWTH_BYTES, "{}: {growth} bytes more after {} runs", self.target.name, self.runs);
        }
        if let Ok(Ok(outcome)) = outcome
            && self.outcomes.insert(shape(&outcome))
            && self.seeds.len() < MAX_SEEDS
        {
            self.seeds.push(input.to_vec());
        }
    }

    fn try_seeds(&mut self) {
        let given = self.seeds.clone();
        given.iter().for_each(|seed| self.try_one(seed));
        // Those that were given are no news.
        self.seeds = given;
    }

    fn try_mutants(&mut self, rng: &mut ChaCha8Rng, goes_on: impl Fn(u64) -> bool) {
        let mut mutants = 0;
        while goes_on(mutants) {
            let mutant = Mutator { rng, words: self.target.words }.mutate(&self.seeds);
            self.try_one(&mutant);
            mutants += 1;
        }
    }
}

/// Returns what kind of outcome it is: without the numbers and the texts that it quotes.
fn shape(outcome: &str) -> String {
    let mut is_quoted = false;
    let mut shape = String::new();
    for character in outcome.chars().take(300) {
        is_quoted ^= matches!(character, '"' | '`');
        if !is_quoted && character.is_ascii_alphabetic() {
            shape.push(character);
        }
    }
    shape
}

#[test]
fn every_parser_survives_its_seeds_and_some_mutants() {
    for target in targets() {
        let mut rng = ChaCha8Rng::seed_from_u64(target.name.bytes().map(u64::from).sum());
        let mut fuzzer = Fuzzer::new(target);
        fuzzer.try_seeds();
        fuzzer.try_mutants(&mut rng, |mutants| mutants < FEW as u64);
    }
}

#[test]
#[ignore = "takes as long as one says: fuzz/run"]
fn for_a_time() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let number = |name: &str, default: u64| variable(name).map_or(default, |value| value.parse().unwrap());
    let (seconds, only) = (number("WEIR_FUZZ_SECONDS", 10), variable("WEIR_FUZZ_TARGET"));
    let seed = number("WEIR_FUZZ_SEED", u64::from(std::process::id()));
    eprintln!("seed {seed}");
    let mut count = 0;
    for target in targets().into_iter().filter(|target| only.as_ref().is_none_or(|name| name == target.name)) {
        count += 1;
        let (name, until) = (target.name, Instant::now() + Duration::from_secs(seconds));
        let mut fuzzer = Fuzzer::new(target);
        let given = fuzzer.seeds.len();
        fuzzer.try_seeds();
        fuzzer.try_mutants(&mut ChaCha8Rng::seed_from_u64(seed), |_| Instant::now() < until);
        let (runs, outcomes) = (fuzzer.runs, fuzzer.outcomes.len());
        eprintln!("{name:12} {runs:8} runs of {given} seeds, {outcomes} kinds of outcomes");
    }
    assert!(count > 0, "no target is called {only:?}");
}
