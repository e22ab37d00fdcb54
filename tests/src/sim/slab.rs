//! Things by number; numbers are used again.

/// Things by number.
#[derive(Debug)]
pub(super) struct Slab<T> {
    things: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { things: Vec::new(), free: Vec::new() }
    }

    /// Adds a thing and gives its number.
    pub(super) fn add(&mut self, thing: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.things.push(None);
            // More things than that would not fit into any memory.
            u32::try_from(self.things.len() - 1).unwrap_or(u32::MAX)
        });
        self.things[number as usize] = Some(thing);
        number
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.things.get_mut(number as usize)?.as_mut()
    }

    /// Takes a thing out.
    pub(super) fn take(&mut self, number: u32) -> Option<T> {
        let thing = self.things.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_only_then() {
        let mut slab = Slab::new();
        assert_eq!((slab.add('a'), slab.add('b')), (0, 1));
        assert_eq!(slab.take(0), Some('a'));
        assert_eq!(slab.take(0), None);
        assert_eq!((slab.add('c'), slab.add('d')), (0, 2));
        assert_eq!(slab.get_mut(0), Some(&mut 'c'));
        assert_eq!(slab.get_mut(3), None);
    }
}
