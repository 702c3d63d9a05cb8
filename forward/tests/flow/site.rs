//! Both load balancers with the program and with listening sockets, a client that decides which of them a frame goes to,
//! and a ghost: a client that consists of frames alone.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::board::ForwardBoard;
use common::config::VipIndex;
use forward::{Cause, Link, Program, attach, map_state};
use lab::packet::PacketSocket;
use lab::topology::{API_VIP, WEB_VIP, WEB_VIP_V6};
use lab::{Lab, Node};
use nix::net::if_::if_nametoindex;

use crate::frame::{ACK, RST, SYN, Segment, frame};

pub(crate) const PORT: u16 = 6443;
/// The VIPs by their index.
pub(crate) const VIPS: [IpAddr; 3] = [
    IpAddr::V4(API_VIP),
    IpAddr::V4(WEB_VIP),
    IpAddr::V6(WEB_VIP_V6),
];
/// One of each family.
pub(crate) const FAMILIES: [usize; 2] = [0, 2];
const GHOST_V4: &str = "192.168.0.200";
const GHOST_V6: &str = "fd00:0:0:1::200";
const SOON: Duration = Duration::from_secs(2);

/// A load balancer.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) node: Node,
    pub(crate) program: Program,
    pub(crate) board: &'static ForwardBoard,
    pub(crate) interface: u32,
    /// By VIP.
    pub(crate) listeners: Vec<Option<TcpListener>>,
}

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) lb1: Balancer,
    pub(crate) lb2: Balancer,
    /// At the client.
    wire: PacketSocket,
    ports: u16,
}

impl Site {
    /// lb1 is active for every VIP, and everything goes there.
    pub(crate) fn new() -> Self {
        let lab = Lab::start().expect("the lab starts");
        lab.enable_ipv6().expect("the kernel has IPv6");
        let lb1 = Balancer::new(&lab, Node::Lb1);
        let lb2 = Balancer::new(&lab, Node::Lb2);
        let wire = lab
            .run_in(Node::Client, || PacketSocket::open("eth0", &[]))
            .expect("root may open it");
        let site = Self {
            lab,
            lb1,
            lb2,
            wire,
            ports: 20_000,
        };
        site.move_to(Node::Lb1);
        site
    }

    /// This one becomes active for every VIP, and clients are told.
    pub(crate) fn move_to(&self, node: Node) {
        self.balancer(node).set_active(true);
        self.balancer(node.other()).set_active(false);
        self.resolve_to(node);
    }

    /// The client's neighbour entries of the VIPs.
    pub(crate) fn resolve_to(&self, node: Node) {
        for vip in VIPS {
            let mac = node.mac();
            let line = format!("neigh replace {vip} lladdr {mac} dev eth0 nud permanent");
            self.lab.ip(Node::Client, &line).expect("an entry");
        }
    }

    pub(crate) fn balancer(&self, node: Node) -> &Balancer {
        if node == Node::Lb1 {
            &self.lb1
        } else {
            &self.lb2
        }
    }

    /// The client's kernel connects to a VIP.
    pub(crate) fn connect(&self, vip: usize) -> TcpStream {
        let to = SocketAddr::from((VIPS[vip], PORT));
        let made = self
            .lab
            .run_in(Node::Client, || TcpStream::connect_timeout(&to, SOON));
        let stream = made.expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("a limit");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// A new one, with a port of its own.
    pub(crate) fn ghost(&mut self, vip: usize) -> Ghost {
        self.ports += 1;
        let address = if VIPS[vip].is_ipv4() {
            GHOST_V4
        } else {
            GHOST_V6
        };
        let address: IpAddr = address.parse().expect("an address");
        Ghost {
            own: (address, self.ports).into(),
            vip: (VIPS[vip], PORT).into(),
            seq: 1_000_000_000,
            ack: 0,
        }
    }

    /// Sends an IP packet from the client's MAC address to that of a load balancer.
    pub(crate) fn send(&self, node: Node, packet: &[u8]) {
        self.send_frame(&frame(mac(node), mac(Node::Client), packet));
    }

    pub(crate) fn send_frame(&self, frame: &[u8]) {
        self.wire.send(frame).expect("sent");
    }

    /// Sends a segment, and waits until both nodes have had it.
    pub(crate) fn send_and_settle(&self, node: Node, segment: &Segment) {
        self.send_packet_and_settle(node, &segment.packet());
    }

    /// Sends an IP packet, and waits until both nodes have had it.
    pub(crate) fn send_packet_and_settle(&self, node: Node, packet: &[u8]) {
        self.send(node, packet);
        std::thread::sleep(Duration::from_millis(20));
    }

    /// One machine sends another one something that is no segment: it is there when this returns.
    pub(crate) fn speak(&self, from: Node, to: Node) {
        let receiver = self.lab.run_in(to, || UdpSocket::bind((to.address(), 0)));
        let receiver = receiver.expect("a local address");
        receiver.set_read_timeout(Some(SOON)).expect("a limit");
        let target = receiver.local_addr().expect("it is bound");
        let sender = self
            .lab
            .run_in(from, || UdpSocket::bind((from.address(), 0)));
        sender
            .expect("a local address")
            .send_to(&[1], target)
            .expect("sent");
        receiver.recv(&mut [0]).expect("received");
    }

    /// What a ghost is sent next, within a second.
    pub(crate) fn answer(&self, ghost: &Ghost) -> Option<Answer> {
        let limit = Instant::now() + Duration::from_secs(1);
        let mut buffer = [0; 2048];
        while Instant::now() < limit {
            let read = self.wire.receive(&mut buffer, Duration::from_millis(50));
            let Some(seen) = read.expect("it is open").filter(|frame| !frame.outgoing) else {
                continue;
            };
            let bytes = &buffer[..seen.kept];
            let Some(segment) = Segment::read(bytes).filter(|one| one.destination == ghost.own)
            else {
                continue;
            };
            let from = Node::LBS
                .into_iter()
                .find(|node| mac(*node) == bytes[6..12]);
            return Some(Answer {
                from: from.expect("a load balancer answers"),
                segment,
            });
        }
        None
    }

    /// Sends a segment, and expects an RST from this node for it.
    #[track_caller]
    pub(crate) fn expect_reset(&self, ghost: &Ghost, (to, from): (Node, Node), segment: &Segment) {
        self.send(to, &segment.packet());
        let answer = self.answer(ghost).expect("an answer");
        assert_eq!(
            (answer.from, answer.segment.flags & RST),
            (from, RST),
            "{answer:?}"
        );
    }

    /// A whole handshake of a ghost by way of a load balancer; gives the accepted socket of the one that took it.
    pub(crate) fn handshake(&self, ghost: &mut Ghost, (to, at): (Node, Node)) -> TcpStream {
        self.begin(ghost, (to, at));
        self.send(to, &ghost.segment(ACK).packet());
        self.balancer(at).accept(ghost.vip_index())
    }

    /// A SYN and its answer.
    pub(crate) fn begin(&self, ghost: &mut Ghost, (to, at): (Node, Node)) {
        self.send(to, &ghost.segment(SYN).packet());
        let answer = self.answer(ghost).expect("an answer to a SYN");
        assert_eq!(
            (answer.from, answer.segment.flags),
            (at, SYN | ACK),
            "{answer:?}"
        );
        ghost.seq += 1;
        ghost.ack = answer.segment.seq.wrapping_add(1);
    }
}

/// What came back, and from whom.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) from: Node,
    pub(crate) segment: Segment,
}

/// A client whose kernel knows nothing of its connection.
#[derive(Debug)]
pub(crate) struct Ghost {
    pub(crate) own: SocketAddr,
    pub(crate) vip: SocketAddr,
    /// Next sequence number, and what it expects.
    pub(crate) seq: u32,
    pub(crate) ack: u32,
}

impl Ghost {
    pub(crate) fn segment(&self, flags: u8) -> Segment {
        Segment {
            source: self.own,
            destination: self.vip,
            flags,
            seq: self.seq,
            ack: if flags & ACK == 0 { 0 } else { self.ack },
            payload: Vec::new(),
        }
    }

    fn vip_index(&self) -> usize {
        let found = VIPS.iter().position(|vip| *vip == self.vip.ip());
        found.expect("it speaks with a VIP")
    }
}

impl Balancer {
    fn new(lab: &Lab, node: Node) -> Self {
        let ip = |line: &str| lab.ip(node, line).expect(line);
        for (setting, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            let key = format!("net.ipv4.conf.eth0.{setting}");
            lab.sysctl(node, &key, value).expect("a setting");
        }
        for (vip, options) in [(VIPS[0], "/32"), (VIPS[1], "/32"), (VIPS[2], "/128 nodad")] {
            ip(&format!("addr add {vip}{options} dev lo"));
        }
        for ghost in [GHOST_V4, GHOST_V6] {
            let mac = Node::Client.mac();
            ip(&format!(
                "neigh replace {ghost} lladdr {mac} dev eth0 nud permanent"
            ));
        }
        lab.run_in(node, || {
            let mut program = Program::load().expect("root may load it");
            let interface = if_nametoindex("eth0").expect("every node has it");
            let listened: Vec<_> = VIPS
                .iter()
                .enumerate()
                .map(|(index, vip)| ((*vip, PORT).into(), VipIndex(index)))
                .collect();
            program.set_listeners(&listened).expect("room for three");
            let peer = mac(node.other());
            let link = Link {
                peer,
                own: mac(node),
                way: interface,
            };
            program.set_link(interface, link).expect("room for one");
            attach(interface, &program).expect("root may attach it");
            let bind = |vip: &IpAddr| TcpListener::bind((*vip, PORT)).expect("a local address");
            Self {
                node,
                board: map_state(program.state()).expect("it is memory"),
                program,
                interface,
                listeners: VIPS.iter().map(|vip| Some(bind(vip))).collect(),
            }
        })
    }

    pub(crate) fn set_active(&self, active: bool) {
        self.board
            .active
            .iter()
            .for_each(|vip| vip.set(u64::from(active)));
    }

    /// The next connection, within two seconds.
    pub(crate) fn accept(&self, vip: usize) -> TcpStream {
        let listener = self.listeners[vip].as_ref().expect("it listens");
        listener.set_nonblocking(true).expect("a socket");
        let limit = Instant::now() + SOON;
        loop {
            if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(false).expect("a socket");
                stream.set_read_timeout(Some(SOON)).expect("a limit");
                stream.set_nodelay(true).expect("no delay");
                return stream;
            }
            assert!(Instant::now() < limit, "{}: nobody connects", self.node);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Packets that went this way.
    pub(crate) fn count(&self, cause: Cause) -> u64 {
        let counts = self.program.counts().expect("they can be read");
        counts[cause as usize].1.packets
    }

    /// Packets by cause, those that are none left out.
    pub(crate) fn counts(&self) -> Vec<(Cause, u64)> {
        let counts = self.program.counts().expect("they can be read");
        let counts = counts
            .into_iter()
            .map(|(cause, count)| (cause, count.packets));
        counts.filter(|(_, packets)| *packets > 0).collect()
    }
}

/// Hardware address of a machine's `eth0`.
pub(crate) fn mac(node: Node) -> [u8; 6] {
    let text = node.mac();
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    std::array::from_fn(|_| bytes.next().expect("six bytes").expect("hexadecimal"))
}
