//! A name server with answers that a test changes, over UDP and TCP.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
/// Seconds that records live; the tests' bounds are shorter.
const TTL: u32 = 60;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rcode {
    Good,
    ServFail,
    NxDomain,
    /// The name is there, and has no such record.
    Empty,
    Silence,
    /// By UDP nothing but that it does not fit.
    Truncated,
}

#[derive(Debug)]
struct Zone {
    /// By name and type: the data of the records.
    records: BTreeMap<(String, u16), Vec<Vec<u8>>>,
    rcode: Rcode,
    fails_aaaa: bool,
    /// By UDP each answer comes so late, however many are asked for.
    late: Duration,
}

/// A name server in threads of its own.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    by_tcp: Arc<AtomicUsize>,
    by_udp: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
}

impl NameServer {
    pub(super) fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 53), 0)).expect("bind");
            let address = udp.local_addr().expect("it is bound");
            if let Ok(tcp) = TcpListener::bind(address) {
                break (udp, tcp);
            }
        };
        let zone = Arc::new(Mutex::new(Zone {
            records: BTreeMap::new(),
            rcode: Rcode::Good,
            fails_aaaa: false,
            late: Duration::ZERO,
        }));
        let by_tcp = Arc::new(AtomicUsize::new(0));
        let by_udp = Arc::new(AtomicUsize::new(0));
        let most_open = Arc::new(AtomicUsize::new(0));
        let server = Self {
            address: udp.local_addr().expect("it is bound"),
            zone: Arc::clone(&zone),
            by_tcp: Arc::clone(&by_tcp),
            by_udp: Arc::clone(&by_udp),
            most_open: Arc::clone(&most_open),
        };
        let of_udp = Arc::clone(&zone);
        let open = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((count, from)) = udp.recv_from(&mut buffer) {
                by_udp.fetch_add(1, Ordering::Relaxed);
                let (answer, late) = {
                    let zone = locked(&of_udp);
                    (zone.answer(&buffer[..count], true), zone.late)
                };
                let Some(answer) = answer else { continue };
                if late.is_zero() {
                    drop(udp.send_to(&answer, from));
                    continue;
                }
                open.fetch_add(1, Ordering::Relaxed);
                most_open.fetch_max(open.load(Ordering::Relaxed), Ordering::Relaxed);
                let (udp, open) = (udp.try_clone().expect("a descriptor"), Arc::clone(&open));
                std::thread::spawn(move || {
                    std::thread::sleep(late);
                    open.fetch_sub(1, Ordering::Relaxed);
                    drop(udp.send_to(&answer, from));
                });
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let (mut stream, zone) = (stream.expect("accept"), Arc::clone(&zone));
                let by_tcp = Arc::clone(&by_tcp);
                std::thread::spawn(move || {
                    while let Some(question) = framed(&mut stream) {
                        by_tcp.fetch_add(1, Ordering::Relaxed);
                        let Some(answer) = locked(&zone).answer(&question, false) else {
                            continue;
                        };
                        let length = u16::try_from(answer.len()).expect("short");
                        let whole = [&length.to_be_bytes()[..], &answer].concat();
                        if stream.write_all(&whole).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    pub(super) fn answer_with(&self, rcode: Rcode) {
        locked(&self.zone).rcode = rcode;
    }

    pub(super) fn answer_late(&self, late: Duration) {
        locked(&self.zone).late = late;
    }

    /// Most questions that waited for late answers at the same time.
    pub(super) fn most_open(&self) -> usize {
        self.most_open.load(Ordering::Relaxed)
    }

    pub(super) fn fail_aaaa(&self) {
        locked(&self.zone).fails_aaaa = true;
    }

    pub(super) fn asked_by_udp(&self) -> usize {
        self.by_udp.load(Ordering::Relaxed)
    }

    pub(super) fn asked_by_tcp(&self) -> usize {
        self.by_tcp.load(Ordering::Relaxed)
    }

    pub(super) fn set_hosts(&self, name: &str, addresses: &[Ipv4Addr]) {
        let data = addresses.iter().map(|ip| ip.octets().to_vec()).collect();
        locked(&self.zone)
            .records
            .insert((name.to_owned(), A), data);
    }

    /// Priority, weight, port and host of each record.
    pub(super) fn set_service(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let data = records.iter().map(|(priority, weight, port, host)| {
            let mut data = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
            for label in host.split('.') {
                data.push(u8::try_from(label.len()).expect("short"));
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            data
        });
        locked(&self.zone)
            .records
            .insert((name.to_owned(), SRV), data.collect());
    }
}

impl Zone {
    /// RFC 1035, section 4.1; `None` = silence.
    fn answer(&self, question: &[u8], by_udp: bool) -> Option<Vec<u8>> {
        if self.rcode == Rcode::Silence {
            return None;
        }
        let (mut name, mut end) = (Vec::new(), 12);
        while *question.get(end)? != 0 {
            let length = usize::from(question[end]);
            name.push(
                String::from_utf8_lossy(question.get(end + 1..=end + length)?).to_lowercase(),
            );
            end += length + 1;
        }
        let name = name.join(".");
        let kind = u16::from_be_bytes([*question.get(end + 1)?, *question.get(end + 2)?]);
        let asked = question.get(12..end + 5)?;
        let known = self.records.keys().any(|(one, _)| *one == name);
        let none = Vec::new();
        let data = self.records.get(&(name, kind)).unwrap_or(&none);
        let truncated = self.rcode == Rcode::Truncated && by_udp;
        let code: u8 = if self.rcode == Rcode::ServFail || kind == AAAA && self.fails_aaaa {
            2
        } else if self.rcode == Rcode::NxDomain || !known {
            3
        } else {
            0
        };
        let empty = code != 0 || truncated || self.rcode == Rcode::Empty;
        let data = if empty { &none } else { data };
        let count = u16::try_from(data.len()).expect("few").to_be_bytes();
        // A response, recursion desired and available.
        let flags = [0x81 | u8::from(truncated) << 1, 0x80 | code];
        let mut answer = question.get(..2)?.to_vec();
        answer.extend_from_slice(&flags);
        answer.extend_from_slice(&[0, 1, count[0], count[1], 0, 0, 0, 0]);
        answer.extend_from_slice(asked);
        for one in data {
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1]);
            answer.extend_from_slice(&TTL.to_be_bytes());
            let length = u16::try_from(one.len()).expect("short");
            answer.extend_from_slice(&length.to_be_bytes());
            answer.extend_from_slice(one);
        }
        Some(answer)
    }
}

fn locked(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

fn framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).ok()?;
    Some(question)
}
