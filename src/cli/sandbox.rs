//! The sandbox of the child that tries a model: what it does not need, the kernel refuses it. A file that takes the engine
//! over finds no network, no program to start, nothing to write to, and only the files that an engine reads.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::error::{Error, Result};

/// The folders of the system's libraries, which an engine may load later, and where the system tells of its processors.
const READABLE: [&str; 8] =
    ["/lib", "/lib64", "/usr/lib", "/usr/local/lib", "/etc/ld.so.cache", "/proc/self", "/proc/cpuinfo", "/sys/devices"];

/// The newest version of Landlock that is used where the kernel has it.
const LANDLOCK: ABI = ABI::V6;

/// The parts of the sandbox that this kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sandbox {
    /// System calls are filtered.
    seccomp: bool,
    /// Files and connections are filtered.
    landlock: bool,
}

impl Sandbox {
    /// Returns the names of the parts.
    pub(super) fn parts(self) -> Vec<&'static str> {
        [(self.seccomp, "seccomp"), (self.landlock, "landlock")]
            .into_iter()
            .filter_map(|(is_there, name)| is_there.then_some(name))
            .collect()
    }
}

/// Confines this thread and all that it starts from now on, for good. What an engine needs of its own is loaded before.
///
/// # Errors
/// [`Error::Internal`] when a part that the kernel has cannot be put into force.
pub(super) fn enter() -> Result<Sandbox> {
    let landlock = restrict_files().map_err(|error| Error::internal("Landlock refuses the sandbox", error))?;
    let seccomp = restrict_calls()?;
    Ok(Sandbox { seccomp, landlock })
}

fn restrict_files() -> std::result::Result<bool, landlock::RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, AccessFs::from_read(LANDLOCK)))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Forbids system calls that an engine has no use for. They fail with `EPERM`, as they do for whoever lacks a right.
fn restrict_calls() -> Result<bool> {
    let refuse = |error: seccompiler::Error| Error::internal("seccomp refuses the sandbox", error);
    let backend = |error: seccompiler::BackendError| refuse(error.into());
    // On other processors there is no filter.
    let Ok(architecture) = std::env::consts::ARCH.try_into() else { return Ok(false) };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        [OTHERS, FILES, SYSTEM, OLD].concat().into_iter().map(|call| (call, Vec::new())).collect();
    for (call, argument) in opening() {
        let is = |mask: i32, value: i32| {
            let (mask, value) = (mask.cast_unsigned().into(), value.cast_unsigned().into());
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
                .and_then(|condition| SeccompRule::new(vec![condition]))
        };
        let writing = [
            is(libc::O_ACCMODE, libc::O_WRONLY),
            is(libc::O_ACCMODE, libc::O_RDWR),
            is(libc::O_CREAT, libc::O_CREAT),
            is(libc::O_TRUNC, libc::O_TRUNC),
        ];
        rules.insert(call, writing.into_iter().collect::<std::result::Result<_, _>>().map_err(backend)?);
    }
    // A new process would outlive its parent; a new thread does not.
    let threads = libc::CLONE_THREAD.cast_unsigned().into();
    let process = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(threads), 0)
        .and_then(|condition| SeccompRule::new(vec![condition]));
    rules.insert(libc::SYS_clone, vec![process.map_err(backend)?]);
    other_numbers(&mut rules);
    // The arguments of the newer call cannot be judged; the C library takes the older one where there is no newer.
    let newer = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, errno) in [(newer, libc::ENOSYS), (rules, libc::EPERM)] {
        let refusal = SeccompAction::Errno(errno.cast_unsigned());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).map_err(backend)?;
        let program: BpfProgram = filter.try_into().map_err(backend)?;
        match seccompiler::apply_filter(&program) {
            Ok(()) => {}
            // A kernel without it, or a container that forbids it.
            Err(seccompiler::Error::Prctl(_) | seccompiler::Error::Seccomp(_)) => return Ok(false),
            Err(error) => return Err(refuse(error)),
        }
    }
    Ok(true)
}

/// Forbids the same calls by the numbers that they have for programs with short pointers.
#[cfg(target_arch = "x86_64")]
fn other_numbers(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) {
    const SHORT: i64 = 0x4000_0000;
    let known: Vec<i64> = rules.keys().copied().chain([libc::SYS_clone3]).chain(512..=547).collect();
    rules.extend(known.into_iter().map(|call| (call | SHORT, Vec::new())));
}

#[cfg(not(target_arch = "x86_64"))]
fn other_numbers(_: &mut BTreeMap<i64, Vec<SeccompRule>>) {}

/// Returns the calls that open a file by flags, and the place of the flags among the arguments.
fn opening() -> Vec<(i64, u8)> {
    let mut calls = vec![(libc::SYS_openat, 2)];
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_open, 1));
    calls
}

/// The network, other processes, and other programs.
const OTHERS: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_execve,
    libc::SYS_execveat,
];

/// Calls that change files; opening for writing is judged by its flags, and the newest way to open hides them.
const FILES: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_open_by_handle_at,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_utimensat,
];

/// The system, and ways around the filter.
const SYSTEM: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
];

/// Calls that newer processors no longer have.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_creat,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::net::{TcpListener, UdpSocket};
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn a_confined_thread_computes_and_reads_and_does_nothing_else() {
        let folder = tempfile::TempDir::new().unwrap();
        let (kept, path) = (folder.path().join("kept"), folder.path().to_owned());
        fs::write(&kept, "kept").unwrap();
        let file = kept.clone();
        // It holds for this thread and its children alone, and so not for the other tests.
        let sandbox = thread::spawn(move || {
            // Before the files are closed by Landlock, which refuses some of it too.
            let seccomp = restrict_calls().unwrap();
            if seccomp {
                let refused = |done: std::io::Result<()>, what: &str| {
                    assert_eq!(done.unwrap_err().raw_os_error(), Some(libc::EPERM), "{what}");
                };
                refused(TcpListener::bind("127.0.0.1:0").map(drop), "listen");
                refused(UdpSocket::bind("127.0.0.1:0").map(drop), "send");
                refused(fs::write(path.join("new"), "x"), "create");
                refused(fs::OpenOptions::new().append(true).open(&file).map(drop), "append");
                refused(fs::remove_file(&file), "remove");
                refused(fs::rename(&file, path.join("other")), "rename");
                refused(fs::create_dir(path.join("folder")), "make a folder");
                refused(fs::hard_link(&file, path.join("link")), "link");
                refused(Command::new("/bin/true").status().map(drop), "start a program");
                // A thread of its own computes, with the same limits.
                let inner =
                    thread::spawn(move || (vec![1u8; 1 << 20].len(), TcpListener::bind("127.0.0.1:0").is_err()));
                assert_eq!(inner.join().unwrap(), (1 << 20, true));
            }
            let landlock = restrict_files().unwrap();
            if landlock {
                assert_eq!(fs::read(&file).unwrap_err().kind(), ErrorKind::PermissionDenied);
                assert!(fs::read("/etc/passwd").is_err());
            }
            assert!(fs::read("/proc/self/status").is_ok());
            Sandbox { seccomp, landlock }
        });
        let sandbox = sandbox.join().unwrap();
        assert!(sandbox.seccomp || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))), "{sandbox:?}");
        assert_eq!(fs::read(kept).unwrap(), b"kept");
    }
}
