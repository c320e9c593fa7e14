//! Makes the bill of materials of the program, in CycloneDX JSON, from what `cargo tree` and `Cargo.lock` say: no network,
//! no dependency, and the same bytes for the same sources.
//!
//!     cargo tree --locked --target TARGET --edges normal,no-proc-macro --prefix depth --format '|{p}|{l}|{r}' \
//!         | sbom Cargo.lock > sbom.cdx.json

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

/// The version of CycloneDX.
const SPEC_VERSION: &str = "1.6";

fn main() -> ExitCode {
    let mut tree = String::new();
    let read = std::io::stdin().read_to_string(&mut tree).map_err(|error| format!("standard input: {error}"));
    let lock = std::env::args().nth(1).ok_or_else(|| "usage: sbom Cargo.lock < TREE".to_owned());
    let lock = lock.and_then(|path| std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}")));
    let made = read.and(lock).and_then(|lock| document(&tree, &lock));
    let written = made.and_then(|text| std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            drop(writeln!(std::io::stderr(), "sbom: {problem}"));
            ExitCode::FAILURE
        }
    }
}

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Crate {
    name: String,
    version: String,
    license: String,
    repository: String,
}

impl Crate {
    /// Reads `name v1.2.3 (note)|licence|repository`, and after the last part perhaps ` (*)`.
    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix(" (*)").unwrap_or(line);
        let mut parts = line.split('|');
        let (package, license, repository) = (parts.next()?, parts.next()?, parts.next()?);
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let license = license.trim().replace('/', " OR ");
        Some(Self { name: name.into(), version: version.into(), license, repository: repository.trim().into() })
    }

    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// Returns the bill of materials. The first crate of the tree is the program; the others are its components.
///
/// # Errors
/// In words, when a line of the tree is not in the form that is asked for above.
pub(crate) fn document(tree: &str, lock: &str) -> Result<String, String> {
    let checksums = checksums(lock);
    let mut crates: BTreeMap<String, Crate> = BTreeMap::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.trim().is_empty()) {
        let parsed =
            line.split_once('|').and_then(|(depth, rest)| Some((depth.parse::<usize>().ok()?, Crate::parse(rest)?)));
        let (depth, found) =
            parsed.ok_or_else(|| format!("expected a line such as 1|name v1.0.0|MIT|, got {line:?}"))?;
        let reference = found.reference();
        if depth > above.len() {
            return Err(format!("the depth of {line:?} does not follow from the line before"));
        }
        above.truncate(depth);
        if let Some(parent) = above.last() {
            edges.entry(parent.clone()).or_default().insert(reference.clone());
        }
        edges.entry(reference.clone()).or_default();
        above.push(reference.clone());
        crates.insert(reference, found);
    }
    let root = first(tree)?;
    let program = crates.remove(&root).ok_or("the tree is empty")?;
    Ok(write(&program, &crates, &edges, &checksums))
}

/// Returns the crate at the head of the tree.
fn first(tree: &str) -> Result<String, String> {
    let first = tree.lines().next().and_then(|line| line.split_once('|')).and_then(|(_, rest)| Crate::parse(rest));
    first.map(|first| first.reference()).ok_or_else(|| "the tree is empty".to_owned())
}

/// Returns the SHA-256 of each package that the lock file has one of.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |name: &str| {
            let lines =
                package.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
            lines.map(str::to_owned).next()
        };
        if let (Some(name), Some(version), Some(checksum)) = (value("name"), value("version"), value("checksum")) {
            all.insert(format!("pkg:cargo/{name}@{version}"), checksum);
        }
    }
    all
}

fn write(
    program: &Crate,
    crates: &BTreeMap<String, Crate>,
    edges: &BTreeMap<String, BTreeSet<String>>,
    checksums: &BTreeMap<String, String>,
) -> String {
    let components: Vec<String> =
        crates.iter().map(|(reference, found)| component("library", found, checksums.get(reference), "    ")).collect();
    let dependency = |(from, to): (&String, &BTreeSet<String>)| {
        let to: Vec<String> = to.iter().map(|reference| text(reference)).collect();
        format!("    {{\"ref\": {}, \"dependsOn\": [{}]}}", text(from), to.join(", "))
    };
    let dependencies: Vec<String> = edges.iter().map(dependency).collect();
    format!(
        "{{\n  \"$schema\": \"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json\",\n  \"bomFormat\": \"CycloneDX\",\n  \
         \"specVersion\": \"{SPEC_VERSION}\",\n  \"version\": 1,\n  \"metadata\": {{\"component\":\n{}\n  }},\n  \
         \"components\": [\n{}\n  ],\n  \"dependencies\": [\n{}\n  ]\n}}\n",
        component("application", program, None, "    "),
        components.join(",\n"),
        dependencies.join(",\n")
    )
}

fn component(kind: &str, found: &Crate, checksum: Option<&String>, indent: &str) -> String {
    let reference = text(&found.reference());
    let mut line = format!("{indent}{{\"type\": \"{kind}\", \"bom-ref\": {reference}, \"name\": {}", text(&found.name));
    let mut add = |name: &str, value: String| line.push_str(&format!(", \"{name}\": {value}"));
    add("version", text(&found.version));
    add("purl", reference);
    if !found.license.is_empty() {
        add("licenses", format!("[{{\"expression\": {}}}]", text(&found.license)));
    }
    if let Some(checksum) = checksum {
        add("hashes", format!("[{{\"alg\": \"SHA-256\", \"content\": {}}}]", text(checksum)));
    }
    if found.repository.starts_with("https://") {
        add("externalReferences", format!("[{{\"type\": \"vcs\", \"url\": {}}}]", text(&found.repository)));
    }
    line + "}"
}

/// Returns a text as JSON has it.
fn text(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => json.push(plain),
        }
    }
    json + "\""
}
