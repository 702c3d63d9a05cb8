//! HAProxy + Keepalived with the same clients, as far as they speak IPv4.

use std::time::Duration;

use anyhow::Result;
use lab::backend::Service;
use lab::balancer::Settings;
use lab::baseline::HaproxyKeepalived;
use lab::cluster::Cluster;
use lab::traffic::{Clients, Losses, Traffic};
use lab::{Lab, limits, scenario};

use crate::events::Beside;
use crate::{AFTER, TENTH};

/// What they lose by one event, on a site of its own.
pub(crate) fn losses(clients: &[Clients], act: Beside) -> Result<Losses> {
    let _turn = limits::measure_alone()?;
    let lab = Lab::start()?;
    let _cluster = Cluster::start(&lab, Service::Echo)?;
    let settings = Settings::site(TENTH);
    let mut pair = HaproxyKeepalived::new(&lab, &settings)?;
    scenario::start_pair(&lab, &mut pair, settings.advert)?;
    let traffic = Traffic::start(&lab, clients)?;
    std::thread::sleep(AFTER);
    act(&mut pair, &lab)?;
    // What has come back late has had its answer by then, and so has what was cut.
    std::thread::sleep(Duration::from_secs(3));
    traffic.finish()
}
