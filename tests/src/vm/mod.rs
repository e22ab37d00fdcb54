//! A small Linux machine of its own, for what the kernel at hand cannot do: other kernels, and kernels with GRE.
//!
//! [`Image`] makes it from Debian packages, which are unpacked below `target/vm` and never installed: an emulator, a
//! kernel, and a root file system with what the labs call. [`boot::run`] starts it, runs one command line in it and
//! returns that command's exit status. No root, no KVM: the processor is emulated, some ten times slower than the
//! machine itself, so whoever waits in it waits generously.
//!
//! The guest runs the very programs that were built here; they come to it by a shared directory.

pub mod boot;
mod image;
mod initramfs;
mod kernel;
pub(crate) mod newer_frr;
pub(crate) mod packages;
mod root;

pub use image::Image;
