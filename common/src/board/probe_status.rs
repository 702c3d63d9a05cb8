//! How a probe ended, in HAProxy's words (`check_status` of its statistics page and exporter).

board_enum! {
    /// How the last probe of a server ended: the layer that decided, and how.
    ///
    /// The words are HAProxy's, so that its users, dashboards and alert rules need not learn new ones. Numbers are
    /// only ever added.
    ProbeStatus {
        /// Nobody probes the server.
        Unk = 0 => "UNK",
        /// No probe has ended yet.
        Ini = 1 => "INI",
        /// The probe could not be made for want of something on this machine: says nothing of the server.
        SockErr = 2 => "SOCKERR",
        /// A connection was made, and nothing more was wanted.
        L4Ok = 3 => "L4OK",
        /// No connection in time.
        L4Tout = 4 => "L4TOUT",
        /// No connection: refused, no route, reset.
        L4Con = 5 => "L4CON",
        /// A TLS handshake was made, and nothing more was wanted.
        L6Ok = 6 => "L6OK",
        /// No TLS handshake in time.
        L6Tout = 7 => "L6TOUT",
        /// No TLS handshake: not TLS, or a certificate that is not accepted.
        L6Rsp = 8 => "L6RSP",
        /// The answer is the one that was wanted.
        L7Ok = 9 => "L7OK",
        /// The answer says that the server wants no new session, and that its old ones may go on.
        L7Okc = 10 => "L7OKC",
        /// No answer, or not all of it, in time.
        L7Tout = 11 => "L7TOUT",
        /// What came is no answer: another protocol, or cut off.
        L7Rsp = 12 => "L7RSP",
        /// An answer, and not the one that was wanted.
        L7Sts = 13 => "L7STS",
        /// The program that is the probe failed: another exit code than 0, or a signal.
        ProcErr = 14 => "PROCERR",
        /// It was killed because its time was over.
        ProcTout = 15 => "PROCTOUT",
        /// It ended with exit code 0.
        ProcOk = 16 => "PROCOK",
    }
}

impl ProbeStatus {
    /// Whether the probe found what it wanted.
    pub const fn is_good(self) -> bool {
        match self {
            Self::L4Ok | Self::L6Ok | Self::L7Ok | Self::ProcOk => true,
            Self::Unk
            | Self::Ini
            | Self::SockErr
            | Self::L4Tout
            | Self::L4Con
            | Self::L6Tout
            | Self::L6Rsp
            | Self::L7Okc
            | Self::L7Tout
            | Self::L7Rsp
            | Self::L7Sts
            | Self::ProcErr
            | Self::ProcTout => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boards of an earlier version hold these numbers.
    #[test]
    fn numbers_follow_the_list() {
        let numbers: Vec<u64> = ProbeStatus::ALL.iter().map(|one| one.on_board()).collect();
        let counted: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(numbers, counted);
        assert_eq!(ProbeStatus::from_board(9), ProbeStatus::L7Ok);
        assert_eq!(ProbeStatus::from_board(99), ProbeStatus::Unk);
    }

    #[test]
    fn what_is_good_ends_in_ok() {
        for status in ProbeStatus::ALL {
            assert_eq!(
                status.is_good(),
                status.word().ends_with("OK"),
                "{status:?}"
            );
        }
    }
}
