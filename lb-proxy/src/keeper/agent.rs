//! What agents say of their servers: on the board, beside what probes find and administrators say,
//! and in force.

use common::board::{AgentSlot, AgentWord, ServerState};
use common::time::Moment;
use tracing::{debug, info};

use super::Keeper;
use crate::agent::Said;
use crate::probe::agent::Report;

impl Keeper {
    /// Takes what an agent has said. That it says nothing changes nothing: whether the server lives,
    /// its probes tell.
    pub(crate) fn handle_agent(&mut self, report: Report) {
        let proxy = self.proxy();
        let (place, server) = (report.place, report.server);
        let known = self.roster.at(place).filter(|one| one.is_present());
        let Some(member) = known.filter(|one| one.server.address == server) else {
            // It has left since.
            return;
        };
        let backend = &proxy.config.backends[member.backend.0];
        let slot = &proxy.board.servers[place].agent;
        slot.asked.add(1);
        let said = match report.heard {
            Ok(said) => said,
            Err(problem) => {
                slot.failures.add(1);
                if slot.problem.get() != problem {
                    info!(backend = backend.name, %server, problem, "an agent says nothing");
                    slot.problem.set(&problem);
                }
                return;
            }
        };
        slot.heard.set(report.ended);
        slot.problem.set(&match &said.unknown {
            Some(word) => format!("it says `{word}`, which means nothing"),
            None => String::new(),
        });
        if slot.said.get() != said.text {
            slot.said.set(&said.text);
            let said = &said.text;
            debug!(backend = backend.name, %server, said, "an agent says something else");
        }
        let all: Vec<usize> = std::iter::once(place)
            .chain(self.followers.of_place(place))
            .collect();
        let state = |place: usize| proxy.board.servers[place].effective_state(report.ended);
        let before: Vec<ServerState> = all.iter().map(|place| state(*place)).collect();
        if !apply(slot, &said) {
            return;
        }
        self.followers.inherit(proxy.board, report.ended);
        for (place, before) in all.into_iter().zip(before) {
            self.tell_by_agent(place, (before, state(place)), report.ended);
        }
        self.publish(report.ended);
    }

    /// What follows where the state of a server has changed.
    fn tell_by_agent(
        &mut self,
        place: usize,
        (before, state): (ServerState, ServerState),
        now: Moment,
    ) {
        if before == state {
            return;
        }
        if let Some(member) = self.roster.at(place) {
            let backend = &self.proxy.config.backends[member.backend.0].name;
            let server = member.server.address;
            info!(backend, %server, from = before.word(), to = state.word(), "a server has changed its state by its agent");
        }
        self.handle_change(place, (before, state), now);
    }
}

/// Puts on the board what has changed; whether something has.
fn apply(slot: &AgentSlot, said: &Said) -> bool {
    let mut changed = false;
    if let Some(word) = said.operating.filter(|word| *word != slot.word()) {
        // Between the words for "down" only the word changes.
        changed |= word.is_down() != slot.word().is_down();
        slot.word.set(AgentWord::on_board(word));
    }
    if let Some(state) = said.state.filter(|state| *state != slot.state()) {
        changed = true;
        slot.state.set(state.on_board());
    }
    if let Some(percent) = said.percent.filter(|one| Some(*one) != slot.percent()) {
        changed = true;
        slot.set_percent(percent);
    }
    if let Some(most) = said
        .max_sessions
        .filter(|one| Some(*one) != slot.max_sessions())
    {
        changed = true;
        slot.set_max_sessions(most);
    }
    changed
}
