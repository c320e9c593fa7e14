//! Imports point down, never sideways and never in circles: one package has no crate walls, so these tests are them.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Token, sources};

/// The layers, top first; the modules of one layer do not see each other.
const LAYERS: [&[&str]; 7] = [
    &["main", "cli", "app"],
    &["api"],
    &["monitoring"],
    &["serving", "trainer", "bench"],
    &["engine", "transform", "repository", "store", "report", "outbound"],
    &["config", "metrics", "telemetry", "trust"],
    &["error", "external", "files", "ids", "keys", "tensor", "signature", "signing", "stats", "layers", "simd", "wire"],
];

/// Circles between modules that are allowed, by the folder whose modules they join. The list only shrinks; it is empty.
const CIRCLES: &[(&str, &[&str])] = &[];

/// Edges inside a layer that are meant: composition sees everything, and words build on words.
fn is_allowed_inside(layer: usize, from: &str, to: &str) -> bool {
    layer == 0 || layer == LAYERS.len() - 1 || (from, to) == ("telemetry", "config")
}

fn layer_of(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| panic!("module {module} is in no layer"))
}

#[test]
fn imports_point_down() {
    let edges = Imports::of_the_crate().edges();
    let first = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    for (from, to) in &edges {
        let (area, other) = (first(from), first(to));
        if from.is_empty() || to.is_empty() || area == other {
            continue;
        }
        let (above, below) = (layer_of(&area), layer_of(&other));
        let is_fine = above < below || (above == below && is_allowed_inside(above, &area, &other));
        assert!(is_fine, "{from} may not import {to}: {area} is not above {other}");
    }
    assert!(edges.len() > 500, "the imports were read");
}

#[test]
fn modules_of_a_folder_form_no_circles() {
    let found = circles(&Imports::of_the_crate().edges());
    let listed: BTreeSet<Circle> = CIRCLES
        .iter()
        .map(|(folder, modules)| ((*folder).to_owned(), modules.iter().map(|module| (*module).to_owned()).collect()))
        .collect();
    let new: Vec<&Circle> = found.difference(&listed).collect();
    let gone: Vec<&Circle> = listed.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "new circles: {new:?}\nlisted, but gone: {gone:?}");
}

#[test]
fn re_exports_and_relative_paths_are_followed() {
    let code = [
        ("", "pub mod a;"),
        ("a", "pub use one::One; use self::two as second; pub mod one; pub mod two; pub mod three;"),
        ("a::one", "use super::{two::{self, Two}, Third};"),
        ("a::two", "fn f() { crate::a::One::new(); super::second::g(); Vec::<One>::new() }"),
        ("a::three", "use super::one as first; fn f() { first::h() }"),
    ];
    let imports = Imports::read(code.iter().map(|(module, code)| ((*module).to_owned(), tokens(code))).collect());
    let edges = imports.edges();
    let inside: Vec<(&str, &str)> =
        edges.iter().filter(|(from, _)| from.starts_with("a::")).map(|(from, to)| (&from[3..], &to[1..])).collect();
    assert_eq!(inside, [("one", ""), ("one", "::two"), ("three", "::one"), ("two", "::one")]);
    assert_eq!(circles(&edges), [("a".into(), ["one".into(), "two".into()].into())].into());
}

fn tokens(code: &str) -> Vec<String> {
    let source = super::source::Source { file: "".into(), text: String::new(), code: code.to_owned() };
    source.tokens().iter().map(|token| token.text.to_owned()).collect()
}

/// A folder, and modules in it that import each other.
type Circle = (String, BTreeSet<String>);

/// All paths that the modules of a crate name.
struct Imports {
    /// The names that `use` brings into a module, and the paths behind them.
    names: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Every path that a module names.
    paths: BTreeMap<String, BTreeSet<Vec<String>>>,
}

impl Imports {
    fn of_the_crate() -> Self {
        let sources = sources();
        let text = |tokens: Vec<Token<'_>>| tokens.iter().map(|token| token.text.to_owned()).collect();
        Self::read(sources.iter().map(|(module, source)| (module.clone(), text(source.tokens()))).collect())
    }

    fn read(modules: BTreeMap<String, Vec<String>>) -> Self {
        let (mut names, mut paths) = (BTreeMap::new(), BTreeMap::new());
        for (module, tokens) in modules {
            let (imported, named): (&mut BTreeMap<_, _>, &mut BTreeSet<_>) =
                (names.entry(module.clone()).or_default(), paths.entry(module).or_default());
            let mut at = 0;
            while at < tokens.len() {
                if tokens[at] == "use" && tokens.get(at + 1).is_some_and(|next| next != "<") {
                    at = use_tree(&tokens, at + 1, &[], &mut |name, path: Vec<String>| {
                        named.insert(path.clone());
                        imported.insert(name, path);
                    });
                    continue;
                }
                let path = path_at(&tokens, at);
                at += (2 * path.len()).max(2) - 1;
                if path.len() > 1 {
                    named.insert(path);
                }
            }
        }
        Self { names, paths }
    }

    /// Returns all pairs of a module and another one that it names something of.
    fn edges(&self) -> BTreeSet<(String, String)> {
        let named = self.paths.iter().flat_map(|(module, paths)| paths.iter().map(move |path| (module, path)));
        let resolved = named.filter_map(|(module, path)| Some((module.clone(), self.resolve(module, path, 0)?)));
        resolved.filter(|(from, to)| from != to).collect()
    }

    /// Returns the module that holds what `path` means in `module`; `None` if that is another crate's.
    fn resolve(&self, module: &str, path: &[String], depth: usize) -> Option<String> {
        let (mut place, mut rest) = (module.to_owned(), path);
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => place = String::new(),
                "self" => {}
                "super" => place = parent(&place).to_owned(),
                _ => break,
            }
            rest = others;
        }
        let is_absolute = rest.len() < path.len();
        if !is_absolute && !self.knows(&place, rest.first()?) {
            return None;
        }
        while let Some((first, others)) = rest.split_first() {
            let child = join(&place, first);
            if self.names.contains_key(&child) {
                place = child;
            } else if let Some(target) = self.names[&place].get(first)
                && depth < 20
            {
                let whole = [target, others].concat();
                // A name from another crate leads nowhere.
                return self.resolve(&place, &whole, depth + 1);
            } else {
                break;
            }
            rest = others;
        }
        Some(place)
    }

    fn knows(&self, module: &str, name: &str) -> bool {
        self.names.contains_key(&join(module, name)) || self.names[module].get(name).is_some_and(|path| path[0] != name)
    }
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(parent, _)| parent)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Returns the path `a::b::c` that begins at a token; empty if none does.
fn path_at(tokens: &[String], at: usize) -> Vec<String> {
    let mut path = Vec::new();
    let mut at = at;
    while tokens.get(at).is_some_and(|token| is_name(token)) {
        path.push(tokens[at].clone());
        if tokens.get(at + 1).is_none_or(|next| next != "::") {
            break;
        }
        at += 2;
    }
    path
}

/// Reads what follows `use`, tells every name with the path behind it, and returns where it ends.
fn use_tree(tokens: &[String], at: usize, prefix: &[String], tell: &mut impl FnMut(String, Vec<String>)) -> usize {
    let mut path = prefix.to_vec();
    let own = path_at(tokens, at);
    let mut at = at + (2 * own.len()).saturating_sub(1);
    path.extend(own);
    let next = |at: usize| tokens.get(at).map_or(";", String::as_str);
    if next(at) == "::" {
        at += 1;
    }
    if next(at) == "{" {
        at += 1;
        while next(at) != "}" {
            at = use_tree(tokens, at, &path, tell);
            if next(at) == "," {
                at += 1;
            }
        }
        return at + 1;
    }
    if next(at) == "*" {
        at += 1;
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if next(at) == "as" {
        name = next(at + 1).to_owned();
        at += 2;
    }
    if !path.is_empty() {
        tell(name, path);
    }
    at
}

/// Returns the greatest sets of modules of one folder that reach each other.
fn circles(edges: &BTreeSet<(String, String)>) -> BTreeSet<Circle> {
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in edges {
        // The folder that holds both, and which of its modules each of them is in.
        let (from, to): (Vec<&str>, Vec<&str>) = (from.split("::").collect(), to.split("::").collect());
        let shared = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
        if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
            let modules = folders.entry(from[..shared].join("::")).or_default();
            modules.entry((*one).to_owned()).or_default().insert((*other).to_owned());
        }
    }
    let mut circles = BTreeSet::new();
    for (folder, modules) in folders {
        let reach: BTreeMap<&String, BTreeSet<&String>> =
            modules.keys().map(|module| (module, reachable(&modules, module))).collect();
        for (module, reached) in &reach {
            let back = reached.iter().filter(|other| reach.get(**other).is_some_and(|reach| reach.contains(module)));
            let circle: BTreeSet<String> = back.map(|other| (*other).clone()).collect();
            if circle.len() > 1 {
                circles.insert((folder.clone(), circle));
            }
        }
    }
    circles
}

fn reachable<'a>(modules: &'a BTreeMap<String, BTreeSet<String>>, from: &'a String) -> BTreeSet<&'a String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        open.extend(modules.get(module).into_iter().flatten().filter(|next| reached.insert(*next)));
    }
    reached
}
