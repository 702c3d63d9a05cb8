//! What the virtual routers speak, and how it is signed.

/// How adverts are signed with the pair's key, in the modes of Keepalived 2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// Ours are signed; unsigned ones are dropped.
    Enforce,
    /// Ours are signed; unsigned ones are heard.
    Permissive,
    /// Ours are not signed; both are heard.
    ReceiveOnly,
    /// Ours are not signed, and signed ones are dropped for their length.
    Off,
}

impl Signing {
    /// All of them, and their words in the file and in status.
    pub const WORDS: &[(&str, Self)] = &[
        ("enforce", Self::Enforce),
        ("permissive", Self::Permissive),
        ("receive-only", Self::ReceiveOnly),
        ("off", Self::Off),
    ];

    /// The word in the file and in status.
    pub fn word(self) -> &'static str {
        let (word, _) = Self::WORDS
            .iter()
            .find(|(_, signing)| *signing == self)
            .expect("every one has a word");
        word
    }

    /// Whether our adverts are signed.
    pub const fn signs(self) -> bool {
        matches!(self, Self::Enforce | Self::Permissive)
    }
}

/// Whether a VIP is taken over as soon as the other node is *silent*: three heartbeats are missing, and its kernel
/// answers no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilentTakeover {
    /// Adverts alone decide, as RFC 9568 has it.
    Off,
    /// As long as both nodes forward segments of each other's connections: a mistake costs none then.
    Auto,
    /// Always.
    Always,
}

impl SilentTakeover {
    /// All of them, and their words in the file and in status.
    pub const WORDS: &[(&str, Self)] = &[
        ("auto", Self::Auto),
        ("off", Self::Off),
        ("always", Self::Always),
    ];

    /// The word in the file and in status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Always => "always",
        }
    }
}

/// Which hardware address a VIP is reached at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtualMac {
    /// That of the holder's interface.
    Off,
    /// That of the virtual router, unless frames to a second address do not come through.
    Auto,
    /// That of the virtual router, whatever the preflight says.
    Always,
}

impl VirtualMac {
    /// All of them, and their words in the file.
    pub const WORDS: &[(&str, Self)] = &[
        ("off", Self::Off),
        ("auto", Self::Auto),
        ("always", Self::Always),
    ];

    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Always => "always",
        }
    }
}

/// Version of VRRP that a virtual router speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VrrpVersion {
    /// RFC 3768: intervals of whole seconds. For a pair with a Keepalived that is set to it, which is
    /// its default.
    V2 {
        /// The password of its authentication type 1, which everybody on the network can read;
        /// `None` = type 0.
        pass: Option<[u8; 8]>,
    },
    /// RFC 9568.
    V3,
}

impl VrrpVersion {
    /// The number in the file and on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 { .. } => 2,
            Self::V3 => 3,
        }
    }
}
