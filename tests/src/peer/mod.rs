//! A scripted NHRP peer: speaks as a router of another make does, over real packets.
//!
//! ```text
//!   profile (what that router does) --+
//!                                     v
//!   raw socket <--> transport <--> Node: spoke or hub
//! ```
//!
//! [`Node`] is without input and output: packets and the time go in, packets and a line for whoever watches come out.
//! It knows IPv4 in IPv4. It is no router and no second implementation of the protocol: it does what its
//! [`Profile`] says, right or wrong, so that our agents meet it in labs (`labs/makes.rs`) and by hand
//! (`cargo xtask peer`).

mod data;
mod hub;
mod make;
mod node;
mod profile;
mod profiles;
mod run;
mod spoke;
mod transport;

pub use node::{Node, Out, Role, Settings};
pub use profile::{
    AuthenticationFailure, Destination, Evidence, Indication, IndicationExtensions, Profile, Retry,
};
pub use profiles::{ALL, find};
pub use run::{Running, run};
