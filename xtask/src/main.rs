//! Tasks for Weir's developers.
//!
//!     cargo run --manifest-path xtask/Cargo.toml --target-dir target/xtask -- protos [--check]
//!
//! `protos` generates `src/api/grpc/pb` from `src/api/grpc/proto`, in Rust alone. The generated code is
//! checked in, so Weir itself builds without protoc. `--check` fails if the code on disk differs.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use prost::Message as _;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const COMMAND: &str = "cargo run --manifest-path xtask/Cargo.toml --target-dir target/xtask -- protos";

/// The files that define services; the others are imported by them.
const ENTRANCES: [&str; 4] = [
    "grpc_service.proto",
    "grpc/health/v1/health.proto",
    "tensorflow_serving/apis/prediction_service.proto",
    "tensorflow_serving/apis/model_service.proto",
];

/// Fields whose bytes are not copied.
const BYTES: [&str; 6] = [
    ".inference.ModelInferRequest.raw_input_contents",
    ".inference.ModelInferResponse.raw_output_contents",
    ".inference.InferTensorContents.bytes_contents",
    ".tensorflow.TensorProto.tensor_content",
    ".tensorflow.TensorProto.string_val",
    ".tensorflow.BytesList.value",
];

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["protos"] => protos(false),
        ["protos", "--check"] => protos(true),
        _ => {
            eprintln!("usage: {COMMAND} [--check]");
            Ok(ExitCode::from(2))
        }
    }
}

fn protos(check: bool) -> Result<ExitCode> {
    let grpc = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent folder")?.join("src/api/grpc");
    let (wanted, present) = (generate(&grpc.join("proto"))?, grpc.join("pb"));
    if !check {
        fs::create_dir_all(&present)?;
        for file in files(&present)? {
            fs::remove_file(file)?;
        }
        for (name, content) in &wanted {
            fs::write(present.join(name), content)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut found = BTreeMap::new();
    for file in files(&present)? {
        found.insert(file_name(&file)?, fs::read(&file)?);
    }
    if found == wanted {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("src/api/grpc/pb does not match src/api/grpc/proto; run\n  {COMMAND}");
    Ok(ExitCode::FAILURE)
}

/// Returns every file of the generated module, by name.
fn generate(protos: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut descriptors = protox::compile(ENTRANCES, [protos])?;
    // Positions in files and comments are not needed at run time.
    descriptors.file.iter_mut().for_each(|file| file.source_code_info = None);
    let folder = env::temp_dir().join(format!("weir-protos-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut builder = tonic_prost_build::configure()
        .out_dir(&folder)
        .include_file("mod.rs")
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .btree_map(".")
        .codec_path("crate::api::grpc::codec::Codec");
    for path in BYTES {
        builder = builder.bytes(path);
    }
    builder.compile_fds(descriptors.clone())?;
    let mut generated = BTreeMap::new();
    for file in files(&folder)? {
        // The generator also writes modules that hold nothing.
        generated.insert(file_name(&file)?, fs::read(&file)?);
    }
    fs::remove_dir_all(&folder)?;
    generated.insert("descriptors.bin".into(), descriptors.encode_to_vec());
    Ok(generated)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn file_name(path: &Path) -> Result<String> {
    Ok(path.file_name().ok_or("a file without a name")?.to_string_lossy().into_owned())
}
