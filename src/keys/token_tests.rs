//! Tokens that are believed and those that are not. The fixtures were made by PyJWT: three of the algorithms that are
//! taken, and four that are not.

use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::keys::parse;

/// A moment at which the fixtures are good.
const NOW: i64 = 1_800_000_000;

fn fixtures() -> (KeySet, Value) {
    let all: Value = serde_json::from_str(include_str!("token_fixtures.json")).unwrap();
    (KeySet::parse(all["jwks"].to_string().as_bytes()).unwrap(), all["tokens"].clone())
}

fn issuer(more: &str) -> Issuer {
    let text = format!(
        "[[issuer]]\nname = \"corp\"\nissuer = \"https://login.example.org\"\naudience = [\"weir\"]\n\
         jwks = \"https://login.example.org/keys\"\n{more}"
    );
    parse(&text, Path::new("")).unwrap().issuers.remove(0)
}

fn usual() -> Issuer {
    issuer("[[issuer.rule]]\nclaim = \"scope\"\nvalue = \"weir:predict\"\nscopes = [\"predict\"]")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn verified(token: &str, issuer: &Issuer, keys: &KeySet, now: i64) -> std::result::Result<Key, Refusal> {
    Token::read(token.as_bytes()).unwrap()?.verify(issuer, keys, at(now))
}

/// Signs tokens with a key that no other test has.
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn jwk(&self, id: Option<&str>) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(json!({"keys": [self.jwk(Some("k"))]}).to_string().as_bytes()).unwrap()
    }

    fn sign(&self, head: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()).as_ref()))
    }

    /// Signs usual claims with some changes; null leaves a claim out.
    fn token(&self, changes: &Value) -> String {
        let mut claims = json!({
            "iss": "https://login.example.org", "aud": "weir", "sub": "alice", "exp": NOW + 100, "scope": "weir:predict",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.sign(&json!({"alg": "EdDSA", "kid": "k"}), &claims)
    }
}

#[test]
fn tokens_of_another_library_are_believed_by_three_algorithms_and_no_other() {
    let (keys, tokens) = fixtures();
    for (name, token) in tokens.as_object().unwrap() {
        let token = token.as_str().unwrap();
        let taken = verified(token, &usual(), &keys, NOW);
        if !matches!(name.as_str(), "RS256" | "ES256" | "EdDSA") {
            let refused = taken.unwrap_err();
            let expected = format!("the token is signed by \"{name}\"; expected RS256, ES256, EdDSA");
            assert_eq!(refused, Refusal::NotBelieved(expected), "{name}");
            continue;
        }
        let key = taken.unwrap();
        assert_eq!((key.name.as_str(), key.scopes.as_slice(), key.models), ("corp:alice", &[Scope::Predict][..], None));
        assert!(key.is_token && key.expires == Some(at(2_000_000_000)));
        let only = issuer(&format!("algorithms = [{name:?}]\n[[issuer.rule]]\nscopes = [\"read\"]"));
        assert!(verified(token, &only, &keys, NOW).is_ok());
        let others = ["RS256", "ES256", "EdDSA"].into_iter().find(|other| other != name).unwrap();
        let other = issuer(&format!("algorithms = [{others:?}]\n[[issuer.rule]]\nscopes = [\"read\"]"));
        assert!(matches!(verified(token, &other, &keys, NOW), Err(Refusal::NotBelieved(_))));
        // Any letter changed: of the claims, and of the signature.
        let (head, rest) = token.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        let mut other: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        other["sub"] = "mallory".into();
        let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(other.to_string()));
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        let damaged = format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(bytes));
        for wrong in [forged, damaged, format!("{head}.{claims}.")] {
            let refused = verified(&wrong, &usual(), &keys, NOW).unwrap_err();
            assert!(matches!(&refused, Refusal::NotBelieved(text) if text.contains("signature")), "{refused:?}");
        }
    }
}

#[test]
fn what_is_no_token_is_told_from_one_that_cannot_be_read() {
    for other in ["", "weir_abc", "a.b", "a.b.c.d"] {
        assert!(Token::read(other.as_bytes()).is_none(), "{other}");
    }
    let head = URL_SAFE_NO_PAD.encode("{\"alg\":\"EdDSA\"}");
    let long = format!("{head}.{}.", "A".repeat(9000));
    for bad in ["..", "a.b.c", "e30.e30.e30", &format!("{head}.W10.AA"), &format!("{head}.e30.*"), &long] {
        let refused = Token::read(bad.as_bytes()).unwrap().unwrap_err();
        assert!(matches!(refused, Refusal::NotBelieved(_)), "{bad}: {refused:?}");
    }
}

#[test]
fn times_names_and_extensions_are_checked() {
    let (signer, issuer) = (Signer::new(), usual());
    let keys = signer.keys();
    let judge = |changes: Value, now: i64| verified(&signer.token(&changes), &issuer, &keys, now);
    for (changes, now) in [
        (json!({}), NOW),
        (json!({}), NOW + 159),
        (json!({"exp": 1_800_000_000.5}), NOW + 59),
        (json!({"nbf": NOW + 60}), NOW),
        (json!({"aud": ["other", "weir"]}), NOW),
        (json!({"scope": ["weir:predict", "x"]}), NOW),
    ] {
        assert!(judge(changes.clone(), now).is_ok(), "{changes} at {now}");
    }
    for (changes, now, hint) in [
        (json!({}), NOW + 160, "expired at"),
        (json!({"exp": null}), NOW, "no \"exp\""),
        (json!({"exp": "soon"}), NOW, "has \"exp\"; expected seconds"),
        (json!({"exp": 1e300}), NOW, "has \"exp\"; expected seconds"),
        (json!({"nbf": NOW + 61}), NOW, "good only from"),
        (json!({"nbf": []}), NOW, "has \"nbf\"; expected seconds"),
        (json!({"aud": null}), NOW, "for somebody else"),
        (json!({"aud": "other"}), NOW, "for somebody else"),
        (json!({"aud": ["other", 7]}), NOW, "for somebody else"),
        (json!({"sub": null}), NOW, "no \"sub\""),
        (json!({"sub": ""}), NOW, "no \"sub\""),
        (json!({"sub": "x".repeat(257)}), NOW, "more than 256"),
        (json!({"sub": "alice\nroot"}), NOW, "control characters"),
    ] {
        let refused = judge(changes.clone(), now).unwrap_err();
        assert!(matches!(&refused, Refusal::NotBelieved(text) if text.contains(hint)), "{changes}: {refused:?}");
    }
    let none = judge(json!({"scope": "weir:other"}), NOW).unwrap_err();
    assert!(matches!(&none, Refusal::NoRights(text) if text.contains("corp:alice")), "{none:?}");
    let claims = json!({"aud": "weir", "sub": "a", "exp": NOW + 1, "scope": "weir:predict"});
    let critical = signer.sign(&json!({"alg": "EdDSA", "kid": "k", "crit": ["b64"], "b64": false}), &claims);
    let refused = verified(&critical, &issuer, &keys, NOW).unwrap_err();
    assert!(matches!(&refused, Refusal::NotBelieved(text) if text.contains("crit")), "{refused:?}");
}

#[test]
fn a_key_is_found_by_its_identifier_and_its_kind() {
    let (one, two) = (Signer::new(), Signer::new());
    let claims = json!({"aud": "weir", "sub": "a", "exp": NOW + 1, "scope": "weir:predict"});
    let set = |keys: Value| KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    let both = set(json!([one.jwk(Some("one")), two.jwk(Some("two"))]));
    let alone = set(json!([one.jwk(None)]));
    let sign = |head: Value| one.sign(&head, &claims);
    let judge = |token: &str, keys: &KeySet| verified(token, &usual(), keys, NOW);
    assert!(judge(&sign(json!({"alg": "EdDSA", "kid": "one"})), &both).is_ok());
    assert!(judge(&sign(json!({"alg": "EdDSA"})), &alone).is_ok(), "the only one needs no name");
    for (head, keys) in [
        (json!({"alg": "EdDSA", "kid": "three"}), &both),
        (json!({"alg": "EdDSA"}), &both),
        (json!({"alg": "EdDSA", "kid": "one"}), &alone),
        (json!({"alg": "ES256", "kid": "one"}), &both),
        (json!({"alg": "RS256", "kid": "one"}), &both),
    ] {
        let refused = judge(&sign(head.clone()), keys).unwrap_err();
        assert!(matches!(refused, Refusal::UnknownKey(_)), "{head}: {refused:?}");
    }
    let another = judge(&sign(json!({"alg": "EdDSA", "kid": "two"})), &both).unwrap_err();
    assert!(matches!(another, Refusal::NotBelieved(_)));
}

#[test]
fn only_public_keys_for_signatures_are_taken() {
    let good = Signer::new().jwk(Some("k"));
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        json!({"keys": [key]}).to_string()
    };
    let read = |text: &str| KeySet::parse(text.as_bytes()).map(|keys| keys.len());
    assert_eq!(read(&with("use", "sig".into())), Ok(1));
    for (name, value) in
        [("use", "enc"), ("alg", "ES256"), ("crv", "X25519"), ("x", "AAAA"), ("x", "*"), ("kty", "oct")]
    {
        assert!(read(&with(name, value.into())).unwrap_err().contains("got none among 1"), "{name} {value}");
    }
    let small = json!({"keys": [{"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([255; 128]), "e": "AQAB"}]});
    assert!(read(&small.to_string()).is_err(), "1024 bits");
    for other in ["", "[]", "{}", "{\"keys\": 7}"] {
        assert!(read(other).unwrap_err().contains("JSON Web Key Set"), "{other}");
    }
    let many: Vec<&Value> = vec![&good; 101];
    assert!(read(&json!({"keys": many}).to_string()).unwrap_err().contains("at most 100"));
}

#[test]
fn the_rights_of_all_rules_that_fit_add_up_and_models_stay_narrow() {
    let issuer = issuer(
        r#"
        [[issuer.rule]]
        claim = "realm.roles"
        value = "scientist"
        scopes = ["predict"]
        models = ["mnist-*"]
        models_claim = "weir_models"
        per_second = 5
        [[issuer.rule]]
        claim = "realm.roles"
        value = "reader"
        scopes = ["read", "metrics"]
        concurrency = 3
        [[issuer.rule]]
        claim = "https://example.org/role"
        value = "root"
        scopes = ["admin"]
        [[issuer.rule]]
        scopes = ["feedback"]
        "#,
    );
    let signer = Signer::new();
    let rights = |changes: Value| verified(&signer.token(&changes), &issuer, &signer.keys(), NOW).unwrap();
    use Scope::{Admin, Feedback, Metrics, Predict, Read};
    assert_eq!((rights(json!({})).scopes, rights(json!({})).models), (vec![Feedback], None));
    let scientist = rights(json!({"realm": {"roles": ["scientist", "reader"]}, "weir_models": "prices a*b"}));
    assert_eq!(scientist.scopes, [Predict, Feedback, Read, Metrics]);
    assert_eq!(
        *scientist.models.as_ref().unwrap(),
        ["mnist-*", "prices"],
        "no pattern of a token is taken that a file may not have"
    );
    assert_eq!(scientist.rate.unwrap().per_second(), 5.0);
    assert_eq!(scientist.concurrency.unwrap().get(), 3);
    let root = rights(json!({"https://example.org/role": "root", "realm": {"roles": ["scientist"]}}));
    assert_eq!((root.scopes.as_slice(), &root.models), (&[Predict, Feedback, Admin][..], &None));
    assert!(scientist.is_for("prices", Predict) && scientist.is_for("mnist-mlp", Read));
    assert!(!scientist.is_for("other", Predict) && !scientist.is_for("other", Read), "the rule for all stays narrow");
    assert!(root.is_for("other", Predict), "the whole server");
    let (alice, bob) = (rights(json!({})), rights(json!({"sub": "bob"})));
    assert_ne!(alice.identity(), bob.identity());
    assert_eq!(alice.identity(), rights(json!({"exp": NOW + 7})).identity(), "a new token, the same caller");
}

#[test]
fn a_scope_of_one_rule_is_not_for_the_models_of_another() {
    let rule = |group: &str, scopes: &str, more: &str| {
        format!("[[issuer.rule]]\nclaim = \"groups\"\nvalue = {group:?}\nscopes = {scopes}\n{more}\n")
    };
    let issuer = issuer(
        &[
            rule("readers", "[\"read\"]", "models = [\"secret\"]"),
            rule("users", "[\"predict\"]", "models = [\"open\"]"),
            rule("staff", "[\"read\"]", ""),
            rule("clients", "[\"metrics\"]", ""),
        ]
        .concat(),
    );
    let signer = Signer::new();
    use Scope::{Metrics, Predict, Read};
    for (groups, expected) in [
        (json!(["readers"]), [("secret", Read)].as_slice()),
        (json!(["readers", "users"]), &[("secret", Read), ("open", Read), ("open", Predict)]),
        (json!(["users", "staff"]), &[("open", Read), ("open", Predict)]),
        (json!(["readers", "staff", "clients"]), &[("secret", Read), ("secret", Metrics)]),
        (json!(["staff"]), &[("secret", Read), ("open", Read), ("other", Read)]),
    ] {
        let key = verified(&signer.token(&json!({"groups": groups})), &issuer, &signer.keys(), NOW).unwrap();
        for model in ["secret", "open", "other"] {
            for scope in [Predict, Read, Metrics] {
                let may = crate::keys::permits(&key.scopes, scope) && key.is_for(model, scope);
                assert_eq!(may, expected.contains(&(model, scope)), "{groups}: {scope} of {model}");
            }
        }
    }
}

#[test]
fn a_text_has_words_only_where_the_claim_is_a_list_of_words() {
    let signer = Signer::new();
    let fits = |claim: &str, value: &str, said: Value| {
        let rule = format!("[[issuer.rule]]\nclaim = {claim:?}\nvalue = {value:?}\nscopes = [\"read\"]");
        let token = signer.token(&json!({"scope": null, claim: said}));
        verified(&token, &issuer(&rule), &signer.keys(), NOW).is_ok()
    };
    for (claim, value, said, expected) in [
        ("scope", "read", json!("write read"), true),
        ("scp", "read", json!("write read"), true),
        ("scp", "write read", json!("write read"), false),
        ("name", "admin", json!("not admin"), false),
        ("name", "not admin", json!("not admin"), true),
        ("name", "not admin", json!(["a", "not admin"]), true),
        ("name", "admin", json!(["not admin"]), false),
    ] {
        assert_eq!(fits(claim, value, said.clone()), expected, "{claim} {value}: {said}");
    }
}

#[test]
fn a_claim_names_a_hundred_models_at_most_and_a_rule_as_many_as_it_likes() {
    let names = |kind: &str| (0..150).map(|index| format!("{kind}{index}")).collect::<Vec<String>>();
    let rule = format!("[[issuer.rule]]\nscopes = [\"read\"]\nmodels = {:?}\nmodels_claim = \"m\"", names("own"));
    let signer = Signer::new();
    let token = signer.token(&json!({"m": names("claimed")}));
    let key = verified(&token, &issuer(&rule), &signer.keys(), NOW).unwrap();
    for (model, expected) in [("own149", true), ("claimed99", true), ("claimed100", false)] {
        assert_eq!(key.is_for(model, Scope::Read), expected, "{model}");
    }
}

#[test]
fn what_is_wrong_with_an_issuer_is_said() {
    let rule = "[[issuer.rule]]\nscopes = [\"read\"]\n";
    let good = format!(
        "[[issuer]]\nname = \"corp\"\nissuer = \"https://i\"\naudience = [\"weir\"]\njwks = \"keys.json\"\n{rule}"
    );
    let read = |text: &str| parse(text, Path::new("/etc/weir"));
    let problem = |from: &str, to: &str| read(&good.replace(from, to)).unwrap_err().to_string();
    let found = read(&good).unwrap().issuers.remove(0);
    assert_eq!(found.jwks, crate::keys::Jwks::File("/etc/weir/keys.json".into()));
    assert!(read(&good.replace("keys.json", "http://127.0.0.1:9/k")).is_ok());
    for (from, to, hint) in [
        ("\"corp\"", "\"a:b\"", "without a colon"),
        ("\"https://i\"", "\"\"", "\"iss\""),
        ("[\"weir\"]", "[]", "audience"),
        ("keys.json", "http://login.example.org/k", "only to this machine"),
        ("keys.json", "http://127.0.0.1.example.org/k", "only to this machine"),
        ("keys.json", "ftp://127.0.0.1/k", "https://"),
        (rule, "", "issuer.rule"),
        (rule, "algorithms = []\n[[issuer.rule]]\nscopes = [\"read\"]\n", "algorithms"),
        (rule, "algorithms = [\"HS256\"]\n[[issuer.rule]]\nscopes = [\"read\"]\n", "HS256"),
        (rule, "leeway_seconds = 601\n[[issuer.rule]]\nscopes = [\"read\"]\n", "leeway_seconds"),
        ("[\"read\"]", "[]", "rule 1: expected at least one scope"),
        ("[\"read\"]", "[\"read\"]\nclaim = \"x\"", "\"claim\" and \"value\""),
        ("[\"read\"]", "[\"metrics\"]\nmodels = [\"m\"]", "whole server"),
        ("[\"read\"]", "[\"read\"]\nmodels = [\"a*b\"]", "last character"),
        ("[\"read\"]", "[\"read\"]\nburst = 5", "per_second"),
    ] {
        let problem = problem(from, to);
        assert!(problem.contains(hint), "{to}: {problem}");
    }
    assert!(read(&(good.clone() + &good)).unwrap_err().to_string().contains("two issuers are called \"corp\""));
    let same = good.clone() + &good.replace("corp", "other");
    assert!(read(&same).unwrap_err().to_string().contains("the same issuer"));
}

#[test]
fn an_issuer_stays_when_the_key_before_it_is_revoked() {
    let issuer = "[[issuer]]\nname = \"corp\"\nissuer = \"https://i\"\naudience = [\"weir\"]\njwks = \"k\"\n\n\
                  [[issuer.rule]]\nscopes = [\"read\"]\n";
    let secret = crate::keys::Secret::new();
    let key = format!("[[key]]\nname = \"shop\"\nsha256 = \"{}\"\nscopes = [\"read\"]\n", secret.sha256);
    assert_eq!(crate::keys::without_key(&(key + issuer), "shop").unwrap(), issuer);
}

#[test]
fn public_keys_are_discovered_where_the_issuer_says_so_itself() {
    let rule = "[[issuer.rule]]\nscopes = [\"read\"]";
    let read = |issuer: &str, more: &str| {
        let text = format!("[[issuer]]\nname = \"corp\"\nissuer = {issuer:?}\naudience = [\"weir\"]\n{more}\n{rule}");
        parse(&text, Path::new("/etc/weir"))
            .map(|content| content.issuers[0].clone())
            .map_err(|error| error.to_string())
    };
    for (issuer, more, url) in [
        ("https://i.example", "", "https://i.example/.well-known/openid-configuration"),
        ("https://i.example/realm/", "discover = true", "https://i.example/realm/.well-known/openid-configuration"),
        ("http://127.0.0.1:9/r", "", "http://127.0.0.1:9/r/.well-known/openid-configuration"),
    ] {
        assert_eq!(read(issuer, more).unwrap().jwks, crate::keys::Jwks::Discovered(url.into()));
    }
    for (issuer, more, said) in [
        ("accounts", "", "with https://"),
        ("http://i.example", "discover = true", "with https://"),
        ("https://i.example", "discover = false", "expected \"jwks\""),
        ("https://i.example", "discover = true\njwks = \"https://i.example/k\"", "not both"),
    ] {
        let refused = read(issuer, more).unwrap_err();
        assert!(refused.contains("corp") && refused.contains(said), "{refused}");
    }
    let secure = read("https://i.example", "").unwrap();
    let of = |issuer: &Issuer, iss: &str, uri: &str| {
        issuer.discovered(json!({"issuer": iss, "jwks_uri": uri, "more": []}).to_string().as_bytes())
    };
    assert_eq!(of(&secure, "https://i.example", "https://k.example/k").unwrap(), "https://k.example/k");
    for (iss, uri, said) in [
        ("https://i.example/", "https://i.example/k", "of the issuer \"https://i.example/\""),
        ("https://evil.example", "https://i.example/k", "evil"),
        ("https://i.example", "http://i.example/k", "expected https"),
        ("https://i.example", "http://127.0.0.1/k", "expected https"),
        ("https://i.example", "file:///etc/passwd", "expected https"),
    ] {
        let refused = of(&secure, iss, uri).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    let here = read("http://127.0.0.1:9", "").unwrap();
    assert!(of(&here, "http://127.0.0.1:9", "http://127.0.0.1:9/k").is_ok());
    for broken in ["", "[]", "{}", "{\"issuer\": \"https://i.example\"}"] {
        assert!(secure.discovered(broken.as_bytes()).unwrap_err().contains("jwks_uri"), "{broken}");
    }
}
