//! `weir bench http`: runs the steps and prints their figures.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::super::paint::Paint;
use super::http_args::{Course, HttpArgs, SEARCH_PRECISION};
use super::live::{Bar, Expected};
use super::table;
use super::{Output, exit_code, limits, stop_on_signal};
use crate::bench::{
    HttpTarget, Live, Load, Plot, PlotStep, REPORT_SCHEMA, RateSearch, Report, Slo, Step, Stop, Target, locate,
    run_step,
};
use crate::error::Result;

/// One run of the command.
struct Run<'a> {
    args: &'a HttpArgs,
    target: Arc<Target>,
    address: SocketAddr,
    output: Output,
    stop: Stop,
    steps: Vec<Step>,
    /// The load in words.
    how: String,
}

pub(super) fn run(args: &HttpArgs) -> Result<ExitCode> {
    let target = Arc::new(args.target()?);
    let course = args.course()?;
    let loads = match &course {
        Course::One(load) => std::slice::from_ref(load),
        Course::Sweep(loads) => loads,
        Course::Search { start } => &[args.open(*start)],
    };
    let many = !matches!(course, Course::One(_));
    loads.iter().try_for_each(|load| args.plan(*load, many).validate())?;
    let most = loads.iter().map(Load::connections).max().unwrap_or(1) as u64;
    // If the system refuses more, connections fail and are counted.
    drop(rlimit::increase_nofile_limit(most + 256));
    let address = locate(&target, args.timeout)?;
    let output = Output::open(&args.output)?;
    let how = in_words(args, &course);
    let mut run = Run { args, target, address, output, stop: stop_on_signal()?, steps: Vec::new(), how };
    run.say_what()?;
    let (slo_met, found_rate) = match &course {
        Course::One(load) => (run.single(*load)?, None),
        Course::Sweep(loads) => (run.sweep(loads)?, None),
        Course::Search { start } => run.search(*start)?,
    };
    run.finish(slo_met, found_rate, args.plan(loads[0], many).warmup)
}

impl Run<'_> {
    fn paint(&self) -> Paint {
        Paint(self.output.is_terminal())
    }

    fn say_what(&self) -> Result<()> {
        let body = self.target.body().map_or(String::new(), |(kind, bytes)| match self.target.variants() {
            1 => format!("   {bytes} bytes of {kind}"),
            count => format!("   {count} bodies in turn, {bytes} bytes"),
        });
        self.output.say(&format!("{} {}{body}\n{}\n\n", self.target.method(), self.target.url(), self.how))
    }

    /// Runs a step and judges it; `None` without a service level.
    fn step(&mut self, load: Load, many: bool) -> Result<Option<bool>> {
        let plan = self.args.plan(load, many);
        let live = Arc::new(Live::default());
        let name = match load {
            Load::Closed { connections } => format!("{connections} connections"),
            Load::Open { rate, .. } => format!("{} requests/s", table::rate(rate)),
        };
        let expected = Expected { name, warmup: plan.warmup, duration: plan.duration, requests: plan.requests };
        let bar = Bar::show(expected, live.clone(), self.args.output.quiet);
        let mut step = run_step(&self.target, self.address, &plan, &self.stop, &live)?;
        drop(bar);
        let met = self.args.slo.as_ref().map(|slo| step.judge(slo));
        self.steps.push(step);
        Ok(met)
    }

    fn single(&mut self, load: Load) -> Result<Option<bool>> {
        let met = self.step(load, false)?;
        let step = &self.steps[0];
        self.output.say(&table::step(step, self.paint()))?;
        if let Some(verdict) = &step.slo {
            self.output.say(&format!("\n{}", table::verdict(verdict, self.paint())))?;
        }
        Ok(met)
    }

    /// A step as a row of the table.
    fn row(&mut self, load: Load) -> Result<Option<bool>> {
        let met = self.step(load, true)?;
        if let Some(step) = self.steps.last() {
            self.output.say(&table::row(step, self.paint()))?;
        }
        Ok(met)
    }

    fn sweep(&mut self, loads: &[Load]) -> Result<Option<bool>> {
        let is_open = matches!(loads[0], Load::Open { .. });
        self.output.say(&table::heading(if is_open { "rate/s" } else { "connections" }, "answers/s"))?;
        let mut best = None;
        for load in loads {
            if self.row(*load)? == Some(true) {
                best = self.steps.last().map(|step| step.load);
            }
            if self.stop.is_asked() {
                break;
            }
        }
        self.problems()?;
        let Some(slo) = &self.args.slo else { return Ok(None) };
        let said = match best {
            Some(Load::Closed { connections }) => format!("the last step that meets it has {connections} connections"),
            Some(Load::Open { rate, .. }) => format!("the last rate that meets it is {}/s", table::rate(rate)),
            None => "no step meets it".into(),
        };
        self.output.say(&format!("\nslo          {slo}: {said}\n"))?;
        Ok(Some(best.is_some()))
    }

    fn search(&mut self, start: f64) -> Result<(Option<bool>, Option<f64>)> {
        self.output.say(&table::heading("rate/s", "answers/s"))?;
        let mut search = RateSearch::new(start, SEARCH_PRECISION);
        while let Some(rate) = search.next_trial() {
            let met = self.row(self.args.open(rate))?;
            if self.stop.is_asked() {
                break;
            }
            search.report(met == Some(true));
        }
        self.problems()?;
        let slo = self.args.slo.as_ref().map(Slo::to_string).unwrap_or_default();
        let said = match search.best() {
            Some(rate) => format!("the largest rate that meets it is {} requests/s", table::rate(rate)),
            None => "no rate meets it".into(),
        };
        self.output.say(&format!("\nslo          {slo}: {said}\n"))?;
        Ok((Some(search.best().is_some()), search.best()))
    }

    /// Prints the first error below a table, which has no room for it.
    fn problems(&self) -> Result<()> {
        let first = self.steps.iter().find_map(|step| step.first_problem.as_ref());
        first.map_or(Ok(()), |problem| self.output.say(&format!("\nfirst error  {problem}\n")))
    }

    fn finish(self, slo_met: Option<bool>, found_rate: Option<f64>, warmup: Duration) -> Result<ExitCode> {
        let interrupted = self.stop.is_asked();
        let picture = self.picture();
        let report = Report {
            schema: REPORT_SCHEMA,
            kind: "http",
            weir_version: env!("CARGO_PKG_VERSION"),
            target: HttpTarget {
                url: self.target.url().to_owned(),
                method: self.target.method().to_string(),
                content_type: self.target.body().map(|(kind, _)| kind.to_owned()),
                bodies: self.target.body().map_or(0, |_| self.target.variants()),
                threads: self.args.threads,
                timeout_seconds: self.args.timeout.as_secs_f64(),
            },
            warmup_seconds: warmup.as_secs_f64(),
            steps: self.steps,
            slo: self.args.slo.as_ref().map(Slo::to_string),
            slo_met,
            found_rate,
            interrupted,
        };
        self.output.finish(&report, &picture)?;
        Ok(exit_code(slo_met, interrupted))
    }

    fn picture<'a>(&'a self) -> Plot {
        let draw = |step: &Step| {
            Some(PlotStep {
                load: match step.load {
                    Load::Closed { connections } => connections.to_string(),
                    Load::Open { rate, .. } => table::rate(rate),
                },
                throughput: step.good_per_second,
                percentiles: step.latency_ms?,
                curve: step.latency_curve.clone(),
                bins: step.latencies.bins(60),
            })
        };
        // A search jumps and tries a rate again; its plot is in order and shows the trial that counted.
        let again = |later: &Step, step: &Step| later.load == step.load;
        let counted = |(index, step): (usize, &'a Step)| {
            (!self.steps[index + 1..].iter().any(|later| again(later, step))).then_some(step)
        };
        let mut steps: Vec<&Step> = self.steps.iter().enumerate().filter_map(counted).collect();
        let load = |step: &Step| match step.load {
            Load::Closed { .. } => 0.0,
            Load::Open { rate, .. } => rate,
        };
        steps.sort_by(|a, b| load(a).total_cmp(&load(b)));
        let open = self.steps.first().is_some_and(|step| matches!(step.load, Load::Open { .. }));
        Plot {
            title: format!("{} {}", self.target.method(), self.target.url()),
            subtitle: self.how.clone(),
            throughput_unit: "good answers/s",
            load_name: if open { "rate" } else { "connections" },
            limits: limits(self.args.slo.as_ref()),
            steps: steps.into_iter().filter_map(draw).collect(),
        }
    }
}

fn in_words(args: &HttpArgs, course: &Course) -> String {
    let (load, many) = match course {
        Course::One(load) => (*load, false),
        Course::Sweep(loads) => (loads[0], true),
        Course::Search { start } => (args.open(*start), true),
    };
    let plan = args.plan(load, many);
    let loop_kind = match (load, many) {
        (Load::Closed { .. }, true) => "closed loop".into(),
        (Load::Closed { connections }, false) => format!("closed loop, connections {connections}"),
        (Load::Open { connections, .. }, true) => format!("open loop, at most {connections} connections"),
        (Load::Open { rate, arrivals, connections }, false) => {
            let spacing = format!("{arrivals:?}").to_lowercase();
            let rate = table::rate(rate);
            format!("open loop, {rate} requests/s with {spacing} arrivals, at most {connections} connections")
        }
    };
    let length = match (plan.requests, plan.duration) {
        (Some(requests), _) => format!("{requests} requests"),
        (None, duration) => format!("{:?}", duration.unwrap_or_default()),
    };
    let each = if many { " for each step" } else { "" };
    let warmup = if plan.warmup.is_zero() { String::new() } else { format!(" after {:?} of warm-up", plan.warmup) };
    format!("{loop_kind}, {length}{each}{warmup}")
}
