//! Metrics of the agents beside servers.

use common::board::{AdminState, AgentWord};
use common::status::{AgentStatus, Status};

use super::{Family, Page};

static WORD: Family = Family::gauge(
    "fmc_lb_server_agent_word",
    &["backend", "server", "word"],
    "1 for what the server's agent says of its service (up, down, stopped, failed), 0 for the others; absent without an agent.",
);
static STATE: Family = Family::gauge(
    "fmc_lb_server_agent_state",
    &["backend", "server", "state"],
    "1 for what the server's agent says of its sessions (none, drain, maintenance), 0 for the others.",
);
static WEIGHT: Family = Family::gauge(
    "fmc_lb_server_agent_weight_ratio",
    &["backend", "server"],
    "Share of the configured weight that the server's agent leaves; absent until it speaks of it.",
);
static MAX_SESSIONS: Family = Family::gauge(
    "fmc_lb_server_agent_max_sessions",
    &["backend", "server"],
    "Sessions at the same time that the server's agent allows, 0 = no limit; absent until it speaks of it.",
);
static ASKED: Family = Family::counter(
    "fmc_lb_server_agent_asked_total",
    &["backend", "server"],
    "Times that the server's agent was asked.",
);
static FAILURES: Family = Family::counter(
    "fmc_lb_server_agent_failures_total",
    &["backend", "server"],
    "Times that the server's agent gave no answer, or one without a word.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] =
    &[&WORD, &STATE, &WEIGHT, &MAX_SESSIONS, &ASKED, &FAILURES];

pub(super) fn fill(page: &mut Page, status: &Status) {
    for backend in &status.backends {
        for server in &backend.servers {
            if let Some(agent) = &server.agent {
                one(page, [&backend.name, &server.address], agent);
            }
        }
    }
}

fn one(page: &mut Page, labels: [&str; 2], agent: &AgentStatus) {
    let words = AgentWord::ALL.iter().map(|word| word.word());
    let words = words.filter(|word| !word.is_empty());
    page.one_of(&WORD, &labels, (&agent.word, words));
    let states = AdminState::ALL.iter().map(|state| state.word());
    page.one_of(&STATE, &labels, (&agent.administrative, states));
    let share = agent.weight_percent.map(|percent| percent as f64 / 100.0);
    page.gauge_if_known(&WEIGHT, &labels, share);
    let most = agent.max_sessions.map(|most| most as f64);
    page.gauge_if_known(&MAX_SESSIONS, &labels, most);
    page.count(&ASKED, &labels, agent.asked);
    page.count(&FAILURES, &labels, agent.failures);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn every_metric_of_an_agent_shows_its_cell() {
        let view = fixture::healthy();
        let slot = &view.boards.proxy.servers[3].agent;
        slot.forget();
        slot.word.set(AgentWord::Stopped.on_board());
        slot.state.set(AdminState::Drain.on_board());
        slot.asked.set(31);
        slot.failures.set(32);
        let of = |name: &str, more: &str, value: &str| {
            let page = page(&view, &view.status(&Rates::default(), CLOCKS), CLOCKS);
            let labels = format!("backend=\"traefik-https\",server=\"10.17.4.24:443\"{more}");
            let line = format!("\nfmc_lb_server_agent_{name}{{{labels}}} {value}\n");
            (page.contains(&line), page)
        };
        let has = |name: &str, more: &str, value: &str| {
            let (found, page) = of(name, more, value);
            assert!(found, "no {name} {more} {value} in\n{page}");
        };
        has("word", ",word=\"stopped\"", "1");
        has("word", ",word=\"up\"", "0");
        has("state", ",state=\"drain\"", "1");
        has("state", ",state=\"none\"", "0");
        has("asked_total", "", "31");
        has("failures_total", "", "32");
        let (_, page) = of("weight_ratio", "", "0.5");
        let absent = "agent_weight_ratio{backend=\"traefik-https\",server=\"10.17.4.24:443\"}";
        assert!(!page.contains(absent), "{page}");
        slot.set_percent(50);
        slot.set_max_sessions(7);
        has("weight_ratio", "", "0.5");
        has("max_sessions", "", "7");
    }
}
