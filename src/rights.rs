//! Who may do what: capabilities, users and scheduling of the processes (capabilities(7),
//! credentials(7)).
//!
//! The supervisor keeps what it was started with. A child gives up everything that it does not need
//! before it starts its first thread: capabilities belong to threads, and a thread inherits those
//! of its maker.

use std::io;

use crate::control::Identity;
use caps::{CapSet, Capability, CapsHashSet};
use common::board::Child;
use common::config::{Capacity, Config};
use nix::unistd::{Gid, Group, Uid, User, geteuid, setgroups, setresgid, setresuid};
use rustix::process::{
    Pid, Resource, Rlimit, getrlimit, setpriority_pgrp, setpriority_process, setrlimit,
};

/// The word of a rescue, as [`Child::word`] is a child's.
pub(crate) const RESCUE: &str = "rescue";
/// Group whose members may read the admin socket.
pub(crate) const ADMIN_GROUP: &str = "fmc-lb";
/// A busy machine must not keep the proxy from accepting for 100 ms.
const PROXY_NICE: i32 = -10;
/// Descriptors that the table is made for at the start: 1 MiB of the kernel's memory.
const LARGEST_TABLE: u64 = 128 * 1024;
/// The kernel's own somaxconn, if it does not say.
const BACKLOG: u32 = 4_096;

/// What `fmc-lb run` cannot do without and was not given, in words; empty = it may go on.
pub(crate) fn missing(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |capability: Capability, why: &str| {
        if !caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false) {
            missing.push(format!("{capability} ({why})"));
        }
    };
    if !config.vips.is_empty() {
        need(
            Capability::CAP_NET_ADMIN,
            "virtual IPs are addresses of the kernel",
        );
        need(
            Capability::CAP_NET_RAW,
            "adverts and ARP go over raw sockets",
        );
    }
    let first_free_port = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|port| port.trim().parse().ok())
        .unwrap_or(1024_u16);
    let mut ports = config
        .listeners
        .iter()
        .flat_map(|listener| &listener.binds)
        .map(|bind| bind.address.port());
    if let Some(port) = ports.find(|port| *port < first_free_port) {
        need(Capability::CAP_NET_BIND_SERVICE, &format!("port {port}"));
    }
    if Child::ALL.iter().any(|child| user_of(*child).is_some()) {
        need(
            Capability::CAP_SETUID,
            "the processes have users of their own",
        );
        need(
            Capability::CAP_SETGID,
            "the processes have users of their own",
        );
    }
    missing
}

/// The users of the processes, looked up once: a host's user database may hang, and a dead process
/// must be replaced within milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Users {
    children: [Option<Identity>; 3],
    rescuer: Option<Identity>,
}

impl Users {
    pub(crate) fn look_up() -> Self {
        Self {
            children: Child::ALL.map(user_of),
            rescuer: identity_of(RESCUE, Vec::new()),
        }
    }

    /// The child's own user, if there is one.
    pub(crate) fn of(&self, child: Child) -> Option<Identity> {
        self.children[child as usize].clone()
    }

    /// That of a rescue.
    pub(crate) fn rescuer(&self) -> Option<Identity> {
        self.rescuer.clone()
    }

    /// What a human should know of them.
    pub(crate) fn warning(&self) -> Option<String> {
        if !geteuid().is_root() {
            return Some("not started as root: all processes have the same user".to_owned());
        }
        let children = Child::ALL.map(|child| (child.word(), &self.children[child as usize]));
        let absent: Vec<&str> = children
            .into_iter()
            .chain([(RESCUE, &self.rescuer)])
            .filter(|(_, user)| user.is_none())
            .map(|(word, _)| word)
            .collect();
        let names = absent.join(",");
        (!absent.is_empty())
            .then(|| format!("no users fmc-lb-{{{names}}}: root without capabilities"))
    }
}

/// The group of the admin socket, if it exists.
pub(crate) fn admin_group() -> Option<Gid> {
    Group::from_name(ADMIN_GROUP)
        .ok()
        .flatten()
        .map(|group| group.gid)
}

/// The child's own user, if the host has one and we may become somebody else at all.
fn user_of(child: Child) -> Option<Identity> {
    let groups = match child {
        Child::Admin => admin_group().map(Gid::as_raw).into_iter().collect(),
        Child::Vrrp | Child::Proxy => Vec::new(),
    };
    identity_of(child.word(), groups)
}

fn identity_of(word: &str, groups: Vec<u32>) -> Option<Identity> {
    if !geteuid().is_root() {
        return None;
    }
    let user = User::from_name(&user_name(word)).ok().flatten()?;
    Some(Identity {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups,
    })
}

/// The user that the host has for a child.
pub(crate) fn looked_up(child: Child) -> Option<User> {
    User::from_name(&user_name(child.word())).ok().flatten()
}

/// Gives up what `child` does not need. Returns what could not be done, in words, for the log.
///
/// To be called before the process has a second thread. vrrp's main thread keeps CAP_SYS_NICE and
/// CAP_IPC_LOCK until its loop has real-time priority, see [`settle`].
///
/// # Errors
/// The process would keep rights that it must not have.
pub(crate) fn enter(child: Child, user: Option<&Identity>) -> io::Result<Vec<String>> {
    let mut refused = Vec::new();
    if child == Child::Proxy
        && let Err(error) = setpriority_process(None, PROXY_NICE)
    {
        refused.push(format!("set nice {PROXY_NICE}: {error}"));
    }
    confine(user, &kept_by(child), &mut refused)?;
    Ok(refused)
}

/// Leaves the process nothing but raw sockets: a rescue opens some, and then calls [`renounce`].
///
/// # Errors
/// The process would keep rights that it must not have.
pub(crate) fn enter_rescue(user: Option<&Identity>) -> io::Result<Vec<String>> {
    let mut refused = Vec::new();
    let raw_sockets = CapsHashSet::from([Capability::CAP_NET_RAW]);
    confine(user, &raw_sockets, &mut refused)?;
    Ok(refused)
}

/// Gives up every capability, from the calling thread.
///
/// # Errors
/// The kernel refused to take them back.
pub(crate) fn renounce() -> io::Result<()> {
    keep_only(&CapsHashSet::new())
}

fn confine(
    user: Option<&Identity>,
    keep: &CapsHashSet,
    refused: &mut Vec<String>,
) -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    drop_bounding_set(refused);
    if let Some(user) = user {
        become_user(user)?;
    }
    keep_only(keep)
}

/// Takes the priority of a dying process of ours away (each leads a process group, so that this
/// reaches all its threads): its successor starts meanwhile, and the kernel needs 200 ms to close
/// 16,000 sockets.
pub(crate) fn lower(pid: u32) {
    let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    if let Err(error) = setpriority_pgrp(Some(group), 0)
        && error != rustix::io::Errno::SRCH
    {
        tracing::debug!(pid, %error, "the priority of a dying process stays");
    }
}

/// Takes what only vrrp's loop needs, and only at its start, from the calling thread. A thread
/// inherits the capabilities of its maker: so the loop calls it when it has real-time priority, and
/// every other thread of a child is made by one that has called it.
///
/// # Errors
/// The kernel refused to take the capabilities back.
pub(crate) fn settle() -> io::Result<()> {
    keep_only(&CapsHashSet::from([
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
    ]))
}

/// Runs `load` with CAP_PERFMON, which only the verifier asks for, and takes it out of the effective set of the calling
/// thread afterwards. It stays in the permitted one: the next version, which this process starts and executes, has no
/// other source of it where no_new_privs is set (execve(2) gives then no more than the caller is permitted), and has
/// to load its own program. Without it in the permitted set `load` is run all the same, and the kernel decides.
pub(crate) fn with_perfmon<T>(load: impl FnOnce() -> T) -> T {
    let own = Capability::CAP_PERFMON;
    if caps::has_cap(None, CapSet::Permitted, own).unwrap_or(false)
        && let Err(error) = caps::raise(None, CapSet::Effective, own)
    {
        tracing::warn!(%error, "CAP_PERFMON is not to be had");
    }
    let loaded = load();
    if let Err(error) = caps::drop(None, CapSet::Effective, own) {
        tracing::warn!(%error, "CAP_PERFMON stays in effect");
    }
    loaded
}

/// Lets the process open `limit` descriptors, or as many as the host allows; returns how many those
/// are.
pub(crate) fn limit_descriptors(limit: u64) -> io::Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum.map_or(limit, |maximum| maximum.min(limit));
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(current),
            maximum,
        },
    )?;
    Ok(current)
}

/// Makes the kernel's table of this process's descriptors as large as it may become. Costs nothing
/// while there is one thread; with more the kernel lets the thread that needs a larger table wait
/// until all processors have passed through a quiet state (synchronize_rcu in expand_files, 5 to
/// 30 ms), and with it all its sessions, each time that their number doubles.
///
/// # Errors
/// The kernel has no memory for the table.
pub(crate) fn make_room_for_descriptors() -> io::Result<()> {
    let last = descriptors().min(LARGEST_TABLE) - 1;
    let last = i32::try_from(last).map_err(io::Error::other)?;
    // The table grows to hold it, and never shrinks.
    drop(rustix::io::fcntl_dupfd_cloexec(io::stderr(), last)?);
    Ok(())
}

/// Most descriptors of this process.
pub(crate) fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What this machine has for a node.
pub(crate) fn capacity() -> Capacity {
    Capacity {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
        backlog: longest_backlog(),
    }
}

/// net.core.somaxconn of the network namespace.
pub(crate) fn longest_backlog() -> u32 {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|limit| limit.trim().parse().ok())
        .unwrap_or(BACKLOG)
}

fn kept_by(child: Child) -> CapsHashSet {
    match child {
        Child::Vrrp => CapsHashSet::from([
            Capability::CAP_NET_ADMIN,
            Capability::CAP_NET_RAW,
            Capability::CAP_SYS_NICE,
            Capability::CAP_IPC_LOCK,
        ]),
        Child::Proxy | Child::Admin => CapsHashSet::new(),
    }
}

/// What no process of ours can gain again by executing something. no_new_privs says the same; so
/// without CAP_SETPCAP, which it takes, nothing is lost.
fn drop_bounding_set(refused: &mut Vec<String>) {
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        return;
    }
    let dropped = caps::all()
        .into_iter()
        .filter(|capability| caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false))
        .try_for_each(|capability| caps::drop(None, CapSet::Bounding, capability));
    if let Err(error) = dropped {
        refused.push(format!("empty the capability bounding set: {error}"));
    }
}

fn become_user(user: &Identity) -> io::Result<()> {
    nix::sys::prctl::set_keepcaps(true)?;
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

/// Leaves the calling thread with those of `keep` that it has now.
fn keep_only(keep: &CapsHashSet) -> io::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let keep: CapsHashSet = permitted.intersection(keep).copied().collect();
    caps::clear(None, CapSet::Inheritable)
        .and_then(|()| caps::clear(None, CapSet::Effective))
        .and_then(|()| caps::set(None, CapSet::Permitted, &keep))
        .and_then(|()| caps::set(None, CapSet::Effective, &keep))
        .map_err(io::Error::other)
}

fn user_name(word: &str) -> String {
    format!("fmc-lb-{word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_descriptors_is_as_large_as_it_may_become() {
        make_room_for_descriptors().expect("there is memory for it");
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        let size: u64 = size.expect("a line").trim().parse().expect("a number");
        assert!(size >= descriptors().min(LARGEST_TABLE), "{size}");
    }
}
