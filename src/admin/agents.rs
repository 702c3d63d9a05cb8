//! What agents say of their servers. Pure.

use common::board::{AdminState, AgentSlot};
use common::status::{AgentStatus, BackendStatus};
use common::time::Moment;

/// What the agent of a server says.
pub(crate) fn status(slot: &AgentSlot, now: Moment) -> AgentStatus {
    let heard = slot.heard.get();
    AgentStatus {
        says: slot.said.get(),
        word: slot.word().word().to_owned(),
        administrative: slot.state().word().to_owned(),
        weight_percent: slot.percent().map(u64::from),
        max_sessions: slot.max_sessions().map(u64::from),
        asked: slot.asked.get(),
        failures: slot.failures.get(),
        heard_ms_ago: heard.map(|at| now.since(at).as_millis().try_into().unwrap_or(u64::MAX)),
        problem: slot.problem.get(),
    }
}

/// Who keeps sessions away, if an agent does: `by agent, which says "drain"`.
pub(crate) fn reason(slot: &AgentSlot) -> Option<String> {
    if slot.word().is_down() || slot.state() != AdminState::None {
        return Some(format!("by agent, which says \"{}\"", slot.said.get()));
    }
    let inherited = slot.is_down() || slot.effective_state() != AdminState::None;
    inherited.then(|| "by agent of whom it follows".to_owned())
}

/// The agents that say nothing, or what means nothing: one line for each backend.
pub(crate) fn warning(backend: &BackendStatus) -> Option<String> {
    let servers = backend.servers.iter();
    let agents = servers.filter_map(|server| Some((&server.address, server.agent.as_ref()?)));
    let silent: Vec<_> = agents
        .filter(|(_, agent)| !agent.problem.is_empty())
        .collect();
    let (address, agent) = silent.first()?;
    let more = match silent.len() {
        1 => String::new(),
        count => format!(" ({} more)", count - 1),
    };
    Some(format!(
        "agent of {}/{address}: {}{more}; what it said before holds",
        backend.name, agent.problem
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::board::AgentWord;
    use common::status::ServerStatus;

    use super::*;

    #[test]
    fn all_that_an_agent_says_is_shown() {
        let slot = AgentSlot::default();
        let now = Moment::from_nanos(9_000_000_000);
        assert_eq!(
            status(&slot, now),
            AgentStatus {
                administrative: "none".into(),
                ..AgentStatus::default()
            }
        );
        assert_eq!(reason(&slot), None);
        slot.said.set("stopped drain 50% maxconn:7 # by hand");
        slot.word.set(AgentWord::Stopped.on_board());
        slot.state.set(AdminState::Drain.on_board());
        slot.set_percent(50);
        slot.set_max_sessions(7);
        slot.asked.set(5);
        slot.failures.set(2);
        slot.heard.set(now - Duration::from_millis(40));
        slot.problem.set("connection refused");
        let shown = status(&slot, now);
        assert_eq!(
            (shown.word.as_str(), shown.administrative.as_str()),
            ("stopped", "drain")
        );
        assert_eq!(
            (shown.weight_percent, shown.max_sessions),
            (Some(50), Some(7))
        );
        assert_eq!(
            (shown.asked, shown.failures, shown.heard_ms_ago),
            (5, 2, Some(40))
        );
        let wanted = "by agent, which says \"stopped drain 50% maxconn:7 # by hand\"";
        assert_eq!(reason(&slot).as_deref(), Some(wanted));
        slot.forget();
        slot.inherited_word.set(AgentWord::Down.on_board());
        assert_eq!(
            reason(&slot).as_deref(),
            Some("by agent of whom it follows")
        );
    }

    #[test]
    fn silent_agents_of_a_backend_are_one_warning() {
        let server = |problem: &str| ServerStatus {
            address: "10.17.4.24:80".into(),
            agent: Some(AgentStatus {
                problem: problem.into(),
                ..AgentStatus::default()
            }),
            ..ServerStatus::default()
        };
        let backend = |servers: Vec<ServerStatus>| BackendStatus {
            name: "web".into(),
            servers,
            ..BackendStatus::default()
        };
        assert_eq!(
            warning(&backend(vec![server(""), ServerStatus::default()])),
            None
        );
        let said = warning(&backend(vec![
            server("refused"),
            server(""),
            server("late"),
        ]));
        let wanted = "agent of web/10.17.4.24:80: refused (1 more); what it said before holds";
        assert_eq!(said.as_deref(), Some(wanted));
    }
}
