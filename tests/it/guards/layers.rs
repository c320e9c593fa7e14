//! Imports point down and never sideways: one package has no crate walls, so this test is the wall.

use std::path::{Path, PathBuf};

/// The layers, top first; the modules of one layer do not see each other.
const LAYERS: [&[&str]; 6] = [
    &["main", "cli", "app"],
    &["api"],
    &["serving", "trainer", "bench"],
    &["engine", "transform", "repository", "store"],
    &["config", "metrics", "telemetry"],
    &["error", "ids", "tensor", "signature", "stats", "layers", "simd"],
];

/// Edges inside a layer that are meant: composition sees everything, and words build on words.
fn is_allowed_inside(layer: usize, from: &str, to: &str) -> bool {
    layer == 0 || layer == LAYERS.len() - 1 || (from, to) == ("telemetry", "config")
}

fn layer_of(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| panic!("module {module} is in no layer"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40, "the sources were found");
    let mut edges = 0;
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let from = relative.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        if from == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let to: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if to.is_empty() || to == from || text[..at].ends_with('$') {
                continue;
            }
            let (above, below) = (layer_of(&from), layer_of(&to));
            edges += 1;
            let inside = above == below && is_allowed_inside(above, &from, &to);
            assert!(above < below || inside, "{}: {from} may not import {to}", relative.display());
        }
    }
    assert!(edges > 100, "the imports were read");
}

#[test]
fn no_source_file_outgrows_a_reader() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    // What is generated has no readers.
    files.retain(|file| !file.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/grpc/pb")));
    for file in files {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", file.display());
    }
}
