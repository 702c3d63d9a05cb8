//! Whether the machine lets vrrp run in time, in the status.

use serde::{Deserialize, Serialize};

/// How late vrrp wakes up, and the CPU time that a hypervisor takes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineStatus {
    /// Longest time since vrrp's start between the moment a wake-up was due and the moment it came.
    pub worst_lateness_ms: f64,
    /// So long it may stand still before others act.
    pub patience_ms: f64,
    /// Wake-ups that were later than half of that.
    pub slips: u64,
    /// The last one of these; `None` = there was none.
    pub slip_ms_ago: Option<u64>,
    /// Share of the CPU time of the last minute that the hypervisor took.
    pub stolen_percent: f64,
    /// All that it took since the boot, of all processors.
    pub stolen_ms: u64,
}
