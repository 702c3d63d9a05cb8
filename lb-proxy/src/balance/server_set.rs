//! A set of servers, by their index in a backend or by their place: four words, copied instead of
//! allocated.

use common::config::MAX_SERVERS;

/// Servers by their index in the backend or their place, which is below [`MAX_SERVERS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerSet([u64; MAX_SERVERS / 64]);

impl ServerSet {
    pub fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & 1 << (index % 64) != 0
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FromIterator<usize> for ServerSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indexes: I) -> Self {
        let mut set = Self::default();
        for index in indexes {
            set.insert(index);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_remembered_up_to_the_last_place() {
        let mut set = ServerSet::default();
        assert!(set.is_empty());
        for index in [0, 63, 64, MAX_SERVERS - 1] {
            assert!(!set.contains(index));
            set.insert(index);
            assert!(set.contains(index));
        }
        assert!(!set.contains(1) && !set.is_empty());
    }
}
