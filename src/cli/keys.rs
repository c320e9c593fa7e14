//! `weir keys`: the file of API keys.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::error::{Error, Result};
use crate::keys::{self, Content, Issuer, Jwks, Key, Rate, Scope, Secret, Table};

/// Makes, lists and revokes the keys that callers of a server need.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir keys new shop --scopes predict,feedback
  weir keys new scraper --scopes metrics --expires-days 365
  weir serve --keys keys.toml
  curl -H \"Authorization: Bearer $KEY\" --data-binary @data/seven.png http://127.0.0.1:8080/predict
  weir keys revoke shop

Scopes: predict (ask models, read what there is), feedback (say what was right, see and erase records of
predictions), read (models, quality, pages), metrics (scrape /metrics), admin (everything).
The file holds digests only: a secret is shown once. A running server sees a change within a second.
Commands that talk to a server show the key in the environment variable WEIR_API_KEY.")]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
    /// The file of keys
    #[arg(long, env = "WEIR_KEYS", value_name = "FILE", default_value = "keys.toml", global = true)]
    file: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key, add it to the file and print its secret
    New {
        /// A name, by which the key is listed and revoked
        name: String,
        /// What it may do: predict, feedback, read, metrics, admin
        #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// The models that it is for; a name may end in * [default: all]
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        models: Option<Vec<String>>,
        /// Days until it is refused [default: never]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires_days: Option<u32>,
        /// Requests that it may send in a second, in place of the server's --rate-per-second
        #[arg(long, value_name = "N")]
        per_second: Option<f64>,
        /// Requests that it may send at once [default: those of a second]
        #[arg(long, value_name = "N", requires = "per_second")]
        burst: Option<u32>,
        /// Requests that it may have under way at the same time, in place of the server's --caller-concurrency
        #[arg(long, value_name = "N")]
        concurrency: Option<NonZeroU32>,
    },
    /// List the keys
    List,
    /// Take a key out of the file
    Revoke { name: String },
}

pub(super) fn run(args: &KeysArgs) -> Result<ExitCode> {
    match &args.action {
        Action::New { name, scopes, models, expires_days, per_second, burst, concurrency } => {
            let expires = expires_days.map(|days| Timestamp::now() + SignedDuration::from_hours(24 * i64::from(days)));
            let secret = Secret::new();
            let expires = expires.map(moment).transpose()?;
            let (sha256, models) = (secret.sha256.as_str(), models.as_deref());
            let (per_second, burst, concurrency) = (*per_second, *burst, *concurrency);
            let key = Table { name, sha256, scopes, models, expires, per_second, burst, concurrency };
            replace(&args.file, &keys::with_key(&current(&args.file)?.unwrap_or_default(), &key)?)?;
            let text = if args.json {
                format!("{}\n", json!({"name": name, "key": secret.text}))
            } else {
                eprintln!("The secret of {name:?}, which is shown only now; the file keeps a digest of it:");
                format!("{}\n", secret.text)
            };
            super::print(&text)?;
        }
        Action::List => {
            let folder = args.file.parent().unwrap_or(Path::new(""));
            let content = keys::parse(&keys::text_of(&args.file)?, folder)?;
            let tables = || table(&content.keys, Timestamp::now()) + &issuers(&content.issuers);
            super::print(&if args.json { as_json(&content) } else { tables() })?;
        }
        Action::Revoke { name } => {
            let text = current(&args.file)?.unwrap_or_default();
            replace(&args.file, &keys::without_key(&text, name)?)?;
            let text = if args.json { format!("{}\n", json!({"revoked": name})) } else { format!("revoked {name}\n") };
            super::print(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a moment as TOML has it, in whole seconds.
fn moment(at: Timestamp) -> Result<toml::value::Datetime> {
    let text = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    text.parse().map_err(|error| Error::internal("a moment could not be written", error))
}

/// Returns the text of the file; `None` if there is none.
fn current(file: &Path) -> Result<Option<String>> {
    match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => keys::text_of(file).map(Some),
    }
}

/// Puts a text in the place of the file, whole or not at all. Its mode stays; a new file is its owner's alone.
fn replace(file: &Path, text: &str) -> Result<()> {
    // A link stays a link: what it leads to is replaced.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mode = fs::metadata(&target).map_or(0o600, |metadata| metadata.permissions().mode());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut staged = tempfile::Builder::new().permissions(fs::Permissions::from_mode(mode)).tempfile_in(folder)?;
        // The umask had a word in it.
        staged.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        staged.write_all(text.as_bytes())?;
        staged.as_file().sync_all()?;
        staged.persist(&target).map_err(|error| error.error)
    };
    write().map(drop).map_err(Error::io("write", file))
}

fn as_json(content: &Content) -> String {
    let key = |key: &Key| {
        json!({
            "name": key.name,
            "scopes": key.scopes,
            "models": key.models,
            "certificate": key.certificate,
            "expires": key.expires.map(|expires| expires.to_string()),
            "per_second": key.rate.map(Rate::per_second),
            "burst": key.rate.map(Rate::burst),
            "concurrency": key.concurrency,
        })
    };
    let issuer = |issuer: &Issuer| {
        json!({
            "name": issuer.name,
            "issuer": issuer.issuer,
            "audience": issuer.audience,
            "jwks": place(issuer),
            "algorithms": issuer.algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>(),
            "rules": issuer.rules.len(),
        })
    };
    let keys: Vec<_> = content.keys.iter().map(key).collect();
    let issuers: Vec<_> = content.issuers.iter().map(issuer).collect();
    format!("{:#}\n", json!({"keys": keys, "issuers": issuers}))
}

fn place(issuer: &Issuer) -> String {
    match &issuer.jwks {
        Jwks::File(file) => file.display().to_string(),
        Jwks::Url(url) | Jwks::Discovered(url) => url.clone(),
    }
}

/// Returns a table of the issuers of tokens; nothing if there are none.
fn issuers(issuers: &[Issuer]) -> String {
    if issuers.is_empty() {
        return String::new();
    }
    let mut rows = vec![["NAME", "ISSUER", "AUDIENCE", "PUBLIC KEYS", "RULES"].map(str::to_owned)];
    rows.extend(issuers.iter().map(|issuer| {
        let (name, claim, rules) = (issuer.name.clone(), issuer.issuer.clone(), issuer.rules.len().to_string());
        [name, claim, issuer.audience.join(","), place(issuer), rules]
    }));
    format!("\n{}", super::models::aligned(&rows))
}

fn table(keys: &[Key], now: Timestamp) -> String {
    let mut rows = vec![["NAME", "SCOPES", "MODELS", "PER SECOND", "UNDER WAY", "EXPIRES"].map(str::to_owned)];
    rows.extend(keys.iter().map(|key| {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.name()).collect();
        let models = key.models.as_ref().map_or_else(|| "all".to_owned(), |models| models.join(","));
        let expires = match key.expires {
            None => "never".to_owned(),
            Some(expires) if key.has_expired(now) => format!("{expires} (over)"),
            Some(expires) => expires.to_string(),
        };
        let rate = key.rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.4}", rate.per_second()));
        let rate = rate.trim_end_matches('0').trim_end_matches('.').to_owned();
        let under_way = key.concurrency.map_or_else(|| "-".to_owned(), |most| most.to_string());
        [key.name.clone(), scopes.join(","), models, rate, under_way, expires]
    }));
    super::models::aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_keeps_its_mode_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("keys.toml"), folder.path().join("link.toml"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        replace(&file, "a").unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "b").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("b", 0o640));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_table_says_what_is_over() {
        let key = Key {
            name: "shop".into(),
            sha256: Some([0; 32]),
            certificate: None,
            scopes: vec![Scope::Predict, Scope::Feedback],
            models: Some(vec!["mnist-*".into()]),
            expires: Some(Timestamp::UNIX_EPOCH),
            rate: Rate::new(0.5, None),
            concurrency: NonZeroU32::new(8),
            rights: Vec::new(),
            is_token: false,
        };
        let lines = table(&[key], Timestamp::UNIX_EPOCH);
        assert_eq!(
            lines,
            "NAME  SCOPES            MODELS   PER SECOND  UNDER WAY  EXPIRES\n\
             shop  predict,feedback  mnist-*  0.5         8          1970-01-01T00:00:00Z (over)\n"
        );
    }
}
