//! `weir serve`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::engine::without_telemetry;
use crate::api::Shutdown;
use crate::app::{App, StopReason, bind};
use crate::config::{EngineChoice, GrpcListen, OpenToNetwork, OtelVariables, ServeConfig, ServeOptions};
use crate::engine::Engines;
use crate::error::{Error, Result};
use crate::repository::Storage;
use crate::telemetry::{self, LogControl};

/// The time in which what runs beside the server's own threads has to end.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Every setting can also be given as WEIR_<NAME> in the environment or as a key of the TOML file;
/// a flag wins over the environment, the environment over the file.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir serve\n  weir serve --models /srv/models --http 0.0.0.0:8080 --default-model mnist-mlp\n  WEIR_LOG=debug weir serve --access-log"
)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    options: ServeOptions,
}

/// Returns what the environment says of OpenTelemetry; what is no text says nothing.
fn otel_variables() -> OtelVariables {
    let texts =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| name.starts_with("OTEL_")).collect()
}

pub(super) fn run(args: ServeArgs) -> Result<ExitCode> {
    let mut options = args.options.with_file()?;
    options.check_executable = own_program();
    options.otel = Some(otel_variables());
    let config = options.resolve()?;
    if config.serving.engine != EngineChoice::Tract
        && Engines::new(config.serving.onnxruntime.clone()).finds_onnxruntime()
    {
        without_telemetry();
    }
    let (log, log_end) = telemetry::init(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("the runtime could not be started", error))?;
    let shutdown = runtime.block_on(serve(config, log));
    // Dropping it would wait for what does not end.
    runtime.shutdown_timeout(LAST_TASKS);
    let shutdown = shutdown?;
    match shutdown {
        Shutdown::Clean => Ok(ExitCode::SUCCESS),
        Shutdown::Forced => {
            tracing::error!("requests were still under way when the drain time was over");
            drop(log_end);
            // A compute thread may hang; waiting for it would be for ever.
            std::process::exit(1);
        }
    }
}

/// Returns this program's file, even if it was replaced since the start.
fn own_program() -> Option<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Some(running) } else { std::env::current_exe().ok() }
}

async fn serve(config: ServeConfig, log: LogControl) -> Result<Shutdown> {
    let (models, open) = (config.serving.models.display().to_string(), config.http.open);
    // Before anything is announced: a signal must never meet the default action.
    let listen_for = |kind| signal(kind).map_err(|error| Error::internal("signals cannot be received", error));
    let (mut terminate, mut interrupt) = (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
    // It means "read your files again", which the server does every second; by default it would end the process.
    let _hangup = listen_for(SignalKind::hangup())?;
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let grpc_is_same = config.grpc == GrpcListen::Same;
    // Whoever reads that it listens may count on it.
    Storage::from(config.serving.models.as_path()).check()?;
    let listeners = bind(&config).await?;
    let app = App::with_log(config, log)?;
    let address_of = |listener: &TcpListener| {
        listener.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
    };
    let address = address_of(&listeners.http);
    let grpc = match &listeners.grpc {
        Some(listener) => address_of(listener),
        None => if grpc_is_same { "same" } else { "off" }.to_owned(),
    };
    if let Some(listener) = &listeners.torchserve_management {
        let management = address_of(listener);
        tracing::info!(management, "listening for TorchServe's management clients");
    }
    if let Some(listener) = &listeners.ops {
        let ops = address_of(listener);
        tracing::info!(ops, "listening for probes and scrapers");
    }
    tracing::info!(address, grpc, models, version = env!("CARGO_PKG_VERSION"), "listening");
    if open.predictions {
        let OpenToNetwork { feedback, admin, .. } = open;
        tracing::warn!(feedback, admin, "whoever reaches this address may ask every model without a key; see --keys");
    }
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => StopReason::Terminate,
            _ = interrupt.recv() => StopReason::Interrupt,
        }
    };
    app.load()?;
    let state = app.state().clone();
    let mut running = std::pin::pin!(app.run(listeners, stop));
    tokio::select! {
        () = App::settled(state.predictor()) => {}
        shutdown = &mut running => return shutdown,
    }
    let available = state.predictor().catalog().servables().count();
    if available == 0 && state.predictor().catalog().is_ready() {
        tracing::info!("ready: no version is loaded yet; `weir models load NAME` loads one");
    } else if available == 0 {
        tracing::warn!(
            models,
            "no version serves; train one with `weir train mnist-mlp`, or put model.onnx into <models>/<name>/1/"
        );
    } else {
        tracing::info!(available, "ready: open {scheme}://{address}/");
    }
    running.await
}
