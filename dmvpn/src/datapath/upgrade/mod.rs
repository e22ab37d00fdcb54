//! Takes over what an agent with another layout left: newer or older, it makes no difference.
//!
//! ```text
//!   v2/ maps, links      unfinished/           1. new maps and programs; nobody uses them yet
//!   v2/ maps, links      unfinished/ filled    2. the entries of the old maps, field by field (fill.rs)
//!   v2/ maps, links      v3/ maps              3. one rename: v3 is complete
//!   v2/ maps             v3/ maps, links       4. link by link: swap the program, move the pin (links.rs)
//!   unfinished/          v3/ maps, links       5. one rename: v2 is no more
//!                        v3/ maps, links       6. remove what is unfinished
//! ```
//!
//! An agent may be killed between any two of these steps. `unfinished` is nobody's: whoever comes next removes it. A
//! directory with a version is complete, and while there are two, no agent has changed anything in either: whoever comes
//! next, of either version, takes its own maps and goes on with step 4, which is forwards for the one and backwards for
//! the other. Each program that is attached finds the same peers in the maps that it has.
//!
//! A filter of `clsact` has no pin. It forwards by the maps that it has, pinned or not, until the agent replaces it in
//! place like that of an earlier run of its own version.

mod fill;
mod links;
mod raw_map;

use aya::Ebpf;
use tracing::info;

use super::{DataPathError, pin_directory::PinDirectory};

/// Step 2. Nothing is done where there is nothing to take over, or this version's maps are complete already.
pub(super) fn fill(pins: &PinDirectory) -> Result<(), DataPathError> {
    let Some(source) = pins.source() else { return Ok(()) };
    let entries = fill::fill(source, pins)?;
    info!(from = %source.display(), entries, "took over the maps of another version of dmvpn");
    Ok(())
}

/// Steps 3 to 6, with the programs loaded. `underlay` is the program for XDP of underlay interfaces.
pub(super) fn switch(
    ebpf: &mut Ebpf,
    pins: &mut PinDirectory,
    underlay: &'static str,
) -> Result<(), DataPathError> {
    pins.commit()?;
    for other in pins.others().to_vec() {
        links::take_over(ebpf, pins, &other, underlay)?;
        pins.remove_other(&other)?;
    }
    Ok(())
}
