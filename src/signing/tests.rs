use super::*;

const MANIFEST: &[u8] = b"{\"model\": \"digits\"}\n";

fn place(model: &str, version: u64) -> Place {
    Place { model: model.parse().unwrap(), version: Version(version) }
}

fn statement(bytes: &[u8]) -> Statement<'_> {
    Statement { file: "manifest.json", bytes }
}

fn key() -> (SecretKey, TrustedKeys) {
    let key = SecretKey::generate().unwrap().0;
    let trusted = TrustedKeys::parse(&key.public().called("release").unwrap().text()).unwrap();
    (key, trusted)
}

fn signed(key: &SecretKey) -> String {
    key.sign(statement(MANIFEST), &place("digits", 1), Some("abc"), jiff::Timestamp::UNIX_EPOCH)
}

#[test]
fn a_signature_holds_for_its_bytes_and_its_place_alone() {
    let (key, trusted) = key();
    let text = signed(&key);
    let verify = |bytes: &[u8], at: &Place, text: &str| {
        let verified = trusted.verify(statement(bytes), at, text.as_bytes()).map_err(|why| why.0)?;
        assert_eq!(verified.reference.as_deref(), Some("abc"));
        Ok::<_, String>(verified.key.name().to_owned())
    };
    let here = place("digits", 1);
    assert_eq!(verify(MANIFEST, &here, &text).unwrap(), "release");
    assert_eq!(
        verify(MANIFEST, &here, &text.replace('\n', "\r\n")).unwrap(),
        "release",
        "lines as another system ends them"
    );
    for (elsewhere, said) in [(place("digits", 2), "digits@2"), (place("letters", 1), "letters@1")] {
        let why = verify(MANIFEST, &elsewhere, &text).unwrap_err();
        assert!(why.contains("signed as digits@1") && why.contains(said) && why.contains("weir sign"), "{why}");
    }
    let why = verify(b"{\"model\": \"digitS\"}\n", &here, &text).unwrap_err();
    assert!(why.contains("was changed"), "{why}");
    let moved = text.replace("version=1", "version=2");
    let why = verify(MANIFEST, &place("digits", 2), &moved).unwrap_err();
    assert!(why.contains("trusted comment") && why.contains("was changed"), "{why}");
    let sums = Statement { file: "SHA256SUMS", bytes: MANIFEST };
    let why = trusted.verify(sums, &here, text.as_bytes()).unwrap_err().0;
    assert!(why.contains("not of SHA256SUMS"), "{why}");
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let (key, trusted) = key();
    let text = signed(&key);
    let holds = |bytes: &[u8]| trusted.verify(statement(MANIFEST), &place("digits", 1), bytes).is_ok();
    assert!(holds(text.as_bytes()));
    let comment = text.find('\n').unwrap();
    for at in comment..text.len() - 1 {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        assert!(!holds(&changed), "a changed byte at {at} of {text}");
    }
    for length in 0..text.len() - 1 {
        assert!(!holds(&text.as_bytes()[..length]), "cut to {length}");
    }
}

#[test]
fn a_key_that_is_not_trusted_is_named_even_if_its_identifier_is_borrowed() {
    let ((own, trusted), (stranger, _)) = (key(), key());
    let verify = |text: &str| trusted.verify(statement(MANIFEST), &place("digits", 1), text.as_bytes()).unwrap_err().0;
    let text = signed(&stranger);
    let why = verify(&text);
    assert!(why.contains(&stranger.public().id().to_string()) && why.contains("not among"), "{why}");
    let line = text.lines().nth(1).unwrap();
    let mut packed = STANDARD.decode(line).unwrap();
    packed[2..10].copy_from_slice(&own.public().id().0);
    let why = verify(&text.replace(line, &STANDARD.encode(&packed)));
    assert!(why.contains("is not what the key"), "{why}");
    packed[..2].copy_from_slice(b"ED");
    let why = verify(&text.replace(line, &STANDARD.encode(&packed)));
    assert!(why.contains("minisign -S -l"), "{why}");
}

#[test]
fn a_signature_without_a_place_is_refused_with_what_it_needs() {
    let (key, trusted) = key();
    let of = |comment: &str| {
        let signature = key.signature(MANIFEST);
        let global = key.signature(&[&signature[..], comment.as_bytes()].concat());
        let (packed, global) = (pack(key.public().id(), &signature), STANDARD.encode(global));
        let text = format!("untrusted comment: x\n{packed}\ntrusted comment: {comment}\n{global}\n");
        trusted.verify(statement(MANIFEST), &place("digits", 1), text.as_bytes()).map(drop).map_err(|why| why.0)
    };
    assert_eq!(of("weir model=digits version=1 file=manifest.json"), Ok(()));
    for comment in [
        "timestamp:1700000000\tfile:manifest.json",
        "model=digits version=1 file=manifest.json",
        "weir model=digits version=1 version=2 file=manifest.json",
        "weir model=digits file=manifest.json",
        "",
    ] {
        let why = of(comment).unwrap_err();
        assert!(why.contains("expected a trusted comment such as \"weir model=digits version=1"), "{comment}: {why}");
    }
}

/// Made by minisign 0.11 itself: `minisign -G -W`, and `minisign -S -l -t 'weir model=digits version=1 file=manifest.json'`.
#[test]
fn what_minisign_signs_is_read() {
    let trusted = TrustedKeys::parse(include_str!("minisign.pub")).unwrap();
    let signature = include_bytes!("minisign.minisig");
    let verified = trusted.verify(statement(MANIFEST), &place("digits", 1), signature).unwrap();
    let (key, None) = (verified.key, verified.reference) else { panic!("no reference") };
    assert!(key.name().starts_with("minisign public key "), "{}", key.name());
    assert_eq!(key.name(), format!("minisign public key {}", key.id()));
}

#[test]
fn a_file_of_keys_is_whole_or_refused_by_line() {
    let (one, two) = (key().0.public(), key().0.public());
    let both = format!("# ours\n\n{}{}\n", one.text(), two.line());
    let keys = TrustedKeys::parse(&both).unwrap();
    assert_eq!(keys.find(one.id()).unwrap().name(), one.name());
    assert_eq!(keys.find(two.id()).unwrap().name(), format!("key {}", two.id()), "a comment is for one key");
    assert!(keys.contains(&one) && !keys.contains(&key().0.public()));
    for (text, said) in [
        (format!("{}{}", one.text(), one.text()), "line 4"),
        (format!("{}x", one.text()), "line 3"),
        ("untrusted comment: none\n".into(), "at least one"),
        (one.line()[1..].to_owned(), "line 1"),
        (String::new(), "at least one"),
    ] {
        let why = TrustedKeys::parse(&text).unwrap_err();
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn a_secret_key_is_read_as_it_was_written_and_its_text_is_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let (key, text) = SecretKey::generate().unwrap();
    std::fs::write(&path, &text).unwrap();
    assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
    let secret = text.lines().nth(1).unwrap();
    for broken in
        [text.replace("PRIVATE", "PUBLIC"), text.replace(&secret[..8], "AAAAAAAA"), secret.to_owned(), String::new()]
    {
        std::fs::write(&path, broken).unwrap();
        let why = SecretKey::read(&path).unwrap_err().to_string();
        assert!(why.contains("--new-key") && !why.contains(&secret[20..40]), "{why}");
    }
}
