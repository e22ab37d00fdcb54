//! Turns values of one version's type into values of another's.
//!
//! What has the same name is the same thing. A field that only the old type has is forgotten, one that only the new one
//! has is zero. Numbers may become wider or narrower, arrays longer or shorter, enumerations may be numbered otherwise:
//! as long as the value at hand fits.

use thiserror::Error;

use super::{Member, Shape};

/// Most values that are looked at to make a conversion.
const MAX_VALUES: u32 = 1 << 16;

/// How values of one type become values of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    steps: Vec<Step>,
    to_size: usize,
}

/// Two types cannot be brought together: something of one name is of two kinds, or has nothing in common.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: the other version has something else there", Named(.field))]
pub struct Mismatch {
    /// Path of the field; empty for the whole.
    pub field: String,
}

/// A value that this version has no room or no name for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: this version has no such value", Named(.field))]
pub struct Unfit {
    /// Path of the field; empty for the whole.
    pub field: String,
}

struct Named<'a>(&'a str);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { f.write_str("value") } else { write!(f, "field {}", self.0) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// Path of the field, for errors.
    field: String,
    /// Where in the old value.
    from: usize,
    job: Job,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    /// The same bytes.
    Copy { to: usize, length: usize },
    /// A number of another width.
    Resize { from_size: usize, to: usize, to_size: usize },
    /// A value that has another number.
    Rename { from_size: usize, to: usize, to_size: usize, values: Vec<(u64, u64)> },
    /// Nothing may be lost here: all zero.
    Empty { length: usize },
}

impl Conversion {
    /// From values of `from` to values of `to`.
    pub fn new(from: &Shape, to: &Shape) -> Result<Self, Mismatch> {
        let mut conversion = Self { steps: Vec::new(), to_size: to.size() };
        conversion.add(String::new(), (from, 0), (to, 0), &mut { MAX_VALUES })?;
        Ok(conversion)
    }

    /// Converts one value. One that is shorter than the old type's values does not fit either.
    pub fn apply(&self, value: &[u8]) -> Result<Vec<u8>, Unfit> {
        let mut made = vec![0; self.to_size];
        for step in &self.steps {
            step.apply(value, &mut made).ok_or_else(|| Unfit { field: step.field.clone() })?;
        }
        Ok(made)
    }

    fn add(
        &mut self,
        field: String,
        (from, from_at): (&Shape, usize),
        (to, to_at): (&Shape, usize),
        left: &mut u32,
    ) -> Result<(), Mismatch> {
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => return Err(Mismatch { field }),
        }
        let job = match (from, to) {
            (Shape::Integer { size: from_size }, Shape::Integer { size }) => {
                if from_size == size {
                    Job::Copy { to: to_at, length: *size }
                } else {
                    Job::Resize { from_size: *from_size, to: to_at, to_size: *size }
                }
            }
            (
                Shape::Enumeration { size: from_size, values: from_values },
                Shape::Enumeration { size, values },
            ) => {
                let same = |name: &String| values.iter().find(|(other, _)| other == name);
                let values = from_values.iter().filter_map(|(name, old)| Some((*old, same(name)?.1)));
                Job::Rename { from_size: *from_size, to: to_at, to_size: *size, values: values.collect() }
            }
            (Shape::Array { element: old, count: from_count }, Shape::Array { element, count }) => {
                return self.add_array(&field, (old, *from_count, from_at), (element, *count, to_at), left);
            }
            (Shape::Structure { members: old, .. }, Shape::Structure { members, .. }) => {
                let is_known = |member: &Member| old.iter().any(|old| old.name == member.name);
                if !members.is_empty() && !members.iter().any(is_known) {
                    return Err(Mismatch { field });
                }
                for member in members {
                    let Some(found) = old.iter().find(|old| old.name == member.name) else { continue };
                    let dot = if field.is_empty() { "" } else { "." };
                    let path = format!("{field}{dot}{}", member.name);
                    let from = (&found.shape, from_at + found.offset);
                    self.add(path, from, (&member.shape, to_at + member.offset), left)?;
                }
                return Ok(());
            }
            _ => return Err(Mismatch { field }),
        };
        self.steps.push(Step { field, from: from_at, job });
        Ok(())
    }

    fn add_array(
        &mut self,
        field: &str,
        (old, from_count, from_at): (&Shape, usize, usize),
        (element, count, to_at): (&Shape, usize, usize),
        left: &mut u32,
    ) -> Result<(), Mismatch> {
        let common = from_count.min(count);
        if matches!((old, element), (Shape::Integer { size: a }, Shape::Integer { size: b }) if a == b) {
            let job = Job::Copy { to: to_at, length: common * element.size() };
            self.steps.push(Step { field: field.to_owned(), from: from_at, job });
        } else {
            for n in 0..common {
                let from = (old, from_at + n * old.size());
                self.add(format!("{field}[{n}]"), from, (element, to_at + n * element.size()), left)?;
            }
        }
        let job = Job::Empty { length: (from_count - common) * old.size() };
        self.steps.push(Step { field: field.to_owned(), from: from_at + common * old.size(), job });
        Ok(())
    }
}

impl Step {
    /// `None` when the value does not fit.
    fn apply(&self, value: &[u8], made: &mut [u8]) -> Option<()> {
        let from = |length: usize| value.get(self.from..self.from + length);
        match &self.job {
            Job::Copy { to, length } => made.get_mut(*to..to + length)?.copy_from_slice(from(*length)?),
            Job::Resize { from_size, to, to_size } => {
                write(made.get_mut(*to..to + to_size)?, read(from(*from_size)?)?)?;
            }
            Job::Rename { from_size, to, to_size, values } => {
                let old = read(from(*from_size)?)?;
                let (_, new) = values.iter().find(|(value, _)| *value == old)?;
                write(made.get_mut(*to..to + to_size)?, *new)?;
            }
            Job::Empty { length } => return from(*length)?.iter().all(|byte| *byte == 0).then_some(()),
        }
        Some(())
    }
}

/// A number of 1, 2, 4 or 8 bytes.
fn read(bytes: &[u8]) -> Option<u64> {
    Some(match bytes.len() {
        1 => u64::from(bytes[0]),
        2 => u64::from(u16::from_ne_bytes(*bytes.first_chunk()?)),
        4 => u64::from(u32::from_ne_bytes(*bytes.first_chunk()?)),
        _ => u64::from_ne_bytes(*bytes.first_chunk()?),
    })
}

/// The reverse; `None` when the number is too large.
fn write(bytes: &mut [u8], number: u64) -> Option<()> {
    match bytes.len() {
        1 => bytes.copy_from_slice(&u8::try_from(number).ok()?.to_ne_bytes()),
        2 => bytes.copy_from_slice(&u16::try_from(number).ok()?.to_ne_bytes()),
        4 => bytes.copy_from_slice(&u32::try_from(number).ok()?.to_ne_bytes()),
        _ => bytes.first_chunk_mut::<8>()?.copy_from_slice(&number.to_ne_bytes()),
    }
    Some(())
}
