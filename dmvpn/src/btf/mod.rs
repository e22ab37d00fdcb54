//! BPF Type Format: what the kernel knows of the types in a map, and how a value of one version's type becomes one of
//! another's.
//!
//! ```text
//!   bytes -> Btf -> Shape (by type id) --+
//!   bytes -> Btf -> Shape (by type id) --+--> Conversion: bytes of the one -> bytes of the other
//! ```
//!
//! Fields, and the values of enumerations, are matched by their names. The bytes come from the kernel, but are of
//! programs that others may have loaded: nothing in them is trusted.
//!
//! The format: the kernel's `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h`.

mod convert;
mod parse;
mod shape;

pub use convert::{Conversion, Mismatch, Unfit};
pub use parse::Btf;
pub use shape::{Member, Shape};

use thiserror::Error;

/// Why type information cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BtfError {
    /// Not BTF, or of the other byte order.
    #[error("no type information that this machine can read")]
    NotBtf,
    /// A part is said to be where there is nothing.
    #[error("type information ends early")]
    Truncated,
    /// A kind of type that does not exist, and whose length is unknown.
    #[error("type information has the unknown kind {kind}")]
    UnknownKind {
        /// Its number.
        kind: u32,
    },
    /// There is no type with this number.
    #[error("there is no type {id}")]
    NoSuchType {
        /// The number.
        id: u32,
    },
    /// A type that no map of ours has in it: a pointer, a union, a bit field and the like.
    #[error("type {name} is of a kind that no map of dmvpn has")]
    Unsupported {
        /// Its name, empty without one.
        name: String,
    },
    /// A type of unreasonable size or depth.
    #[error("a type is too large")]
    TooLarge,
}

#[cfg(test)]
mod tests;
