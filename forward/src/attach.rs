//! The program at the ingress of an interface, by rtnetlink: a `clsact` queueing discipline and a filter with a fixed
//! priority and handle, so that everybody who attaches replaces what is there, and nobody has to remember it. One way
//! for 5.14 and 6.x.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use netlink::Requests;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use nix::libc;
use nix::net::if_::if_nametoindex;

/// What `tc filter show` names it.
const NAME: &str = "fmc-lb";
/// Ours among the filters of the interface, unless somebody wants just this one.
const PRIORITY: u16 = 112;
const HANDLE: u32 = 1;
/// Longest wait for an answer; the kernel has it when the request is sent.
const ANSWER_LIMIT: Duration = Duration::from_millis(100);

/// The kernel refused a request about an interface's filters.
#[derive(Debug, thiserror::Error)]
#[error("{request} interface {interface}")]
pub struct AttachError {
    request: &'static str,
    /// Index of the interface.
    interface: u32,
    #[source]
    source: io::Error,
}

/// Index of the interface with this name in the calling thread's network namespace; `None` = there is none.
pub fn index_of(interface: &str) -> Option<u32> {
    if_nametoindex(interface).ok()
}

/// Attaches a program to the ingress of an interface of the calling thread's network namespace; one that an earlier
/// process has attached is replaced without a gap. Needs CAP_NET_ADMIN.
///
/// # Errors
/// If there is no such interface, or something else than BPF has our priority.
pub fn attach(interface: u32, program: impl AsFd) -> Result<(), AttachError> {
    let attached = open().and_then(|mut requests| {
        let made = requests.change(clsact(interface), NLM_F_CREATE | NLM_F_EXCL);
        but_for(made, libc::EEXIST)?;
        let filter = filter(interface, Some(program.as_fd().as_raw_fd()));
        requests.change(
            RouteNetlinkMessage::NewTrafficFilter(filter),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    });
    attached.map_err(failed("attach the TC program to", interface))
}

/// Takes the program from an interface, and the queueing discipline with it when nothing else is attached there. That
/// there is neither, or no such interface any more, is fine.
///
/// # Errors
/// If the kernel refuses.
pub fn detach(interface: u32) -> Result<(), AttachError> {
    let detached = open().and_then(|mut requests| {
        let gone = requests.change(
            RouteNetlinkMessage::DelTrafficFilter(filter(interface, None)),
            0,
        );
        if is_absent(&gone) {
            return Ok(());
        }
        gone?;
        for parent in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
            if !filters(&mut requests, interface, parent)?.is_empty() {
                return Ok(());
            }
        }
        let RouteNetlinkMessage::NewQueueDiscipline(clsact) = clsact(interface) else {
            unreachable!("it is made a line above");
        };
        requests.change(RouteNetlinkMessage::DelQueueDiscipline(clsact), 0)
    });
    detached.map_err(failed("take the TC program from", interface))
}

/// Kernel's id of the program that is attached to an interface in our place; `None` = none.
///
/// # Errors
/// If the kernel refuses.
pub fn attached(interface: u32) -> Result<Option<u32>, AttachError> {
    let found = open().and_then(|mut requests| {
        let filters = filters(&mut requests, interface, TcHandle::MIN_INGRESS);
        if is_absent(&filters) {
            return Ok(None);
        }
        Ok(filters?.iter().find_map(own_program))
    });
    found.map_err(failed("ask for the TC program of", interface))
}

fn clsact(interface: u32) -> RouteNetlinkMessage {
    let header = header(
        interface,
        TcHandle {
            major: u16::MAX,
            minor: 0,
        },
        TcHandle::CLSACT,
    );
    let kind = TcAttribute::Kind("clsact".to_owned());
    RouteNetlinkMessage::NewQueueDiscipline(TcMessage::from_parts(header, vec![kind]))
}

/// Our filter; with a program in order to attach it, without in order to name it.
fn filter(interface: u32, program: Option<i32>) -> TcMessage {
    let parent = ingress(TcHandle::MIN_INGRESS);
    let mut header = header(interface, TcHandle::from(HANDLE), parent);
    // All protocols, in network order.
    let protocol = u32::from((libc::ETH_P_ALL as u16).to_be());
    header.info = u32::from(PRIORITY) << 16 | protocol;
    let mut attributes = vec![TcAttribute::Kind("bpf".to_owned())];
    if let Some(descriptor) = program {
        attributes.push(TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(descriptor.cast_unsigned())),
            TcOption::Bpf(TcFilterBpfOption::ProgName(NAME.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]));
    }
    TcMessage::from_parts(header, attributes)
}

fn own_program(filter: &TcMessage) -> Option<u32> {
    let (header, attributes) = filter.clone().into_parts();
    if header.info >> 16 != u32::from(PRIORITY) || u32::from(header.handle) != HANDLE {
        return None;
    }
    let mut options = attributes.iter().filter_map(|attribute| {
        if let TcAttribute::Options(options) = attribute {
            Some(options)
        } else {
            None
        }
    });
    options.next()?.iter().find_map(|option| {
        if let TcOption::Bpf(TcFilterBpfOption::ProgId(id)) = option {
            Some(*id)
        } else {
            None
        }
    })
}

fn header(interface: u32, handle: TcHandle, parent: TcHandle) -> TcHeader {
    TcHeader {
        index: interface.cast_signed(),
        handle,
        parent,
        ..TcHeader::default()
    }
}

fn ingress(minor: u16) -> TcHandle {
    TcHandle {
        major: u16::MAX,
        minor,
    }
}

fn but_for(result: io::Result<()>, fine: i32) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(fine) => Ok(()),
        other => other,
    }
}

/// What the kernel says where there is no filter, no queueing discipline, or no interface.
fn is_absent<T>(result: &io::Result<T>) -> bool {
    let absent = [libc::ENOENT, libc::EINVAL, libc::ENODEV];
    let code = result.as_ref().err().and_then(io::Error::raw_os_error);
    code.is_some_and(|code| absent.contains(&code))
}

fn failed(request: &'static str, interface: u32) -> impl FnOnce(io::Error) -> AttachError {
    move |source| AttachError {
        request,
        interface,
        source,
    }
}

/// A socket for requests of traffic control (rtnetlink(7)).
fn open() -> io::Result<Requests> {
    Requests::open(ANSWER_LIMIT)
}

/// The filters of an interface at this end of its `clsact`.
fn filters(requests: &mut Requests, interface: u32, minor: u16) -> io::Result<Vec<TcMessage>> {
    let header = header(interface, TcHandle::UNSPEC, ingress(minor));
    let wanted = RouteNetlinkMessage::GetTrafficFilter(TcMessage::from_parts(header, Vec::new()));
    let mut filters = Vec::new();
    requests.dump(wanted, |payload| filters.extend(TcMessage::parse(payload)))?;
    Ok(filters)
}
