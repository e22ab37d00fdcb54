//! How the values of a type lie in memory, with everything the type refers to.

use super::{
    Btf, BtfError,
    parse::{Field, Kind},
};

/// Deepest nesting of types.
const MAX_DEPTH: u32 = 16;
/// Most shapes, and names of values, in a shape.
const MAX_SHAPES: u32 = 4096;
/// Largest value in bytes.
const MAX_SIZE: usize = 1 << 16;

/// The layout of a type's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An unsigned integer.
    Integer {
        /// Bytes: 1, 2, 4 or 8.
        size: usize,
    },
    /// One of some values.
    Enumeration {
        /// Bytes: 1, 2, 4 or 8.
        size: usize,
        /// Each value with its name.
        values: Vec<(String, u64)>,
    },
    /// Values in a row.
    Array {
        /// One of them.
        element: Box<Shape>,
        /// How many.
        count: usize,
    },
    /// Values with names.
    Structure {
        /// Bytes.
        size: usize,
        /// The values. Each is within the structure.
        members: Vec<Member>,
    },
}

/// A value in a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// Its layout.
    pub shape: Shape,
}

impl Shape {
    /// The layout of the type with this number. Fails for what no map of dmvpn has: pointers, unions, bit fields.
    pub fn of(btf: &Btf, id: u32) -> Result<Self, BtfError> {
        Builder { btf, left: MAX_SHAPES }.build(id, MAX_DEPTH)
    }

    /// Bytes of a value: 65,536 at most.
    pub fn size(&self) -> usize {
        match self {
            Self::Integer { size } | Self::Enumeration { size, .. } | Self::Structure { size, .. } => *size,
            Self::Array { element, count } => element.size() * count,
        }
    }
}

struct Builder<'a> {
    btf: &'a Btf,
    /// Shapes that may still be made.
    left: u32,
}

impl Builder<'_> {
    fn build(&mut self, id: u32, depth: u32) -> Result<Shape, BtfError> {
        let depth = depth.checked_sub(1).ok_or(BtfError::TooLarge)?;
        self.left = self.left.checked_sub(1).ok_or(BtfError::TooLarge)?;
        let btf = self.btf;
        let found = btf.get(id)?;
        let unsupported = || BtfError::Unsupported { name: btf.name(found.name).unwrap_or_default() };
        let number = |size: u32| match size {
            1 | 2 | 4 | 8 => Ok(size as usize),
            _ => Err(unsupported()),
        };
        let shape = match &found.kind {
            Kind::Same { as_type } => return self.build(*as_type, depth),
            Kind::Integer { size } => Shape::Integer { size: number(*size)? },
            Kind::Enumeration { size, values } => {
                let named = u32::try_from(values.len()).map_err(|_| BtfError::TooLarge)?;
                self.left = self.left.checked_sub(named).ok_or(BtfError::TooLarge)?;
                let name = |&(name, value): &(_, _)| Ok((btf.name(name)?, value));
                Shape::Enumeration {
                    size: number(*size)?,
                    values: values.iter().map(name).collect::<Result<_, _>>()?,
                }
            }
            Kind::Array { element, count } => {
                let (element, count) = (self.build(*element, depth)?, *count as usize);
                if element.size() == 0 && count > 0 {
                    return Err(unsupported());
                }
                element
                    .size()
                    .checked_mul(count)
                    .filter(|size| *size <= MAX_SIZE)
                    .ok_or(BtfError::TooLarge)?;
                Shape::Array { element: Box::new(element), count }
            }
            Kind::Structure { size, members } => {
                let size = *size as usize;
                if size > MAX_SIZE {
                    return Err(BtfError::TooLarge);
                }
                let member = |field: &Field| {
                    let shape = self.build(field.kind, depth)?;
                    let offset = field.offset as usize / 8;
                    let fits = offset + shape.size() <= size;
                    if field.in_bits || !field.offset.is_multiple_of(8) || !fits {
                        return Err(unsupported());
                    }
                    Ok(Member { name: btf.name(field.name)?, offset, shape })
                };
                Shape::Structure { size, members: members.iter().map(member).collect::<Result<_, _>>()? }
            }
            Kind::Other => return Err(unsupported()),
        };
        Ok(shape)
    }
}
