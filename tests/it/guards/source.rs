//! The sources as the guards read them: production code alone, without comments and literals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Written by a generator, so nobody reads it.
const GENERATED: &str = "api/grpc/pb";

/// One source file.
pub(super) struct Source {
    /// The file, relative to `src`.
    pub(super) file: PathBuf,
    /// Everything in the file.
    pub(super) text: String,
    /// Production code: comments, the insides of literals and test items are blanks. Every line is where it was.
    pub(super) code: String,
}

/// A word, `::` or a single sign of the code.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// Its offset in the code.
    pub(super) at: usize,
}

impl Source {
    /// Returns the code as tokens.
    pub(super) fn tokens(&self) -> Vec<Token<'_>> {
        let (code, bytes) = (self.code.as_str(), self.code.as_bytes());
        let (mut tokens, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let end = match bytes[at] {
                byte if byte.is_ascii_whitespace() => {
                    at += 1;
                    continue;
                }
                byte if is_word(byte) => word_end(bytes, at),
                b':' if bytes.get(at + 1) == Some(&b':') => at + 2,
                _ => at + 1,
            };
            tokens.push(Token { text: &code[at..end], at });
            at = end;
        }
        tokens
    }

    /// Returns the number of the line that an offset of the code is in, from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// Returns the production sources by the path of their module, as `serving::manager`; that of `lib.rs` is empty.
pub(super) fn sources() -> BTreeMap<String, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let (mut sources, mut tests) = (BTreeMap::new(), BTreeSet::new());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = without_tests(without_literals(&text), &text, &path, &mut tests);
        let file = path.strip_prefix(&root).unwrap().to_owned();
        sources.insert(module_of(&file), Source { file, text, code });
    }
    sources.retain(|_, source| !tests.contains(&root.join(&source.file)));
    assert!(sources.len() > 40, "the sources were found");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with(GENERATED) {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn module_of(file: &Path) -> String {
    let parts: Vec<String> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let parts = parts.strip_suffix(&["mod".to_owned()]).unwrap_or(&parts);
    if *parts == ["lib"] { String::new() } else { parts.join("::") }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| !is_word(*byte)).map_or(bytes.len(), |length| at + length)
}

/// Replaces comments and the insides of literals by blanks, but for the ends of lines.
fn without_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (end, is_blank) = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => (find(bytes, at, b"\n"), true),
            b'/' if bytes[at..].starts_with(b"/*") => (comment_end(bytes, at), true),
            b'"' => (quote_end(bytes, at, b'"'), true),
            b'\'' if is_character(text, at) => (quote_end(bytes, at, b'\''), true),
            byte if is_word(byte) => match raw_string_end(bytes, at) {
                Some(end) => (end, true),
                None => (word_end(bytes, at), false),
            },
            _ => (at + 1, false),
        };
        if is_blank {
            code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        at = end;
    }
    String::from_utf8(code).unwrap()
}

/// Returns the offset of `what` at or after `at`, or the end.
fn find(bytes: &[u8], at: usize, what: &[u8]) -> usize {
    bytes[at..].windows(what.len()).position(|window| window == what).map_or(bytes.len(), |length| at + length)
}

/// Comments of this kind may hold others.
fn comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (1, at + 2);
    while depth > 0 && at < bytes.len() {
        let step: i32 = match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => 1,
            b"*/" => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
    }
    at
}

fn quote_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut at = at + 1;
    while bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_character(text: &str, at: usize) -> bool {
    let mut rest = text[at + 1..].chars();
    rest.next() == Some('\\') || rest.next() == Some('\'')
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let end = word_end(bytes, at);
    let hashes = bytes[end..].iter().take_while(|byte| **byte == b'#').count();
    let is_raw = [b"r".as_slice(), b"br", b"cr"].contains(&&bytes[at..end]) && bytes.get(end + hashes) == Some(&b'"');
    let closing = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    is_raw.then(|| find(bytes, end + hashes + 1, &closing) + closing.len())
}

/// Replaces every item behind `#[cfg(test)]` by blanks, and collects the files of test modules.
fn without_tests(code: String, text: &str, file: &Path, tests: &mut BTreeSet<PathBuf>) -> String {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut code = code;
    while let Some(at) = code.find(ATTRIBUTE) {
        let end = item_end(&code, at + ATTRIBUTE.len());
        tests.extend(test_file(&code[at..end], &text[at..end], file));
        let blank: String = code[at..end].chars().map(|sign| if sign == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(at..end, &blank);
    }
    code
}

/// Returns where the item at an offset ends: behind its block, or behind its semicolon.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (length, sign) in code[at..].char_indices() {
        match sign {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (sign == '}' || sign == ';') {
            return at + length + 1;
        }
    }
    code.len()
}

/// The file of `mod name;`, if the item is that.
fn test_file(code: &str, text: &str, file: &Path) -> Option<PathBuf> {
    let name = code.strip_suffix(';')?.rsplit_once("mod ")?.1.trim();
    let folder = file.parent().unwrap();
    if let Some((_, rest)) = text.split_once("#[path = \"") {
        return Some(folder.join(rest.split_once('"').unwrap().0));
    }
    let is_folder = file.ends_with("mod.rs") || file.ends_with("lib.rs") || file.ends_with("main.rs");
    let inside = if is_folder { folder.to_owned() } else { file.with_extension("") };
    Some(inside.join(format!("{name}.rs")))
}

#[test]
fn literals_comments_and_tests_are_no_code() {
    let text = "fn f<'a>(x: &'a str) { // }\n let y = ['{', '\\'', b'}']; /* { /* } */ */ \"}\\\"{\"; r#\"}\"{\"#; }\n\
                #[cfg(test)]\nmod tests { fn g() {} }\nfn h() {}";
    let code = without_tests(without_literals(text), text, Path::new("src/x.rs"), &mut BTreeSet::new());
    let dense: String = code.split_whitespace().collect();
    assert_eq!(dense, "fnf<'a>(x:&'astr){lety=[,,b];;;}fnh(){}");
    assert_eq!(code.lines().count(), text.lines().count());
}
