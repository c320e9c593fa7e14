//! Plain files in folders that others can write to, such as the state folder. Nothing here waits for a pipe, follows a
//! link as the last part of a path, or takes a file that a stranger has put there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;

/// The files that this process has staged: each has a name of its own.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// Opens a plain file with these options, whoever it belongs to.
///
/// # Errors
/// Those of the system. [`ErrorKind::InvalidInput`], saying which, when there is a link, a folder, a pipe, a socket or a
/// device in its place.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    if let Ok(found) = fs::symlink_metadata(path) {
        check_plain(&found)?;
    }
    // Between the question above and this call the file may be swapped: the flags hold then too.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    check_plain(&file.metadata()?)?;
    Ok(file)
}

/// Opens a plain file of our own: one that belongs to this process's user, to root, or to the owner of its folder.
///
/// # Errors
/// As [`open`]; [`ErrorKind::InvalidInput`] also for a file of another user.
pub(crate) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open(path, options)?;
    check_owner(path, &file.metadata()?)?;
    Ok(file)
}

/// Checks without opening it that a file is one that [`open_own`] takes, or is not there: for those that something else
/// opens.
///
/// # Errors
/// As [`open_own`].
pub(crate) fn check_own(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) => check_plain(&found).and_then(|()| check_owner(path, &found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the whole of a plain file of our own.
///
/// # Errors
/// As [`open_own`]; [`ErrorKind::FileTooLarge`] when it has more than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_own(path, OpenOptions::new().read(true))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Writes a plain file in place of what is there, by a new file beside it, its flush to the disk, and a rename: after a
/// crash it is the old one or the new one. The folder is made if it is not there. Of two at once for the same path the
/// last one stays, whole.
///
/// # Errors
/// Those of the system; what was there stays then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let name = path.file_name().ok_or_else(|| refused("a path without a name"))?;
    let call = STAGED.fetch_add(1, Ordering::Relaxed);
    let staged = folder.join(format!(".{}.{}-{call}.new", name.to_string_lossy(), std::process::id()));
    // Whatever a process of the same number, or somebody else, has left there: a link is removed and not followed.
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&staged)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&staged, path));
    if written.is_err() {
        drop(fs::remove_file(&staged));
    }
    written
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn check_plain(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let got = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_symlink() => "a link, which is not followed",
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(refused(got))
}

fn check_owner(path: &Path, found: &Metadata) -> io::Result<()> {
    let owners = [0, rustix::process::geteuid().as_raw(), fs::metadata(folder_of(path))?.uid()];
    if owners.contains(&found.uid()) { Ok(()) } else { Err(refused("a file of another user")) }
}

fn refused(got: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("expected a plain file, got {got}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Puts everything that is no plain file into a folder, and returns the names.
    fn fill(folder: &Path) -> [&'static str; 4] {
        fs::write(folder.join("target"), "secret").unwrap();
        symlink("target", folder.join("link")).unwrap();
        fs::create_dir(folder.join("folder")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        drop(UnixListener::bind(folder.join("socket")).unwrap());
        ["link", "folder", "pipe", "socket"]
    }

    #[test]
    fn what_is_no_plain_file_is_refused_by_name_and_nobody_waits_for_it() {
        let folder = tempfile::TempDir::new().unwrap();
        for name in fill(folder.path()) {
            let path = folder.path().join(name);
            let read = OpenOptions::new().read(true).clone();
            let written = OpenOptions::new().write(true).create(true).clone();
            let appended = OpenOptions::new().append(true).create(true).clone();
            for mut options in [read, written, appended] {
                let error = open(&path, &mut options).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
                assert!(error.to_string().contains(&format!("got a {name}")), "{error}");
            }
            assert!(super::read(&path, 100).is_err() && check_own(&path).is_err(), "{name}");
        }
        assert_eq!(fs::read(folder.path().join("target")).unwrap(), b"secret");
    }

    #[test]
    fn a_file_is_read_up_to_the_limit_and_replaced_whole() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("new/file");
        replace(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        replace(&path, b"6").unwrap();
        assert_eq!(read(&path, u64::MAX).unwrap(), b"6");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(read(&folder.path().join("none"), 1).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_of_another_user_is_not_our_own() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "planted").unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        for error in [read(&path, 10).unwrap_err(), check_own(&path).unwrap_err()] {
            assert!(error.to_string().contains("another user"), "{error}");
        }
        open(&path, OpenOptions::new().read(true)).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"planted", "the folder's owner can do as much by renaming");
    }

    #[test]
    fn replacing_writes_through_no_link() {
        let folder = tempfile::TempDir::new().unwrap();
        fill(folder.path());
        let at = |name: &str| folder.path().join(name);
        for name in ["file", "link", "pipe", "socket"] {
            replace(&at(name), b"new").unwrap();
            assert_eq!(read(&at(name), 3).unwrap(), b"new", "{name}");
        }
        assert_eq!(fs::read(at("target")).unwrap(), b"secret");
        replace(&at("folder"), b"new").unwrap_err();
        let staged = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().to_string_lossy().ends_with(".new");
        assert!(!fs::read_dir(folder.path()).unwrap().any(staged), "nothing is left beside it");
    }

    /// Each reader sees the whole of one of them, and no call fails.
    #[test]
    fn many_at_once_replace_the_whole_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for byte in b'a'..b'i' {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        replace(path, &vec![byte; 10_000 + usize::from(byte)]).unwrap();
                        let found = read(path, u64::MAX).unwrap();
                        assert!(found.iter().all(|one| *one == found[0]));
                        assert_eq!(found.len(), 10_000 + usize::from(found[0]));
                    }
                });
            }
        });
    }
}
