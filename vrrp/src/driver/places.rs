//! Places of VIPs, in the configuration, on the boards and in the loop: a reload may have taken some away, so there are
//! gaps.

use std::ops::{Index, IndexMut};

use common::config::{Config, MAX_VIPS};

use super::unit::Unit;

/// Some of the places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Places(u16);

const _: () = assert!(MAX_VIPS <= 16);

impl Places {
    /// Of the VIPs that the configuration has.
    pub(super) fn of(config: &Config) -> Self {
        config.live_vips().map(|(vip, _)| vip.0).collect()
    }

    /// A bit for each.
    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) fn contains(self, place: usize) -> bool {
        self.iter().any(|one| one == place)
    }

    /// The first one; there is one in each group.
    pub(super) const fn first(self) -> usize {
        self.0.trailing_zeros() as usize
    }

    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> + Clone {
        (0..MAX_VIPS).filter(move |place| self.0 >> place & 1 == 1)
    }

    /// The same of which each is called by its number among `all`, as the records of a heartbeat are.
    pub(super) fn numbered(self, all: Self) -> u16 {
        let numbers = all.iter().enumerate();
        let mine = numbers.filter(|(_, place)| self.contains(*place));
        mine.fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// The one with this number.
    pub(super) fn nth(self, number: u8) -> Option<usize> {
        self.iter().nth(usize::from(number))
    }
}

impl From<u16> for Places {
    fn from(bits: u16) -> Self {
        Self(bits)
    }
}

impl FromIterator<usize> for Places {
    fn from_iter<T: IntoIterator<Item = usize>>(places: T) -> Self {
        let bits = places.into_iter().filter(|place| *place < MAX_VIPS);
        Self(bits.fold(0, |bits, place| bits | 1 << place))
    }
}

/// The VIPs of the loop.
#[derive(Debug, Default)]
pub(super) struct Units(Vec<Option<Unit>>);

impl Units {
    /// Puts one at its place.
    pub(super) fn put(&mut self, place: usize, unit: Unit) {
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(unit);
    }

    pub(super) fn places(&self) -> Places {
        self.iter().map(|(place, _)| place).collect()
    }

    /// With their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Unit)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(place, unit)| Some((place, unit.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Unit)> {
        let all = self.0.iter_mut().enumerate();
        all.filter_map(|(place, unit)| Some((place, unit.as_mut()?)))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Unit> {
        self.0.iter().flatten()
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.0.iter_mut().flatten()
    }

    pub(super) fn position(&self, is_it: impl Fn(&Unit) -> bool) -> Option<usize> {
        let found = self.iter().find(|(_, unit)| is_it(unit));
        found.map(|(place, _)| place)
    }
}

impl Index<usize> for Units {
    type Output = Unit;

    fn index(&self, place: usize) -> &Unit {
        self.0[place].as_ref().expect("nobody asks for a gap")
    }
}

impl IndexMut<usize> for Units {
    fn index_mut(&mut self, place: usize) -> &mut Unit {
        self.0[place].as_mut().expect("nobody asks for a gap")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_gaps_and_numbers_have_none() {
        let all: Places = [0, 2, 3, 15].into_iter().collect();
        assert_eq!(
            (all.bits(), all.first(), all.count()),
            (0b1000_0000_0000_1101, 0, 4)
        );
        assert!(all.contains(2) && !all.contains(1));
        let some: Places = [3, 15].into_iter().collect();
        assert_eq!(some.first(), 3);
        assert_eq!(some.numbered(all), 0b1100);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|number| all.nth(number)),
            [Some(0), Some(2), Some(3), Some(15), None]
        );
        assert_eq!(Places::from(0b101), [0, 2].into_iter().collect());
    }
}
