//! Reads BTF into a list of types, each with what a value's layout depends on.

use super::BtfError;

/// `BTF_MAGIC`, in the byte order of the machine.
const MAGIC: u16 = 0xeb9f;
/// Bytes of the header up to its own length, and of the part that is read.
const HEADER: usize = 24;
/// Most types that are read: the kernel's own BTF has about 100,000.
const MAX_TYPES: usize = 1 << 18;
/// Longest name in bytes (the kernel's `KSYM_NAME_LEN`).
const MAX_NAME: usize = 512;

/// Type information as the kernel keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Btf {
    /// Type 0 is `void` and not in here.
    types: Vec<Type>,
    /// Names, each with a zero byte behind it.
    strings: Vec<u8>,
}

/// Where a name begins.
pub(super) type Name = u32;

/// One type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) name: Name,
    pub(super) kind: Kind,
}

/// What a type is, as far as the layout of values depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes.
    Integer {
        size: u32,
    },
    Array {
        element: u32,
        count: u32,
    },
    /// Bytes, and the members.
    Structure {
        size: u32,
        members: Vec<Field>,
    },
    /// Bytes, and each value with its name.
    Enumeration {
        size: u32,
        values: Vec<(Name, u64)>,
    },
    /// Another name for a type, or a qualifier: the same layout.
    Same {
        as_type: u32,
    },
    /// Anything that is not in our maps.
    Other,
}

/// A member of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) kind: u32,
    /// In bits.
    pub(super) offset: u32,
    /// It may be a part of a byte.
    pub(super) in_bits: bool,
}

impl Btf {
    /// Reads BTF of this machine's byte order. What is made takes a few times the memory of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let mut header = Reader { rest: bytes.get(..HEADER).ok_or(BtfError::NotBtf)? };
        let [magic, version_and_flags] = header.halves()?;
        let [version, _flags] = version_and_flags.to_ne_bytes();
        if magic != MAGIC || version != 1 {
            return Err(BtfError::NotBtf);
        }
        let [length, types_at, types_length, strings_at, strings_length] = header.words()?;
        let part = |at: u32, size: u32| {
            let start = (length as usize).checked_add(at as usize)?;
            bytes.get(start..start.checked_add(size as usize)?)
        };
        let types = part(types_at, types_length).ok_or(BtfError::Truncated)?;
        let strings = part(strings_at, strings_length).ok_or(BtfError::Truncated)?.to_vec();
        let mut reader = Reader { rest: types };
        let mut btf = Self { types: Vec::new(), strings };
        while !reader.rest.is_empty() {
            if btf.types.len() == MAX_TYPES {
                return Err(BtfError::TooLarge);
            }
            btf.types.push(read_type(&mut reader)?);
        }
        Ok(btf)
    }

    /// The type with this number; `void`, which is 0, is none.
    pub(super) fn get(&self, id: u32) -> Result<&Type, BtfError> {
        let place = (id as usize).checked_sub(1);
        place.and_then(|place| self.types.get(place)).ok_or(BtfError::NoSuchType { id })
    }

    /// Number of the type with this name: the first, if there are several.
    pub fn find(&self, name: &str) -> Option<u32> {
        let mut types = self.types.iter().zip(1..);
        types.find(|(found, _)| self.name(found.name).is_ok_and(|found| found == name)).map(|(_, id)| id)
    }

    /// The name that begins there; empty for a type without.
    pub(super) fn name(&self, at: Name) -> Result<String, BtfError> {
        let rest = self.strings.get(at as usize..).ok_or(BtfError::Truncated)?;
        let end = rest.iter().take(MAX_NAME).position(|byte| *byte == 0).ok_or(BtfError::Truncated)?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

/// Kinds of `linux/btf.h`.
mod kinds {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

fn read_type(reader: &mut Reader<'_>) -> Result<Type, BtfError> {
    let [name, info, size_or_type] = reader.words()?;
    // Bits 0 to 15: how many parts follow; 24 to 28: the kind; 31: a flag whose meaning depends on it.
    let parts = info & 0xffff;
    let flag = info >> 31 != 0;
    let kind = match (info >> 24) & 0x1f {
        kinds::INT => {
            // Bits 16 to 23 of the word: the offset in bits; 0 to 7: how many bits count.
            let [encoding] = reader.words()?;
            let (offset, bits) = ((encoding >> 16) & 0xff, encoding & 0xff);
            if offset == 0 && Some(bits) == size_or_type.checked_mul(8) {
                Kind::Integer { size: size_or_type }
            } else {
                Kind::Other
            }
        }
        kinds::ARRAY => {
            let [element, _index, count] = reader.words()?;
            Kind::Array { element, count }
        }
        kinds::STRUCT => {
            let members = (0..parts).map(|_| read_field(reader, flag)).collect::<Result<_, _>>()?;
            Kind::Structure { size: size_or_type, members }
        }
        kinds::ENUM => {
            let value = |reader: &mut Reader<'_>| {
                let [name, value] = reader.words()?;
                Ok((name, u64::from(value)))
            };
            let values = (0..parts).map(|_| value(reader)).collect::<Result<_, _>>()?;
            Kind::Enumeration { size: size_or_type, values }
        }
        kinds::ENUM64 => {
            let value = |reader: &mut Reader<'_>| {
                let [name, low, high] = reader.words()?;
                Ok((name, u64::from(high) << 32 | u64::from(low)))
            };
            let values = (0..parts).map(|_| value(reader)).collect::<Result<_, _>>()?;
            Kind::Enumeration { size: size_or_type, values }
        }
        kinds::TYPEDEF | kinds::VOLATILE | kinds::CONST | kinds::RESTRICT | kinds::TYPE_TAG => {
            Kind::Same { as_type: size_or_type }
        }
        kinds::PTR | kinds::FWD | kinds::FUNC | kinds::FLOAT => Kind::Other,
        kinds::UNION | kinds::DATASEC => reader.skip(parts, 12)?,
        kinds::FUNC_PROTO => reader.skip(parts, 8)?,
        kinds::VAR | kinds::DECL_TAG => reader.skip(1, 4)?,
        kind => return Err(BtfError::UnknownKind { kind }),
    };
    Ok(Type { name, kind })
}

fn read_field(reader: &mut Reader<'_>, has_sizes: bool) -> Result<Field, BtfError> {
    let [name, kind, offset] = reader.words()?;
    // With the flag of the structure, bits 24 to 31 are the size of a bit field, 0 for any other member.
    let (offset, in_bits) =
        if has_sizes { (offset & 0x00ff_ffff, offset >> 24 != 0) } else { (offset, false) };
    Ok(Field { name, kind, offset, in_bits })
}

/// What is not read yet.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn words<const N: usize>(&mut self) -> Result<[u32; N], BtfError> {
        let mut words = [0; N];
        for word in &mut words {
            let (bytes, rest) = self.rest.split_first_chunk().ok_or(BtfError::Truncated)?;
            (*word, self.rest) = (u32::from_ne_bytes(*bytes), rest);
        }
        Ok(words)
    }

    fn halves<const N: usize>(&mut self) -> Result<[u16; N], BtfError> {
        let mut halves = [0; N];
        for half in &mut halves {
            let (bytes, rest) = self.rest.split_first_chunk().ok_or(BtfError::Truncated)?;
            (*half, self.rest) = (u16::from_ne_bytes(*bytes), rest);
        }
        Ok(halves)
    }

    /// Passes over the parts of a type that is not for maps.
    fn skip(&mut self, parts: u32, bytes: usize) -> Result<Kind, BtfError> {
        self.rest = self.rest.get(parts as usize * bytes..).ok_or(BtfError::Truncated)?;
        Ok(Kind::Other)
    }
}
