//! The policy, case by case.

use super::*;

const OLD: Fingerprint = Fingerprint(1);
const NEW: Fingerprint = Fingerprint(2);

fn set(versions: &[u64]) -> BTreeSet<Version> {
    versions.iter().copied().map(Version).collect()
}

/// A version from a line as `aspired serving=1 loadable=2`.
fn view(line: &str, now: Instant) -> VersionView {
    let mut view = VersionView { on_disk: true, ..VersionView::default() };
    for word in line.split_whitespace() {
        match word {
            "aspired" => view.aspired = true,
            "dismissed" => view.dismissed = true,
            "vanished" => view.on_disk = false,
            "draining" => view.draining = true,
            "old" => view.loadable = Some(OLD),
            "new" => view.loadable = Some(NEW),
            "serving" => view.serving = Some(OLD),
            "loading" => view.loading = Some(Loading { fingerprint: OLD, cancelled: false }),
            "cancelled" => view.loading = Some(Loading { fingerprint: OLD, cancelled: true }),
            "ended" => view.failed = Some(Failed { fingerprint: OLD, again: None }),
            "later" => view.failed = Some(Failed { fingerprint: OLD, again: Some(now + Duration::from_secs(1)) }),
            "due" => view.failed = Some(Failed { fingerprint: OLD, again: Some(now) }),
            word => panic!("{word}"),
        }
    }
    view
}

#[test]
fn what_becomes_of_versions() {
    use Action::{Cancel, Forget, Load, Resume, Unload};
    let now = Instant::now();
    // The versions of a model from 1 on, and what to do about them, the greatest number first.
    type Row = (&'static str, &'static [&'static str], &'static [(u64, Action)]);
    let table: &[Row] = &[
        ("a version appears", &["aspired old"], &[(1, Load)]),
        ("its files are still changing", &["aspired"], &[]),
        ("it serves", &["aspired old serving"], &[]),
        ("it is being loaded", &["aspired old loading"], &[]),
        ("all that are wanted load, newest first", &["aspired old", "aspired old"], &[(2, Load), (1, Load)]),
        ("load before unload", &["old serving", "aspired old"], &[(2, Load)]),
        ("still loading: the old one stays", &["old serving", "aspired old loading"], &[]),
        ("then the old one goes", &["old serving", "aspired old serving"], &[(1, Unload)]),
        ("back to a smaller number", &["aspired old", "old serving"], &[(1, Load)]),
        ("and then the greater goes", &["aspired old serving", "old serving"], &[(2, Unload)]),
        ("the new one failed: the only one stays", &["old serving", "aspired old ended"], &[]),
        ("the new one waits: the only one stays", &["old serving", "aspired old later"], &[]),
        ("another serves, a third is still to come", &["old serving", "aspired old serving", "aspired"], &[]),
        (
            "another serves, the third has ended",
            &["old serving", "aspired old serving", "aspired old ended"],
            &[(1, Unload)],
        ),
        ("nothing is wanted: the only one stays", &["old serving"], &[]),
        ("its folder vanished: the only one stays", &["vanished serving"], &[]),
        ("its folder vanished, another serves", &["vanished serving", "aspired old serving"], &[(1, Unload)]),
        ("somebody asked for it to go", &["dismissed old serving"], &[(1, Unload)]),
        ("an alias points to it, its folder vanished", &["aspired vanished serving"], &[]),
        ("changed files are loaded beside what serves", &["aspired new serving"], &[(1, Load)]),
        ("a failed change is left", &["aspired old serving ended"], &[]),
        ("a failure waits for its time", &["aspired old later"], &[]),
        ("a failure whose time has come", &["aspired old due"], &[(1, Load)]),
        ("an end is an end", &["aspired old ended"], &[]),
        ("until the files change", &["aspired new ended"], &[(1, Load)]),
        ("even if it waits", &["aspired new later"], &[(1, Load)]),
        ("no longer wanted while loading", &["old loading"], &[(1, Cancel)]),
        ("cancelled already", &["old cancelled"], &[]),
        ("wanted again while the load is cancelled", &["aspired old cancelled"], &[(1, Resume)]),
        ("wanted again with other files", &["aspired new cancelled"], &[]),
        ("wanted again while it drains", &["aspired old draining"], &[(1, Load)]),
        ("vanished and drained", &["vanished"], &[(1, Forget)]),
        ("vanished and draining", &["vanished draining"], &[]),
        ("vanished and its load is being cancelled", &["vanished cancelled"], &[]),
        ("not wanted and there", &["old"], &[]),
    ];
    for (case, lines, expected) in table {
        let versions = lines.iter().zip(1..).map(|(line, number)| (Version(number), view(line, now))).collect();
        let expected: Vec<_> = expected.iter().map(|(number, action)| (Version(*number), *action)).collect();
        assert_eq!(decide(&versions, false, now), expected, "{case}");
    }
}

#[test]
fn the_folder_of_a_model_that_is_gone_takes_its_last_version_along() {
    let now = Instant::now();
    let versions = BTreeMap::from([(Version(1), view("vanished serving", now))]);
    assert_eq!(decide(&versions, true, now), [(Version(1), Action::Unload)]);
}

/// Whatever happens, a step never takes the last serving version of a model away unasked.
#[test]
fn no_step_takes_the_last_version_away_unasked() {
    let now = Instant::now();
    let words = ["aspired", "vanished", "old", "new", "serving", "loading", "ended", "later"];
    let all: Vec<VersionView> = (0..1u32 << words.len())
        .map(|bits| {
            let chosen: Vec<&str> = (0..words.len()).filter(|bit| bits >> bit & 1 == 1).map(|bit| words[bit]).collect();
            view(&chosen.join(" "), now)
        })
        .collect();
    for first in &all {
        for second in &all {
            let versions = BTreeMap::from([(Version(1), *first), (Version(2), *second)]);
            let actions = decide(&versions, false, now);
            let unloaded = actions.iter().filter(|(_, action)| *action == Action::Unload).count();
            let serving = versions.values().filter(|view| view.serving.is_some()).count();
            assert!(serving == 0 || unloaded < serving, "{versions:?} {actions:?}");
        }
    }
}

#[test]
fn the_aspired_set_is_complete() {
    type Versions = &'static [u64];
    type Row = (&'static str, bool, &'static str, Versions, Versions, Versions, Versions);
    let table: &[Row] = &[
        ("all", true, "all", &[], &[], &[], &[1, 2, 5]),
        ("the newest", true, "latest:1", &[], &[], &[], &[5]),
        ("the two newest", true, "latest:2", &[], &[], &[], &[2, 5]),
        ("more than there are", true, "latest:9", &[], &[], &[], &[1, 2, 5]),
        ("named ones that exist", true, "specific:1,3", &[], &[], &[], &[1]),
        ("an alias keeps an old one", true, "latest:1", &[1], &[], &[], &[1, 5]),
        ("one loaded by name", true, "latest:1", &[], &[2], &[], &[2, 5]),
        ("one unloaded by name", true, "all", &[], &[], &[5], &[1, 2]),
        ("unloading does not pull in another", true, "latest:1", &[], &[], &[5], &[]),
        ("an alias wins over unloading", true, "all", &[5], &[], &[5], &[1, 2, 5]),
        ("the whole model unloaded", false, "all", &[1], &[], &[], &[]),
        ("one version of an unloaded model", false, "all", &[1], &[2], &[], &[2]),
        ("what is not there cannot be pinned", true, "latest:1", &[], &[4], &[], &[5]),
    ];
    for (case, wanted, policy, aliased, pinned, excluded, expected) in table {
        let policy = policy.parse().unwrap();
        let (on_disk, aliased, pinned, excluded) = (set(&[1, 2, 5]), set(aliased), set(pinned), set(excluded));
        let demand = Demand {
            wanted: *wanted,
            policy: &policy,
            on_disk: &on_disk,
            aliased: &aliased,
            pinned: &pinned,
            excluded: &excluded,
        };
        assert_eq!(aspire(&demand), set(expected), "{case}");
    }
}

#[test]
fn pauses_double_and_end() {
    let seconds = |failure, attempts| pause(failure, attempts).map(|pause| pause.as_secs());
    let passing: Vec<_> = (1..=6).map(|attempts| seconds(Failure::Passing, attempts)).collect();
    assert_eq!(passing, [Some(1), Some(2), Some(4), Some(8), None, None]);
    assert_eq!(seconds(Failure::Incomplete, 6), Some(32));
    assert_eq!(seconds(Failure::Incomplete, u32::MAX), Some(60));
    assert_eq!(seconds(Failure::Lasting, 1), None);
}

#[test]
fn files_are_read_when_they_have_come_to_rest() {
    let fresh =
        Standing { seen_for: Duration::ZERO, seen_before: false, asked: false, untouched: None, vouched: false };
    let interval = Duration::from_secs(2);
    let seconds = Duration::from_secs;
    for (case, standing, expected) in [
        ("seen for the first time", fresh, false),
        ("seen for the first time by a look that was asked for", Standing { asked: true, ..fresh }, false),
        ("a hint soon after", Standing { seen_before: true, seen_for: Duration::from_millis(100), ..fresh }, false),
        ("the next interval", Standing { seen_before: true, seen_for: seconds(2), ..fresh }, true),
        ("asked for again", Standing { seen_before: true, asked: true, ..fresh }, true),
        ("changed well before the look", Standing { untouched: Some(seconds(60)), ..fresh }, true),
        ("changed just before the look", Standing { untouched: Some(seconds(1)), ..fresh }, false),
        ("a manifest vouches", Standing { vouched: true, ..fresh }, true),
    ] {
        assert_eq!(at_rest(standing, interval), expected, "{case}");
    }
}
