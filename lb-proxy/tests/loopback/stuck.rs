//! Sessions whose bytes are not taken: what they cost, and how they end.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::harness::*;

/// Set for the run of a test that has its process for itself.
const ALONE: &str = "FMC_LB_TEST_ALONE";

/// Writes until nothing more is taken for a while.
fn fill(stream: &mut TcpStream) {
    let slow = Some(Duration::from_millis(300));
    stream.set_write_timeout(slow).expect("write timeout");
    while stream.write(&[5; 65_536]).is_ok() {}
}

/// More sessions than pipes: some wait with a full pipe, the others with a copy.
#[test]
fn readers_that_do_not_read_cost_no_time() {
    if std::env::var_os(ALONE).is_none() {
        let own = std::env::current_exe().expect("this program");
        let name = "stuck::readers_that_do_not_read_cost_no_time";
        let alone = Command::new(own)
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .status();
        assert!(alone.expect("it runs").success());
        return;
    }
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let mut sessions: Vec<_> = (0..30)
        .map(|_| (proxy.connect(), accept(&socket)))
        .collect();
    std::thread::scope(|scope| {
        for (client, _) in &mut sessions {
            scope.spawn(|| fill(client));
        }
    });
    let used = || Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("clock"));
    let before = used();
    std::thread::sleep(Duration::from_secs(1));
    let took = used() - before;
    assert!(took < Duration::from_millis(100), "{took:?} in a second");
    assert_eq!(proxy.listener().sessions.get(), 30);
}

#[test]
fn an_old_session_with_bytes_left_is_reset() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().max_lifetime = Some(Duration::from_secs(1));
    let proxy = setup.start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    fill(&mut client);
    eventually("it is closed", || {
        proxy.listener().lifetime_closed.get() == 1
    });
    expect_reset(&mut server);
}
