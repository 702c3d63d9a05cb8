//! A whole `vrrp::run` on a host of the test network, with boards that a test reads and a proxy
//! that says it is well.
#![expect(
    clippy::disallowed_methods,
    reason = "the stand-in of the proxy lives in real time"
)]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::addr::{Priority, Vrid};
use common::board::{AdminBoard, DropReason, ProxyBoard, SupervisorBoard, VipState, VrrpBoard};
use common::config::{
    Admin, ChecksumForm, Config, Dns, Node, NodeIndex, Pair, Proxy, Runs, Signing, SilentTakeover,
    Transport, Vip, VirtualMac, VrrpVersion,
};
use vrrp::{Beginning, Control, End, Inputs, RunError};

use super::{Lan, OTHER_VIP, VIP, VIP_V6, enter};

/// What the adverts of [`VIP_V6`] begin with.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x200, 0x5eff, 0xfe00, 0x233);

/// A key file with one key.
pub(crate) const KEY_FILE: &str =
    "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

/// Hosts 1 and 2 as nodes, two VIPs, adverts each `interval`, priorities 250 and 240.
pub(crate) fn config(interval: Duration) -> Config {
    let node = |number: u8| Node {
        name: format!("lb{number}"),
        address: IpAddr::from([192, 0, 2, number]),
        link_local: None,
        runs: Runs::FmcLb,
    };
    let vip = |name: &str, address: [u8; 4], vrid: u8| Vip {
        name: name.to_owned(),
        retired: false,
        address: address.into(),
        prefix_len: 24,
        link_local: None,
        vrid: Vrid::new(vrid).expect("not 0"),
        interface: "eth0".to_owned(),
        priorities: [250, 240]
            .map(|priority| Priority::new(priority).expect("not 0"))
            .to_vec(),
        advert_interval: interval,
        preempt: true,
        preempt_delay: Duration::from_secs(10),
        transport: Transport::Multicast,
        checksum: ChecksumForm::Pseudo,
        version: VrrpVersion::V3,
        virtual_mac: VirtualMac::Off,
        followers: Vec::new(),
    };
    Config {
        dns: Dns {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(300),
        },
        nodes: vec![node(1), node(2)],
        pair: Pair {
            interface: "eth0".to_owned(),
            key_file: None,
            signing: Signing::Off,
            heartbeat: None,
            silent_takeover: SilentTakeover::Off,
            port: 9601,
        },
        vips: vec![vip("api", VIP, 51), vip("web", OTHER_VIP, 52)],
        together: false,
        startup_delay: Duration::ZERO,
        trackers: Vec::new(),
        listeners: Vec::new(),
        backends: Vec::new(),
        proxy: Proxy {
            threads: None,
            max_sessions: None,
            drain: Duration::from_secs(30),
        },
        admin: Admin {
            http: None,
            allow: Vec::new(),
        },
    }
}

/// The same with an IPv6 VIP in place of the second one. It has the VRID of the first.
pub(crate) fn config_with_ipv6(interval: Duration) -> Config {
    let mut config = config(interval);
    let vrid = config.vips[0].vrid;
    config.vips[1] = Vip {
        address: VIP_V6.into(),
        prefix_len: 64,
        link_local: Some(LINK_LOCAL),
        vrid,
        ..config.vips[1].clone()
    };
    config
}

/// The same with a key, by which adverts are signed as `signing` says.
pub(crate) fn signing_config(interval: Duration, signing: Signing) -> Config {
    let mut config = config(interval);
    config.pair.key_file = Some("/etc/fmc-lb/pair.key".into());
    config.pair.signing = signing;
    config
}

/// As the default with a key: the pair channel is on, and adverts are signed.
pub(crate) fn paired_config(interval: Duration) -> Config {
    signed(config(interval))
}

/// The same for another configuration.
pub(crate) fn signed(mut config: Config) -> Config {
    config.pair.key_file = Some("/etc/fmc-lb/pair.key".into());
    config.pair.signing = Signing::Enforce;
    config.pair.heartbeat = Some(Duration::from_millis(20));
    config
}

/// A running node. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) board: &'static VrrpBoard,
    pub(crate) proxy: &'static ProxyBoard,
    pub(crate) admin: &'static AdminBoard,
    pub(crate) control: Arc<Control>,
    supervisor: &'static SupervisorBoard,
    config: Config,
    number: u8,
    /// It has prepared itself, and waits.
    pub(crate) prepared: Arc<AtomicBool>,
    /// It has made way.
    pub(crate) left: Arc<AtomicBool>,
    accepting: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), RunError>>>,
}

impl Running {
    /// Starts host `number` of the network as the node of that number.
    pub(crate) fn start(lan: &Lan, number: u8, config: &Config) -> Self {
        let boards = (leak(VrrpBoard::default()), leak(ProxyBoard::default()));
        let supervisor: &SupervisorBoard = leak(SupervisorBoard::default());
        supervisor.header.started.set(vrrp::now());
        let others = (supervisor, leak(AdminBoard::default()));
        let node = Self::launch((lan, number, config), boards, others);
        node.control.begin(Beginning::Anew);
        node
    }

    /// A second process of the same node, with the same boards; it prepares itself and waits for
    /// [`Control::begin`].
    pub(crate) fn start_beside(&self, lan: &Lan) -> Self {
        self.start_beside_with(lan, &self.config)
    }

    /// The same by another configuration.
    pub(crate) fn start_beside_with(&self, lan: &Lan, config: &Config) -> Self {
        let boards = (self.board, self.proxy);
        let others = (self.supervisor, self.admin);
        Self::launch((lan, self.number, config), boards, others)
    }

    fn launch(
        (lan, number, config): (&Lan, u8, &Config),
        (board, proxy): (&'static VrrpBoard, &'static ProxyBoard),
        (supervisor, admin): (&'static SupervisorBoard, &'static AdminBoard),
    ) -> Self {
        let control = Control::new().expect("there are descriptors left");
        let flag = |value| Arc::new(AtomicBool::new(value));
        let (accepting, over) = (flag(true), flag(false));
        let (prepared, left) = (flag(false), flag(false));
        let inputs = Inputs {
            config: Arc::new(config.clone()),
            node: NodeIndex(usize::from(number) - 1),
            config_hash: config.effective_hash(),
            board,
            proxy,
            supervisor,
            admin,
            pair_key: config.pair.key_file.as_ref().map(|_| KEY_FILE.to_owned()),
            forward: None,
            settle: || Ok(()),
        };
        let stand_in = std::thread::spawn({
            let (accepting, over) = (Arc::clone(&accepting), Arc::clone(&over));
            move || {
                accept(proxy, &accepting, &over);
                Ok(())
            }
        });
        let vrrp = std::thread::spawn({
            let (name, control) = (lan.host(number), Arc::clone(&control));
            let (prepared, left) = (Arc::clone(&prepared), Arc::clone(&left));
            move || {
                enter(&name);
                let prepared = || prepared.store(true, Ordering::Release);
                let end = vrrp::run_beside(inputs, control, prepared)?;
                left.store(matches!(end, End::Left(_)), Ordering::Release);
                Ok(())
            }
        });
        Self {
            board,
            proxy,
            admin,
            control,
            supervisor,
            config: config.clone(),
            number,
            prepared,
            left,
            accepting,
            over,
            threads: vec![vrrp, stand_in],
        }
    }

    /// State of a VIP as the board has it.
    pub(crate) fn state(&self, vip: usize) -> VipState {
        VipState::from_board(self.board.vips[vip].state.get())
    }

    /// Whether all VIPs are in a state.
    pub(crate) fn all(&self, state: VipState) -> bool {
        (0..2).all(|vip| self.state(vip) == state)
    }

    /// Packets that were dropped for a reason.
    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.board.drops[reason as usize].get()
    }

    /// The accept loops of the proxy stop turning, as those of a hung proxy.
    pub(crate) fn hang_proxy(&self) {
        self.accepting.store(false, Ordering::Release);
    }

    /// Asks for a stop and waits for its end.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.control.request_stop();
        self.over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended
                    .expect("the loop does not panic")
                    .expect("the loop ends in order");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a healthy proxy with one thread writes.
fn accept(proxy: &ProxyBoard, accepting: &AtomicBool, over: &AtomicBool) {
    // A stand-in that is starved by a busy machine would look like a hung proxy, which is not what
    // is tested here.
    vrrp::schedule_fifo(1).expect("root may have real-time priority");
    proxy.probed.set(1);
    for health in proxy.vip_sure.iter().chain(&proxy.vip_hope) {
        health.set(100);
    }
    proxy.probed.set(1);
    proxy.threads.set(1);
    while !over.load(Ordering::Acquire) {
        if accepting.load(Ordering::Acquire) {
            proxy.accepting[0].set(vrrp::now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn leak<T>(board: T) -> &'static T {
    Box::leak(Box::new(board))
}
