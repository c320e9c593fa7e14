//! The store under strain: damaged pages, and more than it holds.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::audit::AuditFile;
use super::block::{Kept, Row};
use super::database::{Connection, Place, Value};
use super::fault::{Fault, Outcome};
use super::feedback::{Content, Feedback, Origin, Verdict};
use super::input::InputLimits;
use super::join::{HOLD_US, MAX_HELD};
use super::quality::{QualityQuery, Window};
use super::sampling::KeptShare;
use super::session::Session;
use super::settings::{Logged, StoreSettings};
use super::version::{Answers, KnownVersion};
use super::writer::{FILE, Store};
use crate::error::Error;
use crate::metrics::Metrics;

fn settings(folder: &Path) -> StoreSettings {
    StoreSettings {
        folder: folder.to_owned(),
        database: None,
        keep_predictions: Duration::from_secs(14 * 86_400),
        keep_share: KeptShare::ALL,
        keep_bytes: 1 << 30,
        keep_feedback: Duration::from_secs(400 * 86_400),
        inputs: InputLimits::default(),
    }
}

fn session(folder: &Path, metrics: &Metrics) -> Session {
    let audit_file = Arc::new(AuditFile::new(folder, None));
    Session::new(Place::Sqlite(folder.join(FILE)), settings(folder), metrics.store.clone(), audit_file)
}

fn samples(count: usize) -> Vec<Logged> {
    let version = Arc::new(KnownVersion {
        model: "m".into(),
        version: 1,
        digest: [7; 32],
        labels: vec!["a".into(), "b".into()],
        answers: Answers::Classes,
    });
    let kept = Kept::Classified {
        class: 1,
        confidence: 0.75,
        margin: 1.0,
        energy: None,
        classes: 2,
        probabilities: vec![0.25, 0.75],
    };
    let sample = |_| Logged {
        version: version.clone(),
        client: None,
        row: Row::new(uuid::Uuid::now_v7(), 0, jiff::Timestamp::now().as_microsecond(), kept.clone()),
        is_kept: true,
        captured: None,
    };
    (0..count).map(sample).collect()
}

fn label(request_id: &str) -> Feedback {
    Feedback {
        request_id: request_id.to_owned(),
        item: 0,
        model: None,
        content: Content::Class(1),
        source: Origin::User,
        annotator: String::new(),
        labelled_at: None,
        inclusion: None,
        claim: None,
    }
}

/// Writes a sample and its label; returns what became of the label.
fn write_one(session: &mut Session) -> Outcome<Verdict> {
    let one = samples(1);
    let label = label(&one[0].row.id.to_string());
    let mut verdicts = session.write(one, &[vec![label]])?;
    Ok(verdicts.remove(0).remove(0))
}

fn judged(session: &mut Session) -> Outcome<i64> {
    let query = QualityQuery { model: "m".into(), version: None, window: Window::All, source: None, now: 0 };
    Ok(session.read(&query)?.iter().map(|version| version.sums.judged).sum())
}

/// Only samples that were to be kept count as dropped, wherever they are.
#[test]
fn what_is_dropped_is_what_was_to_be_kept() {
    let folder = tempfile::TempDir::new().unwrap();
    let metrics = Metrics::new().unwrap();
    let store = Store::open(settings(folder.path()), metrics.store.clone()).unwrap();
    let mut many = samples(70_000);
    many[..1000].iter_mut().for_each(|sample| sample.is_kept = false);
    store.log(many);
    let dropped = || metrics.store.counts().dropped;
    assert_eq!(dropped(), 69_000, "more than may wait");
    store.close();
    let mut three = samples(3);
    three[0].is_kept = false;
    store.log(three.clone());
    assert_eq!(dropped(), 69_002, "the thread has ended");
    // A folder in its place.
    fs::remove_file(folder.path().join(FILE)).unwrap();
    fs::create_dir(folder.path().join(FILE)).unwrap();
    session(folder.path(), &metrics).write(three, &[]).unwrap_err();
    assert_eq!((dropped(), metrics.store.counts().written), (69_004, 0), "the database cannot be used");
}

/// Whatever page is damaged: no call panics, what fails says so, and after at most a few failures the store works,
/// with all labels that are in the file or with a new file beside the damaged one.
#[test]
fn every_damaged_page_is_survived() {
    const LABELS: usize = 200;
    let folder = tempfile::TempDir::new().unwrap();
    let metrics = Metrics::new().unwrap();
    {
        let mut session = session(folder.path(), &metrics);
        for _ in 0..LABELS {
            assert!(matches!(write_one(&mut session), Ok(Verdict::Joined(_))));
        }
    }
    Place::Sqlite(folder.path().join(FILE)).connect().unwrap().checkpoint().unwrap();
    let whole = fs::read(folder.path().join(FILE)).unwrap();
    let (pages, mut set_aside) = (whole.len() / 4096, 0);
    assert!(pages > 40, "{pages}");
    for page in 0..pages {
        let folder = tempfile::TempDir::new().unwrap();
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xAA);
        fs::write(folder.path().join(FILE), damaged).unwrap();
        let mut session = session(folder.path(), &metrics);
        // What a server does in its life: it looks at what is due, answers a question, and writes.
        let mut failures = 0;
        let mut note = |fault: Fault| {
            failures += 1;
            assert_eq!(fault.name(), "corrupt", "page {page}: {fault}");
        };
        session.tick();
        judged(&mut session).map(drop).unwrap_or_else(&mut note);
        write_one(&mut session).map(drop).unwrap_or_else(&mut note);
        let verdict = write_one(&mut session).or_else(|_| write_one(&mut session)).unwrap();
        assert!(matches!(verdict, Verdict::Joined(_)), "page {page}: {verdict:?}");
        let known = judged(&mut session).unwrap();
        let is_aside = fs::read_dir(folder.path()).unwrap().any(|entry| {
            let name = entry.unwrap().file_name();
            name.to_string_lossy().starts_with("weir.db.corrupt-")
        });
        assert!(failures <= 2, "page {page}: {failures}");
        match is_aside {
            true => {
                set_aside += 1;
                assert!(known <= 2, "page {page}: a new file has the new labels only, got {known}");
            }
            false => assert!(known > LABELS as i64, "page {page}: the sums are there, got {known}"),
        }
    }
    assert!(set_aside > 3, "damage is found: {set_aside} of {pages} pages");
}

/// Nothing is acknowledged that is written to a file which nobody finds again.
#[test]
fn a_file_that_is_removed_or_replaced_is_left() {
    let folder = tempfile::TempDir::new().unwrap();
    let (path, metrics) = (folder.path().join(FILE), Metrics::new().unwrap());
    let mut session = session(folder.path(), &metrics);
    for _ in 0..3 {
        assert!(matches!(write_one(&mut session), Ok(Verdict::Joined(_))));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(write_one(&mut session), Ok(Verdict::Joined(_))));
    assert_eq!(judged(&mut session).unwrap(), 1);
    let other = tempfile::TempDir::new().unwrap();
    {
        let mut other = self::session(other.path(), &metrics);
        assert!(matches!(write_one(&mut other), Ok(Verdict::Joined(_))));
        assert!(matches!(write_one(&mut other), Ok(Verdict::Joined(_))));
    }
    fs::rename(other.path().join(FILE), &path).unwrap();
    for _ in 0..2 {
        let refused = write_one(&mut session).unwrap_err().to_string();
        assert!(refused.contains("replaced while it was in use"), "{refused}");
    }
    drop(session);
    for ending in ["-wal", "-shm"] {
        drop(fs::remove_file(folder.path().join(format!("{FILE}{ending}"))));
    }
    assert_eq!(judged(&mut self::session(folder.path(), &metrics)).unwrap(), 2, "the file that was put there");
}

/// A damaged file is kept whenever it is set aside, also twice in a second.
#[test]
fn no_damaged_file_takes_the_place_of_another() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join(FILE);
    for content in ["first", "second", "third"] {
        fs::write(&path, content).unwrap();
        super::fault::set_aside(&path);
    }
    let mut kept: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["first", "second", "third"]);
}

/// Notes so many labels that wait, all but their rows' fields being alike.
fn fill(folder: &Path, held: i64) {
    let mut connection: Connection = Place::Sqlite(folder.join(FILE)).open().unwrap();
    let now = jiff::Timestamp::now().as_microsecond() - HOLD_US / 2;
    connection
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO feedback (digest, target, item, content, source, annotator, received, state) \
             SELECT CAST(i AS BLOB), 'x' || i, 0, '{\"class\":1}', 1, '', ?2, 2 FROM n",
            &[held.into(), Value::Int(now)],
        )
        .unwrap();
}

#[test]
fn labels_that_wait_are_bounded_and_the_others_go_on() {
    let folder = tempfile::TempDir::new().unwrap();
    let metrics = Metrics::new().unwrap();
    fill(folder.path(), MAX_HELD - 1);
    let mut session = session(folder.path(), &metrics);
    let early: Vec<Feedback> = ["a", "b", "a"].map(label).into();
    let verdicts = session.write(Vec::new(), &[early]).unwrap().remove(0);
    assert!(matches!(verdicts[0], Verdict::Held(_)), "{verdicts:?}");
    let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Rejected(Error::Overloaded { .. }));
    assert!(is_refused(&verdicts[1]), "{verdicts:?}");
    assert!(matches!(verdicts[2], Verdict::Held(_)), "the same again is known: {verdicts:?}");
    assert!(matches!(write_one(&mut session), Ok(Verdict::Joined(_))), "labels of what is kept are taken");
    assert_eq!(metrics.store.held.get(), MAX_HELD);
}

/// The size noted of predictions is counted when a server starts, before any go because of it; a sweep that was full is
/// repeated at the next tick.
#[test]
fn a_session_counts_at_its_start_and_sweeps_until_nothing_old_is_left() {
    let folder = tempfile::TempDir::new().unwrap();
    let metrics = Metrics::new().unwrap();
    let mut session = session(folder.path(), &metrics);
    write_one(&mut session).unwrap();
    let mut connection: Connection = Place::Sqlite(folder.path().join(FILE)).open().unwrap();
    connection.batch("UPDATE prediction_bytes SET bytes = bytes + 1099511627776").unwrap();
    connection
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO client_id (client, id, at) SELECT 'x', CAST(i AS BLOB), 0 FROM n",
            &[Value::Int(12_000)],
        )
        .unwrap();
    for left in [7_000, 2_000, 0] {
        session.tick();
        let found = connection.query("SELECT COUNT(*) FROM client_id WHERE client = 'x'", &[]).unwrap();
        assert_eq!(found[0].int(0), left);
    }
    let found = connection
        .query("SELECT bytes, (SELECT SUM(LENGTH(data)) FROM prediction), (SELECT COUNT(*) FROM prediction) FROM prediction_bytes", &[])
        .unwrap();
    assert_eq!((found[0].int(0), found[0].int(2)), (found[0].int(1), 1), "nothing went because of the wrong note");
}

/// A million labels for predictions that nobody has seen: as many as may wait do, and no memory grows with the others.
#[test]
#[ignore = "takes two minutes; .ci/run runs it"]
fn many_labels_for_nothing_take_no_memory() {
    let resident = || {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let folder = tempfile::TempDir::new().unwrap();
    let metrics = Metrics::new().unwrap();
    let mut session = session(folder.path(), &metrics);
    let (mut held, mut refused, mut before) = (0, 0, 0);
    for chunk in 0..1000 {
        let pieces = (0..1000).map(|piece| label(&format!("unseen-{chunk}-{piece}"))).collect();
        for verdict in session.write(Vec::new(), &[pieces]).unwrap().remove(0) {
            match verdict {
                Verdict::Held(_) => held += 1,
                Verdict::Rejected(Error::Overloaded { .. }) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        if chunk == 10 {
            before = resident();
        }
    }
    assert_eq!((held, refused), (MAX_HELD, 1_000_000 - MAX_HELD));
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
    let file = fs::metadata(folder.path().join(FILE)).unwrap().len();
    assert!(file < 100 << 20, "{file} bytes");
}
