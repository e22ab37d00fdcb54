//! Type information of our own programs, made by hand, and by chance.

mod convert;
mod parse;
